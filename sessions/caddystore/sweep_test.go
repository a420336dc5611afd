package caddystore

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

func TestSweepDeletesOnlyWhatHasExpired(t *testing.T) {
	c := newClock()
	storage := files(t)
	s := New(storage, Options{Now: c.Now})
	for key, ttl := range map[string]time.Duration{"a/b/short": time.Minute, "a/long": 50 * time.Hour, "a/forever": 0} {
		if err := s.Put(t.Context(), key, []byte("value"), ttl); err != nil {
			t.Fatal(err)
		}
	}
	// What a write leaves behind when its process is killed, and a record that cannot be read.
	for _, name := range []string{"a/1234567", "a/damaged.rec"} {
		if err := os.WriteFile(filepath.Join(storage.Path, "mcp_auth", name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.sweep(t.Context()); err == nil {
		t.Error("sweeping said nothing of the damaged record")
	}
	wantFiles(t, storage, "a/1234567", "a/b/short.rec", "a/damaged.rec", "a/forever.rec", "a/long.rec", "last-sweep")
	c.Advance(25 * time.Hour)
	if err := s.sweep(t.Context()); err == nil {
		t.Error("sweeping said nothing of the damaged record")
	}
	wantFiles(t, storage, "a/damaged.rec", "a/forever.rec", "a/long.rec", "last-sweep")
}

func TestOneInstanceSweeps(t *testing.T) {
	c := newClock()
	counting := &countingStorage{FileStorage: files(t)}
	a := New(counting, Options{Now: c.Now, Sweep: time.Hour})
	b := New(counting, Options{Now: c.Now, Sweep: time.Hour})
	sweepBoth := func() {
		t.Helper()
		for _, s := range []*Store{a, b, a, b} {
			if err := s.sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	sweepBoth()
	if n := counting.lists.Load(); n != 1 {
		t.Errorf("%d sweeps at the start, want 1", n)
	}
	c.Advance(59 * time.Minute)
	sweepBoth()
	if n := counting.lists.Load(); n != 1 {
		t.Errorf("%d sweeps before the interval was over, want 1", n)
	}
	c.Advance(time.Minute)
	if err := counting.Lock(t.Context(), sweepLock); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_ = b.sweep(ctx) // finds the lock taken, and either gives up or runs out of time
	if n := counting.lists.Load(); n != 1 {
		t.Errorf("%d sweeps while another instance has the lock, want 1", n)
	}
	if err := counting.Unlock(t.Context(), sweepLock); err != nil {
		t.Fatal(err)
	}
	sweepBoth()
	if n := counting.lists.Load(); n != 2 {
		t.Errorf("%d sweeps after the interval, want 2", n)
	}
}

func TestRunSweepsUntilItsContextIsDone(t *testing.T) {
	c := newClock()
	storage := &countingStorage{FileStorage: files(t), listed: make(chan struct{}, 10)}
	s := New(storage, Options{Now: c.Now, Sweep: 4 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	<-storage.listed
	c.Advance(time.Second)
	<-storage.listed
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v, want nil", err)
	}
}

type countingStorage struct {
	*certmagic.FileStorage
	lists  atomic.Int32
	listed chan struct{}
}

func (s *countingStorage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	s.lists.Add(1)
	if s.listed != nil {
		s.listed <- struct{}{}
	}
	return s.FileStorage.List(ctx, path, recursive)
}

func wantFiles(t *testing.T, storage *certmagic.FileStorage, want ...string) {
	t.Helper()
	var got []string
	base := filepath.Join(storage.Path, "mcp_auth")
	err := filepath.WalkDir(base, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			rel, _ := filepath.Rel(base, path)
			got = append(got, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("the storage holds %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("the storage holds %q, want %q", got, want)
		}
	}
}
