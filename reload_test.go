package mcpauth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// liveRuntimes lists the runtimes in use, each with how many configs use it.
func liveRuntimes() map[*runtime]int {
	live := make(map[*runtime]int)
	runtimes.Range(func(key, value any) bool {
		if users, ok := runtimes.References(key); ok {
			live[value.(*runtime)] = users
		}
		return true
	})
	return live
}

func onlyRuntime(t *testing.T) *runtime {
	t.Helper()
	live := liveRuntimes()
	if len(live) != 1 {
		t.Fatalf("%d runtimes are in use", len(live))
	}
	for rt, users := range live {
		if users != 1 {
			t.Errorf("%d configs use it", users)
		}
		return rt
	}
	return nil
}

// A reload must find the keys loaded and the revocations known, even while the store is out of reach.
func TestAReloadKeepsKeysAndRevocations(t *testing.T) {
	t.Setenv("TEST_SECRET", "the-secret-of-the-edge-at-the-provider")
	run := func(members, app string) error {
		return caddy.Run(config(t, handlerJSON(t, members), app))
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		if live := liveRuntimes(); len(live) != 0 {
			t.Errorf("%d runtimes outlive their configs", len(live))
		}
	})
	if err := run(``, goodApp); err != nil {
		t.Fatal(err)
	}
	first := onlyRuntime(t)
	if !first.ring.Loaded() || !first.revocations.Loaded() {
		t.Error("nothing was loaded at the start")
	}
	revoked := sessions.NewID()
	if err := first.revocations.Revoke(t.Context(), revoked, time.Hour); err != nil {
		t.Fatal(err)
	}
	sealed, err := first.ring.Seal(sessions.AccessToken, testIssuer, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}

	for i := range 3 {
		if err := run(fmt.Sprintf(`"name": "Change %d"`, i), goodApp); err != nil {
			t.Fatal(err)
		}
		if rt := onlyRuntime(t); rt != first {
			t.Fatal("the reload made another runtime")
		}
	}
	if err := run(`"isuer": "a mistake"`, goodApp); err == nil {
		t.Fatal("a config with a mistake started")
	}
	if rt := onlyRuntime(t); rt != first || !rt.revocations.Revoked(revoked) {
		t.Error("an attempt at a reload lost what was known")
	}
	if _, err := first.ring.Open(sessions.AccessToken, testIssuer, sealed); err != nil {
		t.Errorf("what was sealed before: %v", err)
	}

	t.Run("and another key is another runtime", func(t *testing.T) {
		t.Setenv("TEST_KEY", strings.Repeat("k3y-", 8))
		if err := run(`"keys": ["{env.TEST_KEY}"]`, goodApp); err != nil {
			t.Fatal(err)
		}
		rt := onlyRuntime(t)
		if rt == first {
			t.Fatal("the keys were not changed")
		}
		if _, err := rt.ring.Open(sessions.AccessToken, testIssuer, sealed); err == nil {
			t.Error("what other keys sealed opens")
		}
	})
}

// Two sites of one store share what is revoked, so that a person who is cut off is cut off everywhere.
func TestSitesShareARuntime(t *testing.T) {
	t.Setenv("TEST_SECRET", "the-secret-of-the-edge-at-the-provider")
	other := handlerJSON(t, `"issuer": "https://other.example.com"`)
	if err := caddy.Run(config(t, handlerJSON(t, ``)+`]}, {"handle": [`+other, goodApp)); err != nil {
		t.Fatal(err)
	}
	onlyRuntime(t)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestRuntimesAreToldApartWithoutShowingKeys(t *testing.T) {
	a, b := []byte(strings.Repeat("a1", 16)), []byte(strings.Repeat("b2", 16))
	keys := make(map[string]string)
	for name, secrets := range map[string][][]byte{
		"none": nil, "one": {a}, "another": {b}, "both": {a, b}, "the other way round": {b, a}, "joined": {append(append([]byte{}, a...), b...)},
	} {
		key := runtimeKey(MemoryStore{}, secrets)
		if known, ok := keys[key]; ok {
			t.Errorf("%s and %s share a runtime", name, known)
		}
		keys[key] = name
		if strings.Contains(key, string(a)) || strings.Contains(key, string(b)) {
			t.Errorf("the key of %s shows a secret", name)
		}
	}
}
