//go:build !race

// The race detector makes sync.Pool forget at random, so allocations are counted without it.

package sessions_test

import (
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func TestOpenAccessAllocates(t *testing.T) {
	v, c := memVault(t)
	token := issue(t, v, exampleAccess(c.Now()))
	for range 100 {
		if err := v.Revocations.Revoke(t.Context(), sessions.NewID(), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	var a sessions.Access
	allocs := testing.AllocsPerRun(1000, func() {
		if err := v.OpenAccess(token, &a); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 3 {
		t.Errorf("OpenAccess makes %v allocations, want at most 3", allocs)
	}
	bad := token[:len(token)-8] + "AAAAAAAA"
	allocs = testing.AllocsPerRun(1000, func() {
		if err := v.OpenAccess(bad, &a); err != sessions.ErrInvalid {
			t.Fatal(err)
		}
	})
	if allocs > 0 {
		t.Errorf("refusing a token makes %v allocations, want none", allocs)
	}
}
