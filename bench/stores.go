package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/caddystore"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const benchTenant = "https://mcp.example.com"

var grantPolicy = sessions.GrantPolicy{Grace: time.Minute}

// refreshes tells how many refreshes a second each store carries, of 16 clients at once, and what a
// refresh takes once many grants are stored.
func refreshes(ctx context.Context, s *settings) ([]row, error) {
	counts := []int{1, 1000, 100_000}
	if s.quick {
		counts = []int{1, 10}
	}
	dir, err := os.MkdirTemp("", "caddy-mcp-auth-bench-store-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	type measured struct {
		name     string
		store    sessions.Store
		inMemory bool
	}
	stores := []measured{
		{"memory", memstore.New(nil), true},
		{"caddy (file system)", caddystore.New(&certmagic.FileStorage{Path: dir}, caddystore.Options{}), false},
	}
	redis, stop, err := startRedis(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	if redis != nil {
		stores = append(stores, measured{"redis (on this machine)", redis, false})
	}
	var rows []row
	for _, of := range stores {
		vault, err := newVault(ctx, of.store, benchTenant)
		if err != nil {
			return nil, err
		}
		n, elapsed, err := rotateMany(ctx, vault, s.slice)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{what: "refreshes per second, store " + of.name, value: fmt.Sprintf("%.0f", float64(n)/elapsed.Seconds()), note: "16 grants at once"})
		grown, err := refreshesAmong(ctx, vault, of.name, of.inMemory, counts)
		if err != nil {
			return nil, err
		}
		rows = append(rows, grown...)
	}
	return rows, nil
}

// refreshesAmong fills the store up to each of counts, and times refreshes of grants spread over them.
func refreshesAmong(ctx context.Context, vault *sessions.Vault, name string, inMemory bool, counts []int) ([]row, error) {
	const rotations = 200
	var rows []row
	have, before := 0, heap()
	for _, n := range counts {
		tokens, err := createGrants(ctx, vault, have, n)
		if err != nil {
			return nil, err
		}
		have = n
		note := ""
		if inMemory {
			note = fmt.Sprintf("a grant takes %.0f B of heap", (float64(heap())-float64(before))/float64(n))
		}
		began := time.Now()
		for i := range rotations {
			at := i * len(tokens) / rotations
			if _, tokens[at], err = vault.RotateGrant(ctx, tokens[at], grantPolicy, nil); err != nil {
				return nil, err
			}
		}
		rows = append(rows, row{
			what: fmt.Sprintf("a refresh among %d grants, store %s", n, name), value: fmt.Sprintf("%.0f us", time.Since(began).Seconds()/rotations*1e6), note: note,
		})
		runtime.KeepAlive(vault)
	}
	return rows, nil
}

// createGrants makes the grants numbered from first to below end, and returns their refresh tokens.
func createGrants(ctx context.Context, vault *sessions.Vault, first, end int) ([]string, error) {
	tokens := make([]string, 0, end-first)
	for i := first; i < end; i++ {
		refresh, err := vault.CreateGrant(ctx, exampleGrant(i), grantPolicy)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, refresh)
	}
	return tokens, nil
}

func rotateMany(ctx context.Context, vault *sessions.Vault, d time.Duration) (int, time.Duration, error) {
	var mu sync.Mutex
	var total int
	var failure error
	var all sync.WaitGroup
	began := time.Now()
	for i := range 16 {
		all.Go(func() {
			refresh, err := vault.CreateGrant(ctx, exampleGrant(i), grantPolicy)
			n := 0
			for err == nil && time.Since(began) < d {
				if _, refresh, err = vault.RotateGrant(ctx, refresh, grantPolicy, nil); err == nil {
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

func newVault(ctx context.Context, store sessions.Store, tenant string) (*sessions.Vault, error) {
	ring, err := sessions.NewRing(sessions.RingConfig{Store: store})
	if err != nil {
		return nil, err
	}
	return &sessions.Vault{Ring: ring, Store: store, Tenant: tenant}, ring.Load(ctx)
}

func exampleGrant(i int) sessions.Grant {
	return sessions.Grant{
		User:     sessions.User{Issuer: "https://idp.example.com", Subject: fmt.Sprint(i), Email: fmt.Sprintf("person%d@example.com", i)},
		ClientID: "https://claude.ai/oauth/claude-code-client-metadata", ClientName: "Claude Code",
		Resource: benchTenant, Scopes: []string{"tools:read"},
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
