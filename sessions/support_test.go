package sessions_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/caddystore"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const tenant = "https://mcp.example.com"

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// eachStore runs a test over every store. replica returns one more view of the same records.
func eachStore(t *testing.T, test func(t *testing.T, c *clock, replica func() sessions.Store)) {
	t.Run("memstore", func(t *testing.T) {
		c := newClock()
		s := memstore.New(c.Now)
		test(t, c, func() sessions.Store { return s })
	})
	t.Run("caddystore", func(t *testing.T) {
		c := newClock()
		path := t.TempDir()
		test(t, c, func() sessions.Store {
			return caddystore.New(&certmagic.FileStorage{Path: path}, caddystore.Options{Now: c.Now})
		})
	})
}

// newVault returns a vault as one replica has it, ready for use.
func newVault(t testing.TB, store sessions.Store, c *clock) *sessions.Vault {
	t.Helper()
	ring, err := sessions.NewRing(sessions.RingConfig{Store: store, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	v := &sessions.Vault{
		Ring: ring, Store: store, Revocations: sessions.NewRevocations(store, c.Now), Tenant: tenant, Now: c.Now,
	}
	if err := ring.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := v.Revocations.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v
}

func memVault(t testing.TB) (*sessions.Vault, *clock) {
	t.Helper()
	c := newClock()
	return newVault(t, memstore.New(c.Now), c), c
}

func staticRing(t testing.TB, secrets ...string) *sessions.Ring {
	t.Helper()
	var bytes [][]byte
	for _, s := range secrets {
		bytes = append(bytes, []byte(s))
	}
	ring, err := sessions.NewRing(sessions.RingConfig{Secrets: bytes})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

const (
	secretOne = "one: 0123456789abcdef0123456789abcdef"
	secretTwo = "two: 0123456789abcdef0123456789abcdef"
)

// flaky is a store whose operations fail when told to.
type flaky struct {
	sessions.Store
	mu     sync.Mutex
	down   map[string]bool
	counts map[string]int
}

var errDown = errors.New("dial tcp: connection refused")

func (f *flaky) set(operations ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = make(map[string]bool)
	for _, op := range operations {
		f.down[op] = true
	}
}

func (f *flaky) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[op]
}

func (f *flaky) enter(op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.counts == nil {
		f.counts = make(map[string]int)
	}
	f.counts[op]++
	if f.down[op] {
		return errDown
	}
	return nil
}

func (f *flaky) Get(ctx context.Context, key string) ([]byte, error) {
	if err := f.enter("Get"); err != nil {
		return nil, err
	}
	return f.Store.Get(ctx, key)
}

func (f *flaky) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := f.enter("Put"); err != nil {
		return err
	}
	return f.Store.Put(ctx, key, value, ttl)
}

func (f *flaky) Take(ctx context.Context, key string) ([]byte, error) {
	if err := f.enter("Take"); err != nil {
		return nil, err
	}
	return f.Store.Take(ctx, key)
}

func (f *flaky) Update(ctx context.Context, key string, fn func([]byte) ([]byte, time.Duration, error)) error {
	if err := f.enter("Update"); err != nil {
		return err
	}
	return f.Store.Update(ctx, key, fn)
}

func (f *flaky) Delete(ctx context.Context, key string) error {
	if err := f.enter("Delete"); err != nil {
		return err
	}
	return f.Store.Delete(ctx, key)
}

func (f *flaky) List(ctx context.Context, prefix string) ([]string, error) {
	if err := f.enter("List"); err != nil {
		return nil, err
	}
	return f.Store.List(ctx, prefix)
}

func (f *flaky) Watch(ctx context.Context, prefix string, fn func(string, []byte)) error {
	if err := f.enter("Watch"); err != nil {
		return err
	}
	return f.Store.Watch(ctx, prefix, fn)
}

func wantErr(t *testing.T, doing string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", doing, err, want)
	}
}
