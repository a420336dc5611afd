// Package storetest checks that a [sessions.Store] keeps its promises. Every implementation runs it.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// short is a lifetime that advance passes by twice of it, long one that the suite never reaches.
const (
	short = 2 * time.Second
	long  = time.Hour
)

// Run checks one store. open returns an empty one; advance lets at least that much time pass for every store it
// returned, by moving a clock or, for want of one, by waiting.
func Run(t *testing.T, open func(t *testing.T) sessions.Store, advance func(time.Duration)) {
	for _, tc := range []struct {
		name string
		test func(t *testing.T, s sessions.Store, advance func(time.Duration))
	}{
		{"Put replaces and Get returns the last value", testPut},
		{"values belong to one side only", testCopies},
		{"every byte and size is kept", testValues},
		{"a key may lie below another", testNested},
		{"a record ends with its time to live", testExpiry},
		{"Take gives a record once", testTake},
		{"Update sees, replaces and deletes", testUpdate},
		{"Update that fails writes nothing", testUpdateError},
		{"Delete needs no record", testDelete},
		{"List knows what is below a prefix", testList},
		{"one of many takers wins", func(t *testing.T, s sessions.Store, _ func(time.Duration)) { testTakers(t, s) }},
		{"no update is lost", func(t *testing.T, s sessions.Store, _ func(time.Duration)) { testUpdaters(t, s) }},
		{"Watch reports old and new records", func(t *testing.T, s sessions.Store, _ func(time.Duration)) { testWatch(t, s, s) }},
		{"a context that is done ends every call", testContext},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, open(t), advance) })
	}
}

func testPut(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	wantNone(t, s, "a/b")
	put(t, s, "a/b", "one", long)
	put(t, s, "a/b", "two", 0)
	put(t, s, "a/c", "three", long)
	want(t, s, "a/b", "two")
	want(t, s, "a/c", "three")
}

func testCopies(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	value := []byte("value")
	if err := s.Put(t.Context(), "a/b", value, long); err != nil {
		t.Fatalf("Put: %v", err)
	}
	value[0] = 'X'
	got, err := s.Get(t.Context(), "a/b")
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	got[1] = 'X'
	err = s.Update(t.Context(), "a/b", func(old []byte) ([]byte, time.Duration, error) {
		if len(old) > 2 {
			old[2] = 'X'
		}
		return nil, 0, errors.New("no")
	})
	if err == nil {
		t.Fatal("Update returned no error")
	}
	want(t, s, "a/b", "value")
}

