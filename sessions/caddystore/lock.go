package caddystore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"
)

// unlockTimeout bounds how long giving a lock back may take after the caller has gone.
const unlockTimeout = 10 * time.Second

// locks serialises the goroutines of this process before they ask for the storage's lock, which they would
// otherwise poll for, once a second. It belongs to the package, because an old and a new
// configuration overlap while Caddy reloads.
var locks = keyedLocks{held: make(map[string]*keyedLock)}

// keyedLocks is one mutex per key, there only while somebody holds it or waits for it.
type keyedLocks struct {
	mu   sync.Mutex
	held map[string]*keyedLock
}

type keyedLock struct {
	slot  chan struct{}
	users int
}

// lock waits for the key or for the end of ctx.
func (l *keyedLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	k := l.held[key]
	if k == nil {
		k = &keyedLock{slot: make(chan struct{}, 1)}
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case k.slot <- struct{}{}:
		return func() { <-k.slot; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// lock makes the caller the only one to change key, in this process and in all that share the storage. A lock
// that a crashed process left behind is the storage's to break; until then waiting ends with ctx.
func (s *Store) lock(ctx context.Context, key string) (unlock func(), err error) {
	leave, err := locks.lock(ctx, s.domain+"\x00"+key)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", key, err)
	}
	name := lockName(key)
	if err := s.storage.Lock(ctx, name); err != nil {
		leave()
		return nil, fmt.Errorf("locking %s: %w", key, err)
	}
	return func() {
		defer leave()
		s.unlock(ctx, name)
	}, nil
}

// unlock gives a lock of the storage back even if the caller is gone. An error changes nothing about what was
// done under the lock; it means that others may have to wait until the lock counts as stale.
func (s *Store) unlock(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
	defer cancel()
	if err := s.storage.Unlock(ctx, name); err != nil {
		s.opts.Logger.Warn("giving back a storage lock", "lock", name, "error", err)
	}
}

// lockName is a hash, because storages drop the slashes from lock names, so that different keys would meet.
func lockName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "mcp_auth_" + hex.EncodeToString(sum[:16])
}
