package mcpauth

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

// countedStore counts what is asked of a store.
type countedStore struct {
	sessions.Store
	calls atomic.Int64
}

func (s *countedStore) Get(ctx context.Context, key string) ([]byte, error) {
	s.calls.Add(1)
	return s.Store.Get(ctx, key)
}

func (s *countedStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	s.calls.Add(1)
	return s.Store.Put(ctx, key, value, ttl)
}

func (s *countedStore) Take(ctx context.Context, key string) ([]byte, error) {
	s.calls.Add(1)
	return s.Store.Take(ctx, key)
}

func (s *countedStore) Update(ctx context.Context, key string, fn func([]byte) ([]byte, time.Duration, error)) error {
	s.calls.Add(1)
	return s.Store.Update(ctx, key, fn)
}

func (s *countedStore) Delete(ctx context.Context, key string) error {
	s.calls.Add(1)
	return s.Store.Delete(ctx, key)
}

func (s *countedStore) List(ctx context.Context, prefix string) ([]string, error) {
	s.calls.Add(1)
	return s.Store.List(ctx, prefix)
}

// countedModule is a store module over one.
type countedModule struct {
	MemoryStore
	store *countedStore
}

func (m countedModule) Store() (sessions.Store, error) { return m.store, nil }

// Whoever floods the guard, with tokens that are good or bad, must not get at the store through it.
func TestTheGuardAsksNoStore(t *testing.T) {
	store := &countedStore{Store: memstore.New(nil)}
	h := newTestHandler(t)
	var err error
	if h.runtime, err = newRuntime(countedModule{store: store}, nil, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if err := h.runtime.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if store.calls.Load() == 0 {
		t.Fatal("loading the keys was not counted, so nothing would be")
	}
	if h.guarding, err = (&GuardOptions{MaxBadTokens: given(0)}).settings(); err != nil {
		t.Fatal(err)
	}
	if h.fixed, err = h.newSite(testIssuer); err != nil {
		t.Fatal(err)
	}
	good := h.token(t, testIssuer, nil)
	revoked := h.token(t, testIssuer, func(a *sessions.Access) { a.Grant = sessions.ID{9} })
	if err := h.runtime.revocations.Revoke(t.Context(), sessions.ID{9}, time.Hour); err != nil {
		t.Fatal(err)
	}
	loaded := store.calls.Load()
	for _, tc := range []struct {
		name, token string
		status      int
	}{
		{"a good token", good, http.StatusNoContent},
		{"no token", "", http.StatusUnauthorized},
		{"a forged token", good[:len(good)-8] + "AAAAAAAA", http.StatusUnauthorized},
		{"a token of a key that nobody has", "mcpat_" + strings.Repeat("B", len(good)-6), http.StatusUnauthorized},
		{"a token of nobody's", "guess", http.StatusUnauthorized},
		{"an expired token", h.token(t, testIssuer, func(a *sessions.Access) { a.IssuedAt -= 7200; a.ExpiresAt -= 7200 }), http.StatusUnauthorized},
		{"a revoked token", revoked, http.StatusUnauthorized},
		{"a token of another resource", h.token(t, "https://elsewhere.example", nil), http.StatusUnauthorized},
		{"a token of somebody who is not let in", h.token(t, testIssuer, func(a *sessions.Access) { a.Email = "a@elsewhere.example" }), http.StatusForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := http.Header{}
			if tc.token != "" {
				header.Set("Authorization", "Bearer "+tc.token)
			}
			for range 50 {
				r, _ := request("POST", testIssuer+"/mcp", header.Clone())
				if status, _, _ := serve(t, h, r); status != tc.status {
					t.Fatalf("status %d, want %d", status, tc.status)
				}
			}
			if n := store.calls.Load() - loaded; n != 0 {
				t.Errorf("the store was asked %d times", n)
			}
		})
	}
}