func testValues(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, value := range [][]byte{{}, {0}, all, bytes.Repeat(all, 512)} {
		if err := s.Put(t.Context(), "a/b", value, long); err != nil {
			t.Fatalf("Put of %d bytes: %v", len(value), err)
		}
		got, err := s.Get(t.Context(), "a/b")
		if err != nil || !bytes.Equal(got, value) {
			t.Errorf("Get of %d bytes returned %d bytes and %v", len(value), len(got), err)
		}
	}
	put(t, s, "a/empty", "", long)
	err := s.Update(t.Context(), "a/empty", func(old []byte) ([]byte, time.Duration, error) {
		if old == nil {
			t.Error("Update got nil for a record that is there, but empty")
		}
		return []byte{}, long, nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	want(t, s, "a/empty", "")
}

func testNested(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	put(t, s, "a/b/c", "below", long)
	put(t, s, "a/b", "above", long)
	want(t, s, "a/b", "above")
	want(t, s, "a/b/c", "below")
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	want(t, s, "a/b/c", "below")
}

func testExpiry(t *testing.T, s sessions.Store, advance func(time.Duration)) {
	put(t, s, "a/short", "value", short)
	put(t, s, "a/taken", "value", short)
	put(t, s, "a/renewed", "value", short)
	put(t, s, "a/long", "value", long)
	put(t, s, "a/forever", "value", 0)
	update(t, s, "a/updated", "value", short)
	put(t, s, "a/renewed", "value", long)
	for _, key := range []string{"a/short", "a/taken", "a/renewed", "a/long", "a/forever", "a/updated"} {
		want(t, s, key, "value")
	}
	advance(2 * short)
	wantNone(t, s, "a/short")
	wantNone(t, s, "a/updated")
	want(t, s, "a/renewed", "value")
	want(t, s, "a/long", "value")
	want(t, s, "a/forever", "value")
	if _, err := s.Take(t.Context(), "a/taken"); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("Take of an expired record: %v, want ErrNotFound", err)
	}
	wantKeys(t, s, "a/", "a/renewed", "a/long", "a/forever")
	err := s.Update(t.Context(), "a/short", func(old []byte) ([]byte, time.Duration, error) {
		if old != nil {
			t.Errorf("Update got the expired value %q", old)
		}
		return []byte("again"), long, nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	want(t, s, "a/short", "again")
}

func testTake(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	if _, err := s.Take(t.Context(), "a/b"); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("Take of nothing: %v, want ErrNotFound", err)
	}
	put(t, s, "a/b", "value", long)
	if got, err := s.Take(t.Context(), "a/b"); err != nil || string(got) != "value" {
		t.Errorf("Take: %q, %v", got, err)
	}
	wantNone(t, s, "a/b")
	if _, err := s.Take(t.Context(), "a/b"); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("second Take: %v, want ErrNotFound", err)
	}
}

func testUpdate(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	steps := []struct{ old, value []byte }{
		{nil, []byte("one")},
		{[]byte("one"), []byte("two")},
		{[]byte("two"), nil},
		{nil, nil},
		{nil, []byte("three")},
	}
	for i, step := range steps {
		var old []byte
		err := s.Update(t.Context(), "a/b", func(o []byte) ([]byte, time.Duration, error) {
			old = o
			return step.value, long, nil
		})
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if !bytes.Equal(old, step.old) || (old == nil) != (step.old == nil) {
			t.Errorf("step %d: fn got %q, want %q", i, old, step.old)
		}
		if step.value == nil {
			wantNone(t, s, "a/b")
		} else {
			want(t, s, "a/b", string(step.value))
		}
	}
}

func testUpdateError(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	refused := errors.New("refused")
	for _, key := range []string{"a/absent", "a/present"} {
		if key == "a/present" {
			put(t, s, key, "value", long)
		}
		err := s.Update(t.Context(), key, func([]byte) ([]byte, time.Duration, error) {
			return []byte("other"), long, refused
		})
		if err != refused {
			t.Errorf("Update of %s: %v, want the error of fn as it is", key, err)
		}
	}
	wantNone(t, s, "a/absent")
	want(t, s, "a/present", "value")
}

func testDelete(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	put(t, s, "a/b", "value", long)
	for range 2 {
		if err := s.Delete(t.Context(), "a/b"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		wantNone(t, s, "a/b")
	}
}

func testList(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	wantKeys(t, s, "a/")
	wantKeys(t, s, "")
	for _, key := range []string{"a/b", "a/b/c", "a/b/d/e", "a/bc", "b", "a_b/c"} {
		put(t, s, key, "value", long)
	}
	wantKeys(t, s, "a/", "a/b", "a/b/c", "a/b/d/e", "a/bc")
	wantKeys(t, s, "a/b/", "a/b/c", "a/b/d/e")
	wantKeys(t, s, "", "a/b", "a/b/c", "a/b/d/e", "a/bc", "b", "a_b/c")
	if err := s.Delete(t.Context(), "a/b/d/e"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantKeys(t, s, "a/b/", "a/b/c")
	wantKeys(t, s, "a/b/d/")
}

func testContext(t *testing.T, s sessions.Store, _ func(time.Duration)) {
	put(t, s, "a/b", "value", long)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := false
	fn := func(old []byte) ([]byte, time.Duration, error) { called = true; return []byte("other"), long, nil }
	_, getErr := s.Get(ctx, "a/b")
	_, takeErr := s.Take(ctx, "a/b")
	_, listErr := s.List(ctx, "a/")
	for call, err := range map[string]error{
		"Get": getErr, "Take": takeErr, "List": listErr,
		"Put":    s.Put(ctx, "a/b", []byte("other"), long),
		"Update": s.Update(ctx, "a/b", fn),
		"Delete": s.Delete(ctx, "a/b"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", call, err)
		}
	}
	if called {
		t.Error("Update called fn")
	}
	if err := s.Watch(ctx, "a/", func(string, []byte) {}); err != nil {
		t.Errorf("Watch: %v, want nil", err)
	}
	want(t, s, "a/b", "value")
}

func put(t *testing.T, s sessions.Store, key, value string, ttl time.Duration) {
	t.Helper()
	if err := s.Put(t.Context(), key, []byte(value), ttl); err != nil {
		t.Fatalf("Put of %s: %v", key, err)
	}
}

func update(t *testing.T, s sessions.Store, key, value string, ttl time.Duration) {
	t.Helper()
	err := s.Update(t.Context(), key, func([]byte) ([]byte, time.Duration, error) { return []byte(value), ttl, nil })
	if err != nil {
		t.Fatalf("Update of %s: %v", key, err)
	}
}

func want(t *testing.T, s sessions.Store, key, value string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); err != nil || string(got) != value {
		t.Errorf("Get of %s: %q, %v; want %q", key, got, err, value)
	}
}

func wantNone(t *testing.T, s sessions.Store, key string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("Get of %s: %q, %v; want ErrNotFound", key, got, err)
	}
}

func wantKeys(t *testing.T, s sessions.Store, prefix string, keys ...string) {
	t.Helper()
	got, err := s.List(t.Context(), prefix)
	if err != nil {
		t.Fatalf("List of %q: %v", prefix, err)
	}
	slices.Sort(got)
	slices.Sort(keys)
	if !slices.Equal(got, keys) {
		t.Errorf("List of %q: %q, want %q", prefix, got, keys)
	}
}
