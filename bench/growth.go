package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/caddystore"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

// growth tells what a request and the edge's memory cost once many tokens have been used, and what
// grants take in the memory store.
func growth(ctx context.Context, s *settings) ([]row, error) {
	p, err := startPair(ctx, s, site{})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	counts := []int{1, 10_000, 1_000_000}
	if s.quick {
		counts = []int{1, 1000}
	}
	var rows []row
	for _, n := range counts {
		all, err := tokens(p.guarded.origin, n)
		if err != nil {
			return nil, err
		}
		l := &load{edge: p.guarded, connections: 16, tokens: all, status: http.StatusOK}
		var costs sample
		for range 3 {
			cost, err := l.cost(ctx, s.slice)
			if err != nil {
				return nil, err
			}
			costs = append(costs, cost)
		}
		memory, err := p.guarded.rss()
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			what: fmt.Sprintf("%d access tokens issued: CPU per request", n), value: fmt.Sprintf("%.0f us", costs.median()),
			note: fmt.Sprintf("the edge holds %.0f MiB", float64(memory)/(1<<20)),
		})
	}
	grants, err := grantMemory(ctx, s)
	return append(rows, grants...), err
}

func grantMemory(ctx context.Context, s *settings) ([]row, error) {
	counts := []int{1000, 100_000}
	if s.quick {
		counts = []int{1000}
	}
	var rows []row
	for _, n := range counts {
		vault, err := newVault(ctx, memstore.New(nil))
		if err != nil {
			return nil, err
		}
		before := heap()
		var refresh string
		for i := range n {
			if refresh, err = vault.CreateGrant(ctx, exampleGrant(i), sessions.GrantPolicy{Grace: time.Minute}); err != nil {
				return nil, err
			}
		}
		size := float64(heap()-before) / float64(n)
		began := time.Now()
		const rotations = 1000
		for range rotations {
			if _, refresh, err = vault.RotateGrant(ctx, refresh, sessions.GrantPolicy{Grace: time.Minute}, nil); err != nil {
				return nil, err
			}
		}
		rows = append(rows, row{
			what: fmt.Sprintf("%d grants in the memory store: each", n), value: fmt.Sprintf("%.0f B", size),
			note: fmt.Sprintf("a refresh takes %.0f us", time.Since(began).Seconds()/rotations*1e6),
		})
		runtime.KeepAlive(vault)
	}
	return rows, nil
}

// refreshes counts rotations per second on each store, of many grants by many goroutines.
func refreshes(ctx context.Context, s *settings) ([]row, error) {
	dir, err := os.MkdirTemp("", "caddy-mcp-auth-bench-store-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var rows []row
	for _, store := range []struct {
		name  string
		store sessions.Store
	}{
		{"memory", memstore.New(nil)},
		{"caddy (file system)", caddystore.New(&certmagic.FileStorage{Path: dir}, caddystore.Options{})},
	} {
		vault, err := newVault(ctx, store.store)
		if err != nil {
			return nil, err
		}
		n, elapsed, err := rotateMany(ctx, vault, s.slice)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{what: "refreshes per second, store " + store.name, value: fmt.Sprintf("%.0f", float64(n)/elapsed.Seconds()), note: "16 grants at once"})
	}
	return rows, nil
}

func rotateMany(ctx context.Context, vault *sessions.Vault, d time.Duration) (int, time.Duration, error) {
	policy := sessions.GrantPolicy{Grace: time.Minute}
	var mu sync.Mutex
	var total int
	var failure error
	var all sync.WaitGroup
	began := time.Now()
	for i := range 16 {
		all.Go(func() {
			refresh, err := vault.CreateGrant(ctx, exampleGrant(i), policy)
			n := 0
			for err == nil && time.Since(began) < d {
				if _, refresh, err = vault.RotateGrant(ctx, refresh, policy, nil); err == nil {
					n++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
			if err != nil {
				failure = err
			}
		})
	}
	all.Wait()
	return total, time.Since(began), failure
}

func newVault(ctx context.Context, store sessions.Store) (*sessions.Vault, error) {
	ring, err := sessions.NewRing(sessions.RingConfig{Store: store})
	if err != nil {
		return nil, err
	}
	return &sessions.Vault{Ring: ring, Store: store, Tenant: "https://mcp.example.com"}, ring.Load(ctx)
}

func exampleGrant(i int) sessions.Grant {
	return sessions.Grant{
		User:     sessions.User{Issuer: "https://idp.example.com", Subject: fmt.Sprint(i), Email: fmt.Sprintf("person%d@example.com", i)},
		ClientID: "https://claude.ai/oauth/claude-code-client-metadata", ClientName: "Claude Code",
		Resource: "https://mcp.example.com", Scopes: []string{"tools:read"},
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
