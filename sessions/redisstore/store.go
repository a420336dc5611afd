// Package redisstore keeps records in Redis or Valkey: one server, a cluster, or servers behind Sentinel. All
// replicas that use one share the records.
//
// What has to be atomic is a single command or a script that touches a single key, so that it works in a cluster;
// the server itself expires records; writes are announced by the server's publish and subscribe. It knows
// nothing of what the records mean.
package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// versionSize is how many random bytes stand before each value. They are new with each write, so that Update can
// tell whether a record is still the one that it read without sending the value back.
const versionSize = 8

// updateTimeout bounds how long an Update tries again when others are faster.
const updateTimeout = 10 * time.Second

// Store is a [sessions.Store] in Redis or Valkey.
type Store struct {
	client redis.UniversalClient
	opts   Options
	lists  chan struct{} // holds a value for each listing that runs
}

// Get implements [sessions.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	_, value, err := s.load(ctx, key)
	return value, err
}

// Put implements [sessions.Store].
func (s *Store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.call(ctx, "writing", key, func(ctx context.Context) error {
		return putScript.Run(ctx, s.client, []string{s.opts.Prefix + key}, frame(value), milliseconds(ttl), s.channel(key), key).Err()
	})
}

// Take implements [sessions.Store]. Should the server's answer be lost on the way, nobody gets the record.
func (s *Store) Take(ctx context.Context, key string) ([]byte, error) {
	var raw []byte
	err := s.call(ctx, "taking", key, func(ctx context.Context) (err error) {
		raw, err = s.client.GetDel(ctx, s.opts.Prefix+key).Bytes()
		return err
	})
	if err != nil {
		return nil, err
	}
	_, value, err := unframe(key, raw)
	return value, err
}

// Update implements [sessions.Store]. fn is called again whenever another writer was faster.
func (s *Store) Update(ctx context.Context, key string, fn func(old []byte) ([]byte, time.Duration, error)) error {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	for attempt := 0; ; attempt++ {
		version, old, err := s.load(ctx, key)
		if err != nil && !errors.Is(err, sessions.ErrNotFound) {
			return err
		}
		value, ttl, err := fn(old)
		if err != nil {
			return err
		}
		if done, err := s.replace(ctx, key, version, value, ttl); done || err != nil {
			return err
		}
		if err := stepAside(ctx, attempt); err != nil {
			return fmt.Errorf("updating %s, where others were faster %d times: %w", key, attempt+1, err)
		}
	}
}

// replace writes value, or deletes the record if it is nil, as long as the record has the version.
func (s *Store) replace(ctx context.Context, key, version string, value []byte, ttl time.Duration) (done bool, err error) {
	if value == nil && version == "" {
		return true, nil
	}
	next := []byte{}
	if value != nil {
		next = frame(value)
	}
	err = s.call(ctx, "updating", key, func(ctx context.Context) (err error) {
		done, err = replaceScript.Run(ctx, s.client, []string{s.opts.Prefix + key}, version, next, milliseconds(ttl), s.channel(key), key).Bool()
		return err
	})
	return done, err
}

// Delete implements [sessions.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.call(ctx, "deleting", key, func(ctx context.Context) error {
		return s.client.Del(ctx, s.opts.Prefix+key).Err()
	})
}

// load returns a record, whose value is never nil, and its version.
func (s *Store) load(ctx context.Context, key string) (version string, value []byte, err error) {
	var raw []byte
	err = s.call(ctx, "reading", key, func(ctx context.Context) (err error) {
		raw, err = s.client.Get(ctx, s.opts.Prefix+key).Bytes()
		return err
	})
	if err != nil {
		return "", nil, err
	}
	return unframe(key, raw)
}

// call bounds the time of one exchange with the server and says what failed.
func (s *Store) call(ctx context.Context, doing, key string, fn func(ctx context.Context) error) error {
	if !sessions.ValidKey(key) {
		return fmt.Errorf("%s a record: %q is not a key", doing, key)
	}
	err := s.exchange(ctx, fn)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return sessions.ErrNotFound
	}
	return fmt.Errorf("%s %s: %w", doing, key, err)
}

// exchange does nothing once ctx is done: the client looks at it too late.
func (s *Store) exchange(ctx context.Context, fn func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	return fn(ctx)
}

// stepAside waits for a moment by chance, longer with each attempt, so that one of several gets ahead.
func stepAside(ctx context.Context, attempt int) error {
	most := min(time.Millisecond<<min(attempt, 5), 20*time.Millisecond)
	timer := time.NewTimer(mathrand.N(most))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func frame(value []byte) []byte {
	raw := make([]byte, versionSize, versionSize+len(value))
	_, _ = rand.Read(raw) // never fails
	return append(raw, value...)
}

func unframe(key string, raw []byte) (version string, value []byte, err error) {
	if len(raw) < versionSize {
		return "", nil, fmt.Errorf("reading %s: %d bytes are too short for a record", key, len(raw))
	}
	return string(raw[:versionSize]), raw[versionSize:len(raw):len(raw)], nil
}

// milliseconds is a lifetime for the server, rounded up; 0 is none.
func milliseconds(ttl time.Duration) int64 {
	if ttl <= 0 {
		return 0
	}
	return int64((ttl + time.Millisecond - 1) / time.Millisecond)
}

var _ sessions.Store = (*Store)(nil)
