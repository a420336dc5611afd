package storetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// patience is how long a test waits before it calls something broken. The promise is two seconds; the rest is for
// busy machines.
const patience = 15 * time.Second

// RunReplicas checks what holds between two stores over one backend, as two processes or an old and a new
// configuration have them. open returns an empty pair.
func RunReplicas(t *testing.T, open func(t *testing.T) (a, b sessions.Store)) {
	t.Run("one sees what the other wrote", func(t *testing.T) {
		a, b := open(t)
		put(t, a, "a/b", "one", long)
		want(t, b, "a/b", "one")
		update(t, b, "a/b", "two", long)
		want(t, a, "a/b", "two")
		if err := a.Delete(t.Context(), "a/b"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantNone(t, b, "a/b")
		wantKeys(t, b, "a/")
	})
	t.Run("one of many takers wins", func(t *testing.T) { a, b := open(t); testTakers(t, a, b) })
	t.Run("no update is lost", func(t *testing.T) { a, b := open(t); testUpdaters(t, a, b) })
	t.Run("Watch reports what the other writes", func(t *testing.T) { a, b := open(t); testWatch(t, a, b) })
}

func testTakers(t *testing.T, replicas ...sessions.Store) {
	for round := range 3 {
		key := fmt.Sprintf("a/b%d", round)
		put(t, replicas[0], key, "value", long)
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				value, err := replicas[i%len(replicas)].Take(t.Context(), key)
				switch {
				case err == nil && string(value) == "value":
					won.Add(1)
				case errors.Is(err, sessions.ErrNotFound):
					lost.Add(1)
				default:
					t.Errorf("Take: %q, %v", value, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 49 {
			t.Errorf("%d callers got the record and %d did not, want 1 and 49", won.Load(), lost.Load())
		}
	}
}

func testUpdaters(t *testing.T, replicas ...sessions.Store) {
	const updates = 50
	var wg sync.WaitGroup
	for i := range updates {
		wg.Go(func() {
			err := replicas[i%len(replicas)].Update(t.Context(), "a/count", func(old []byte) ([]byte, time.Duration, error) {
				n := 0
				if old != nil {
					var err error
					if n, err = strconv.Atoi(string(old)); err != nil {
						return nil, 0, err
					}
				}
				return []byte(strconv.Itoa(n + 1)), long, nil
			})
			if err != nil {
				t.Errorf("Update: %v", err)
			}
		})
	}
	wg.Wait()
	want(t, replicas[0], "a/count", strconv.Itoa(updates))
}

// testWatch watches one store while the other, or the same, writes.
func testWatch(t *testing.T, watching, writing sessions.Store) {
	put(t, writing, "a/w/old", "one", long)
	put(t, writing, "a/wider", "foreign", long)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type event struct{ key, value string }
	events := make(chan event, 100)
	ended := make(chan error, 1)
	var overlapping atomic.Int32
	go func() {
		ended <- watching.Watch(ctx, "a/w/", func(key string, value []byte) {
			if overlapping.Add(1) != 1 {
				t.Error("calls of fn overlap")
			}
			defer overlapping.Add(-1)
			events <- event{key, string(value)}
		})
	}()
	await := func(key, value string) {
		t.Helper()
		deadline := time.After(patience)
		for {
			select {
			case e := <-events:
				if e == (event{key, value}) {
					return
				}
				if e.key == "a/wider" {
					t.Errorf("Watch reported %s, which is not below its prefix", e.key)
				}
			case err := <-ended:
				t.Fatalf("Watch ended with %v before it reported %s", err, key)
			case <-deadline:
				t.Fatalf("Watch did not report %s = %s", key, value)
			}
		}
	}
	await("a/w/old", "one")
	put(t, writing, "a/w/new", "two", long)
	await("a/w/new", "two")
	put(t, writing, "a/wider", "foreign", long)
	update(t, writing, "a/w/old", "three", long)
	await("a/w/old", "three")
	// The same size again, within one tick of a coarse clock.
	update(t, writing, "a/w/old", "seven", long)
	await("a/w/old", "seven")
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Watch returned %v after its context was done, want nil", err)
		}
	case <-time.After(patience):
		t.Fatal("Watch did not return after its context was done")
	}
}
