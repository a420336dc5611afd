// Package memstore keeps records in the memory of this process, for tests and demonstrations. Nothing
// survives a restart and no other replica sees it.
package memstore

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/internal/notify"
)

const (
	sweepEvery = time.Minute
	// sweepAfter writes at the latest, expired records are deleted, so that a flood within one sweep
	// interval is bounded by what is alive.
	sweepAfter = 4096
)

// Store is a [sessions.Store] in memory.
type Store struct {
	now func() time.Time
	hub notify.Hub

	mu      sync.Mutex
	records map[string]record
	swept   time.Time
	kept    int // by the last sweep
	writes  int // since then
}

type record struct {
	value   []byte
	expires time.Time // zero: never
}

func (r record) live(now time.Time) bool { return r.expires.IsZero() || now.Before(r.expires) }

// New returns an empty store. A nil clock means time.Now.
func New(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{now: now, records: make(map[string]record)}
}

// Get implements [sessions.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(key)
}

// Put implements [sessions.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, value, ttl)
	return nil
}

// Take implements [sessions.Store].
func (s *Store) Take(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	value, err := s.get(key)
	delete(s.records, key)
	return value, err
}

// Update implements [sessions.Store]. fn is called once.
func (s *Store) Update(ctx context.Context, key string, fn func(old []byte) ([]byte, time.Duration, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.get(key)
	if err != nil {
		old = nil
	}
	value, ttl, err := fn(old)
	if err != nil {
		return err
	}
	if value == nil {
		delete(s.records, key)
		return nil
	}
	s.put(key, value, ttl)
	return nil
}

// Delete implements [sessions.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, key)
	return nil
}

// List implements [sessions.Store].
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var keys []string
	for key, r := range s.records {
		if strings.HasPrefix(key, prefix) && r.live(now) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Watch implements [sessions.Store].
func (s *Store) Watch(ctx context.Context, prefix string, fn func(key string, value []byte)) error {
	w := s.hub.Watch(prefix)
	defer w.Close()
	keys, err := s.List(ctx, prefix)
	if err != nil {
		return nil // only because ctx is done
	}
	for _, key := range keys {
		if value, err := s.Get(ctx, key); err == nil {
			fn(key, value)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.Wake():
			w.Drain(fn)
		}
	}
}

// get returns a copy. The caller holds mu, as for put and sweep.
func (s *Store) get(key string) ([]byte, error) {
	r, ok := s.records[key]
	if !ok || !r.live(s.now()) {
		return nil, sessions.ErrNotFound
	}
	// Never nil, which would stand for no record at all.
	return append([]byte{}, r.value...), nil
}

func (s *Store) put(key string, value []byte, ttl time.Duration) {
	now := s.now()
	s.sweep(now)
	r := record{value: bytes.Clone(value)}
	if ttl > 0 {
		r.expires = now.Add(ttl)
	}
	s.records[key] = r
	s.hub.Publish(key, value)
}

// sweep deletes what has expired, now and then. Its cost is shared by the writes that made it necessary.
func (s *Store) sweep(now time.Time) {
	s.writes++
	if now.Sub(s.swept) < sweepEvery && s.writes < max(sweepAfter, s.kept) {
		return
	}
	for key, r := range s.records {
		if !r.live(now) {
			delete(s.records, key)
		}
	}
	s.swept, s.kept, s.writes = now, len(s.records), 0
}

var _ sessions.Store = (*Store)(nil)
