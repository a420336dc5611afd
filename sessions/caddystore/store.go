// Package caddystore keeps records in the storage that Caddy is configured with. Replicas that share a
// storage share the records.
//
// A certmagic storage has no atomic step but a lock, no expiry and no notification, so this
// package adds them: Take and Update hold a lock of this process and then one of the storage; each
// value begins with its expiry; Watch asks once a second; [Store.Run] deletes what has expired. It
// knows nothing of what the records mean.
package caddystore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/internal/notify"
)

const (
	root = "mcp_auth/"
	// suffix tells records from directories and from the temporary files of a file storage, whose names
	// are all digits; and it lets "a" and "a/b" both be records.
	suffix = ".rec"
	// header is the expiry before each value: Unix nanoseconds, 0 for never.
	header = 8
)

// Options tune a store. The zero value is what production uses.
type Options struct {
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Logger hears what no caller can be told. Default: none.
	Logger *slog.Logger
	// Poll is how often Watch asks the storage. Default: 1s.
	Poll time.Duration
	// Sweep is how often one of all instances deletes expired records. Default: 10m.
	Sweep time.Duration
}

// Store is a [sessions.Store] in a certmagic storage.
type Store struct {
	storage certmagic.Storage
	opts    Options
	domain  string
	hub     notify.Hub
}

// New returns a store in s. It does no I/O.
func New(s certmagic.Storage, opts Options) *Store {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Poll <= 0 {
		opts.Poll = time.Second
	}
	if opts.Sweep <= 0 {
		opts.Sweep = 10 * time.Minute
	}
	// Only for the lock inside this process: an old and a new configuration have different values
	// for one storage. If two of them differ in this, the lock of the storage still holds.
	domain := fmt.Sprintf("%T", s)
	if named, ok := s.(fmt.Stringer); ok {
		domain += " " + named.String()
	}
	return &Store{storage: s, opts: opts, domain: domain}
}

// Get implements [sessions.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	path, err := recordPath(ctx, key)
	if err != nil {
		return nil, err
	}
	value, _, err := s.load(ctx, path)
	return value, err
}

// Put implements [sessions.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	path, err := recordPath(ctx, key)
	if err != nil {
		return err
	}
	return s.store(ctx, key, path, value, ttl)
}

// Take implements [sessions.Store].
func (s *Store) Take(ctx context.Context, key string) ([]byte, error) {
	path, err := recordPath(ctx, key)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	value, _, err := s.load(ctx, path)
	if err != nil {
		return nil, err
	}
	// A record that may still be there has not been taken.
	if err := s.remove(ctx, path); err != nil {
		return nil, err
	}
	return value, nil
}

// Update implements [sessions.Store]. fn is called at most once.
func (s *Store) Update(ctx context.Context, key string, fn func(old []byte) ([]byte, time.Duration, error)) error {
	path, err := recordPath(ctx, key)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	old, _, err := s.load(ctx, path)
	if err != nil && !errors.Is(err, sessions.ErrNotFound) {
		return err
	}
	value, ttl, err := fn(old)
	if err != nil {
		return err
	}
	if value == nil {
		return s.remove(ctx, path)
	}
	return s.store(ctx, key, path, value, ttl)
}

// Delete implements [sessions.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	path, err := recordPath(ctx, key)
	if err != nil {
		return err
	}
	return s.remove(ctx, path)
}

// load returns a live record, never nil, and its expiry.
func (s *Store) load(ctx context.Context, path string) ([]byte, time.Time, error) {
	raw, err := s.storage.Load(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, sessions.ErrNotFound
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("loading %s: %w", path, err)
	}
	if len(raw) < header {
		return nil, time.Time{}, fmt.Errorf("loading %s: %d bytes are too short for a record", path, len(raw))
	}
	var expires time.Time
	if nanos := binary.BigEndian.Uint64(raw); nanos != 0 {
		expires = time.Unix(0, int64(nanos))
		if !s.opts.Now().Before(expires) {
			return nil, expires, sessions.ErrNotFound
		}
	}
	return raw[header:], expires, nil
}

func (s *Store) store(ctx context.Context, key, path string, value []byte, ttl time.Duration) error {
	raw := make([]byte, header, header+len(value))
	if ttl > 0 {
		binary.BigEndian.PutUint64(raw, uint64(s.opts.Now().Add(ttl).UnixNano()))
	}
	if err := s.storage.Store(ctx, path, append(raw, value...)); err != nil {
		return fmt.Errorf("storing %s: %w", path, err)
	}
	s.hub.Publish(key, value)
	return nil
}

func (s *Store) remove(ctx context.Context, path string) error {
	if err := s.storage.Delete(ctx, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting %s: %w", path, err)
	}
	return nil
}

// recordPath says where a record lies. Keys become file names, so only the promised characters pass.
// Since not every storage looks at the context, it is asked here.
func recordPath(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if !sessions.ValidKey(key) {
		return "", fmt.Errorf("addressing a record: %q is not a key", key)
	}
	return root + key + suffix, nil
}

var _ sessions.Store = (*Store)(nil)
