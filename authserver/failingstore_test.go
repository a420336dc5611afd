package authserver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

var errStoreDown = errors.New("dial tcp 10.1.2.3:6379: connection refused")

// failingStore is a store whose methods fail while they are told to.
type failingStore struct {
	sessions.Store

	mu     sync.Mutex
	broken map[string]bool // by method; "*" is all of them
	writes int             // calls that could have changed something
	onGet  func()          // called after each Get, if set
}

// fail makes the methods fail until heal. No method means all.
func (s *failingStore) fail(methods ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = map[string]bool{"*": len(methods) == 0}
	for _, m := range methods {
		s.broken[m] = true
	}
}

func (s *failingStore) heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = nil
}

// written returns how often something may have been written.
func (s *failingStore) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

func (s *failingStore) call(method string, write bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken["*"] || s.broken[method] {
		return errStoreDown
	}
	if write {
		s.writes++
	}
	return nil
}

func (s *failingStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.call("Get", false); err != nil {
		return nil, err
	}
	value, err := s.Store.Get(ctx, key)
	if s.onGet != nil {
		s.onGet()
	}
	return value, err
}

func (s *failingStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := s.call("Put", true); err != nil {
		return err
	}
	return s.Store.Put(ctx, key, value, ttl)
}

func (s *failingStore) Take(ctx context.Context, key string) ([]byte, error) {
	if err := s.call("Take", true); err != nil {
		return nil, err
	}
	return s.Store.Take(ctx, key)
}

func (s *failingStore) Update(ctx context.Context, key string, fn func([]byte) ([]byte, time.Duration, error)) error {
	if err := s.call("Update", true); err != nil {
		return err
	}
	return s.Store.Update(ctx, key, fn)
}

func (s *failingStore) Delete(ctx context.Context, key string) error {
	if err := s.call("Delete", true); err != nil {
		return err
	}
	return s.Store.Delete(ctx, key)
}

func (s *failingStore) List(ctx context.Context, prefix string) ([]string, error) {
	if err := s.call("List", false); err != nil {
		return nil, err
	}
	return s.Store.List(ctx, prefix)
}

// Interface guards
var _ sessions.Store = (*failingStore)(nil)
