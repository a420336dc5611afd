package caddystore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/storetest"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

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

func files(t *testing.T) *certmagic.FileStorage {
	return &certmagic.FileStorage{Path: t.TempDir()}
}

func TestStore(t *testing.T) {
	c := newClock()
	storetest.Run(t, func(t *testing.T) sessions.Store {
		return New(files(t), Options{Now: c.Now, Poll: 20 * time.Millisecond})
	}, c.Advance)
}

func TestReplicas(t *testing.T) {
	storetest.RunReplicas(t, func(t *testing.T) (a, b sessions.Store) {
		storage := files(t)
		return New(storage, Options{}), New(&certmagic.FileStorage{Path: storage.Path}, Options{})
	})
}

// Two processes do not share the locks of this package, only those of the storage.
func TestProcessesShareOnlyTheStorageLock(t *testing.T) {
	storage := files(t)
	a, b := New(storage, Options{}), New(storage, Options{})
	b.domain = "another process"
	inside := make(chan struct{})
	leave := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := a.Update(t.Context(), "a/b", func([]byte) ([]byte, time.Duration, error) {
			close(inside)
			<-leave
			return []byte("first"), 0, nil
		})
		if err != nil {
			t.Errorf("Update: %v", err)
		}
	})
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Take(ctx, "a/b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Take beside an Update elsewhere: %v, want the end of the context", err)
	}
	close(leave)
	wg.Wait()
	if value, err := b.Take(t.Context(), "a/b"); err != nil || string(value) != "first" {
		t.Errorf("Take after the Update: %q, %v", value, err)
	}
}

func TestLockLeftByACrash(t *testing.T) {
	storage := files(t)
	s := New(storage, Options{})
	leave := func(updated time.Time) {
		meta, err := json.Marshal(map[string]time.Time{"created": updated, "updated": updated})
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(storage.Path, "locks")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, lockName("a/b")+".lock"), meta, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set := func([]byte) ([]byte, time.Duration, error) { return []byte("value"), 0, nil }

	leave(time.Now())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Update(ctx, "a/b", set); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Update beside a fresh lock: %v, want the end of the context", err)
	}
	leave(time.Now().Add(-time.Minute))
	if err := s.Update(t.Context(), "a/b", set); err != nil {
		t.Errorf("Update beside a stale lock: %v", err)
	}
}

func TestLocksAreForgotten(t *testing.T) {
	l := keyedLocks{held: make(map[string]*keyedLock)}
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting with a context that is done: %v", err)
	}
	inside := 0
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			unlock, err := l.lock(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			inside++ // the race detector objects if two are in here
			unlock()
		})
	}
	unlock()
	wg.Wait()
	if inside != 50 || len(l.held) != 0 {
		t.Errorf("%d of 50 got the lock and %d locks are remembered, want 50 and 0", inside, len(l.held))
	}
}

func TestKeysDoNotLeaveTheirFolder(t *testing.T) {
	storage := files(t)
	s := New(storage, Options{})
	for _, key := range []string{"", "/", "a/", "/a", "a//b", "..", "../a", "a/../b", "a.b", "A", "a b", "a\\b", "a\x00b", "ä", "last-sweep"} {
		if err := s.Put(t.Context(), key, []byte("value"), 0); err == nil {
			t.Errorf("Put accepted the key %q", key)
		}
		if _, err := s.Get(t.Context(), key); err == nil || errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("Get of the key %q: %v, want an error that says that it is none", key, err)
		}
		if err := s.Delete(t.Context(), key); err == nil {
			t.Errorf("Delete accepted the key %q", key)
		}
	}
	for _, prefix := range []string{"a", "/", "../", "a/../", "a//"} {
		if _, err := s.List(t.Context(), prefix); err == nil {
			t.Errorf("List accepted the prefix %q", prefix)
		}
	}
	if entries, err := os.ReadDir(storage.Path); err != nil || len(entries) != 0 {
		t.Errorf("the folder holds %v, %v; want nothing", entries, err)
	}
}

