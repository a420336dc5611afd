package mcpauth

import (
	"context"
	"errors"
	"testing"

	"github.com/caddyserver/certmagic"
)

// namedStorage remembers what was asked of it.
type namedStorage struct {
	certmagic.Storage
	name   string
	asked  int
	locked map[string]bool
}

func (s *namedStorage) Load(context.Context, string) ([]byte, error) {
	s.asked++
	return []byte(s.name), nil
}

func (s *namedStorage) Lock(_ context.Context, name string) error {
	if s.locked == nil {
		s.locked = make(map[string]bool)
	}
	s.locked[name] = true
	return nil
}

func (s *namedStorage) Unlock(_ context.Context, name string) error {
	if !s.locked[name] {
		return errors.New(s.name + " never gave this lock")
	}
	delete(s.locked, name)
	return nil
}

// A reload opens the new config's storage, starts the new config, and then ends the old one, whose storage
// may be closed from then on.
func TestSessionsFollowTheNewestStorage(t *testing.T) {
	configs := []*CaddyStore{
		{storage: &namedStorage{name: "first"}}, {storage: &namedStorage{name: "second"}}, {storage: &namedStorage{name: "third"}},
	}
	store, err := configs[0].Store()
	if err != nil {
		t.Fatal(err)
	}
	current := store.(*reloadableStore).storage
	wantStorage := func(want, when string) {
		t.Helper()
		if got, _ := current.Load(t.Context(), "key"); string(got) != want {
			t.Errorf("%s: the %s storage is asked, want the %s one", when, got, want)
		}
	}
	wantStorage("first", "before the start")
	detach := configs[0].attach(store)
	wantStorage("first", "at the first config")
	for _, c := range configs[1:] {
		name := c.storage.(*namedStorage).name
		next := c.attach(store)
		wantStorage(name, "while both configs run")
		detach()
		wantStorage(name, "after the reload")
		detach = next
	}
	detach()
	wantStorage("third", "while the last config's requests end")

	t.Run("also when the new config does not come to be", func(t *testing.T) {
		store, _ := configs[0].Store()
		current = store.(*reloadableStore).storage
		configs[0].attach(store)
		configs[1].attach(store)()
		wantStorage("first", "after the attempt")
	})
	t.Run("also when both configs share one", func(t *testing.T) {
		store, _ := configs[0].Store()
		current = store.(*reloadableStore).storage
		detach := configs[0].attach(store)
		configs[0].attach(store)
		detach()
		wantStorage("first", "after the reload")
	})
}

func TestALockIsGivenBackWhereItWasTaken(t *testing.T) {
	old, young := &namedStorage{name: "old"}, &namedStorage{name: "young"}
	current := &currentStorage{all: []certmagic.Storage{old}}
	if err := current.Lock(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	current.push(young)
	if err := current.Lock(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	current.remove(old)
	for _, name := range []string{"a", "b"} {
		if err := current.Unlock(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	if len(old.locked)+len(young.locked) != 0 {
		t.Errorf("still locked: %v, %v", old.locked, young.locked)
	}
	if err := current.Unlock(t.Context(), "never taken"); err == nil {
		t.Error("a lock that nobody took was given back")
	}
}
