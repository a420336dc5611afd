package caddystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	sweepLock = "mcp_auth_sweep"
	// sweepStamp is when the last sweep began. Its name is no key's.
	sweepStamp = root + "last-sweep"
	// sweepWait is how long an instance waits for the lock before it leaves the work to whoever has it.
	sweepWait = 2 * time.Second
	// remnant is the age at which a file that is no record is one that a crash left behind.
	remnant = 24 * time.Hour
)

// Run deletes expired records now and then, until ctx is done, and returns nil. Of all instances that share the
// storage, one does so at a time, and none if another has done so recently.
func (s *Store) Run(ctx context.Context) error {
	// More often than the interval, because the stamp may be another instance's.
	tick := time.NewTicker(max(s.opts.Sweep/4, time.Millisecond))
	defer tick.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.Warn("sweeping expired records", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Store) sweep(ctx context.Context) error {
	// The stamp is read without the lock first: most instances find nothing to do, most of the time.
	due, err := s.sweepDue(ctx)
	if err != nil || !due {
		return err
	}
	unlock, err := s.trySweepLock(ctx)
	if err != nil || unlock == nil {
		return err
	}
	defer unlock()
	if due, err = s.sweepDue(ctx); err != nil || !due {
		return err
	}
	stamp, err := s.opts.Now().UTC().MarshalText()
	if err != nil {
		return fmt.Errorf("stamping a sweep: %w", err)
	}
	// At the beginning, so that an instance that dies of the work does not hand it on at once.
	if err := s.storage.Store(ctx, sweepStamp, stamp); err != nil {
		return fmt.Errorf("stamping a sweep: %w", err)
	}
	return s.sweepAll(ctx)
}

func (s *Store) sweepDue(ctx context.Context) (bool, error) {
	raw, err := s.storage.Load(ctx, sweepStamp)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading when the last sweep was: %w", err)
	}
	var last time.Time
	if last.UnmarshalText(raw) != nil {
		return true, nil
	}
	now := s.opts.Now()
	// A stamp from the future is a clock that was wrong.
	return now.Sub(last) >= s.opts.Sweep || last.Sub(now) > s.opts.Sweep, nil
}

// trySweepLock returns nil and no error if another instance is sweeping.
func (s *Store) trySweepLock(ctx context.Context) (unlock func(), err error) {
	if l, ok := s.storage.(certmagic.TryLocker); ok {
		if got, err := l.TryLock(ctx, sweepLock); err != nil || !got {
			return nil, err
		}
	} else {
		wait, cancel := context.WithTimeout(ctx, sweepWait)
		defer cancel()
		if err := s.storage.Lock(wait, sweepLock); err != nil {
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				return nil, nil
			}
			return nil, fmt.Errorf("locking the sweep: %w", err)
		}
	}
	return func() { s.unlock(ctx, sweepLock) }, nil
}

// sweepAll goes on after a record that cannot be read or deleted, so that one of them does not keep the others.
func (s *Store) sweepAll(ctx context.Context) error {
	paths, err := s.paths(ctx, strings.TrimSuffix(root, "/"))
	if err != nil {
		return err
	}
	var failed []error
	for _, path := range paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.sweepPath(ctx, path); err != nil && len(failed) < 10 {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (s *Store) sweepPath(ctx context.Context, path string) error {
	if path == sweepStamp {
		return nil
	}
	key, ok := strings.CutSuffix(strings.TrimPrefix(path, root), suffix)
	if ok && sessions.ValidKey(key) {
		return s.sweepRecord(ctx, key, path)
	}
	return s.sweepRemnant(ctx, path)
}

// sweepRecord deletes a record if it has expired, and asks again under the lock, since an Update may have
// renewed it in between.
func (s *Store) sweepRecord(ctx context.Context, key, path string) error {
	if expired, err := s.expired(ctx, path); err != nil || !expired {
		return err
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if expired, err := s.expired(ctx, path); err != nil || !expired {
		return err
	}
	return s.remove(ctx, path)
}

// expired reports whether a record is there, and its time over.
func (s *Store) expired(ctx context.Context, path string) (bool, error) {
	_, expires, err := s.load(ctx, path)
	if errors.Is(err, sessions.ErrNotFound) {
		return !expires.IsZero(), nil
	}
	return false, err
}

// sweepRemnant deletes an old file that is no record: the temporary file of a write that a crash cut short.
func (s *Store) sweepRemnant(ctx context.Context, path string) error {
	info, err := s.storage.Stat(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if !info.IsTerminal || info.Modified.IsZero() || s.opts.Now().Sub(info.Modified) < remnant {
		return nil
	}
	return s.remove(ctx, path)
}