// A file storage cannot list a folder in which files vanish meanwhile; temporary files of writes do all the time.
func TestListBesideWrites(t *testing.T) {
	s := New(files(t), Options{})
	for _, key := range []string{"a/x", "a/y", "a/z"} {
		if err := s.Put(t.Context(), key, []byte("value"), 0); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := s.Put(t.Context(), "a/y", bytes.Repeat([]byte("v"), 100), 0); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 200 {
		keys, err := s.List(t.Context(), "a/")
		if err != nil || len(keys) != 3 {
			t.Errorf("List beside writes: %q, %v; want three keys", keys, err)
			break
		}
	}
	close(stop)
	wg.Wait()
}

// broken is a storage whose operations fail when told to.
type broken struct {
	certmagic.Storage
	fail map[string]bool
}

var errBroken = errors.New("storage is down")

func (b *broken) err(op string) error {
	if b.fail[op] {
		return errBroken
	}
	return nil
}

func (b *broken) Store(ctx context.Context, key string, value []byte) error {
	if err := b.err("Store"); err != nil {
		return err
	}
	return b.Storage.Store(ctx, key, value)
}

func (b *broken) Load(ctx context.Context, key string) ([]byte, error) {
	if err := b.err("Load"); err != nil {
		return nil, err
	}
	return b.Storage.Load(ctx, key)
}

func (b *broken) Delete(ctx context.Context, key string) error {
	if err := b.err("Delete"); err != nil {
		return err
	}
	return b.Storage.Delete(ctx, key)
}

func (b *broken) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	if err := b.err("List"); err != nil {
		return nil, err
	}
	return b.Storage.List(ctx, path, recursive)
}

func (b *broken) Lock(ctx context.Context, name string) error {
	if err := b.err("Lock"); err != nil {
		return err
	}
	return b.Storage.Lock(ctx, name)
}

func TestStorageErrorsAreNotAnswers(t *testing.T) {
	b := &broken{Storage: files(t)}
	s := New(b, Options{})
	called := false
	calls := map[string]func() error{
		"Get":    func() error { _, err := s.Get(t.Context(), "a/b"); return err },
		"Put":    func() error { return s.Put(t.Context(), "a/b", []byte("other"), 0) },
		"Take":   func() error { _, err := s.Take(t.Context(), "a/b"); return err },
		"Delete": func() error { return s.Delete(t.Context(), "a/b") },
		"List":   func() error { _, err := s.List(t.Context(), "a/"); return err },
		"Watch":  func() error { return s.Watch(t.Context(), "a/", func(string, []byte) {}) },
		"Update": func() error {
			return s.Update(t.Context(), "a/b", func([]byte) ([]byte, time.Duration, error) {
				called = true
				return []byte("other"), 0, nil
			})
		},
	}
	for _, tc := range []struct{ operation, calls string }{
		{"Load", "Get Take List Watch Update"},
		{"Store", "Put"},
		{"Delete", "Take Delete"},
		{"List", "List Watch"},
		{"Lock", "Take Update"},
	} {
		b.fail = nil
		if err := s.Put(t.Context(), "a/b", []byte("value"), 0); err != nil {
			t.Fatal(err)
		}
		b.fail = map[string]bool{tc.operation: true}
		for _, call := range strings.Fields(tc.calls) {
			if err := calls[call](); !errors.Is(err, errBroken) || errors.Is(err, sessions.ErrNotFound) {
				t.Errorf("%s while %s fails: %v, want the storage's error", call, tc.operation, err)
			}
		}
		b.fail = nil
		if value, err := s.Get(t.Context(), "a/b"); err != nil || string(value) != "value" {
			t.Errorf("after %s failed the record is %q, %v", tc.operation, value, err)
		}
	}
	if called {
		t.Error("Update called fn without having loaded the record")
	}
}
