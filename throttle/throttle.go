// Package throttle counts attempts: passwords, guessed codes, requests that cost something. It keeps its
// counts in memory, bounded, each process for itself: it slows guessing down and remembers nobody for long.
package throttle

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

// Limiter counts attempts per key in token buckets. It remembers at most limit keys and forgets
// the one that was unused the longest, so that a flood of keys cannot fill the memory. It is safe
// for concurrent use.
type Limiter struct {
	burst int           // attempts at once
	every time.Duration // one more attempt each
	limit int

	mu      sync.Mutex
	buckets map[string]*list.Element
	byUse   list.List // of *bucket, the last used in front
}

type bucket struct {
	key string
	// full is when the bucket will be full again; all attempts are left from then on.
	full time.Time
}

// New returns a limiter that allows burst attempts at once and one more after each every, for each of at
// most limit keys.
func New(burst int, every time.Duration, limit int) *Limiter {
	return &Limiter{burst: burst, every: every, limit: limit, buckets: make(map[string]*list.Element)}
}

// Take uses up one attempt. If none is left it uses none, and returns how long to wait for one.
func (t *Limiter) Take(key string, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.bucket(key)
	if b.full.Before(now) {
		b.full = now
	}
	after := b.full.Add(t.every)
	if wait = after.Sub(now) - time.Duration(t.burst)*t.every; wait > 0 {
		return wait
	}
	b.full = after
	return 0
}

// GiveBack returns an attempt that turned out to be a good one.
func (t *Limiter) GiveBack(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.buckets[key]; ok {
		b := e.Value.(*bucket)
		b.full = b.full.Add(-t.every)
	}
}

func (t *Limiter) bucket(key string) *bucket {
	if e, ok := t.buckets[key]; ok {
		t.byUse.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if len(t.buckets) >= t.limit {
		oldest := t.byUse.Back()
		delete(t.buckets, oldest.Value.(*bucket).key)
		t.byUse.Remove(oldest)
	}
	b := &bucket{key: key}
	t.buckets[key] = t.byUse.PushFront(b)
	return b
}

// AddressKey is what counts as one client: an IPv4 address, or the /64 network that is given to
// one IPv6 site. What is not an address shares one key, so that it cannot be used to get more.
func AddressKey(clientAddr string) string {
	addr, err := netip.ParseAddr(clientAddr)
	if err != nil {
		withPort, err := netip.ParseAddrPort(clientAddr)
		if err != nil {
			return "unknown"
		}
		addr = withPort.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		prefix, _ := addr.Prefix(64)
		return prefix.String()
	}
	return addr.String()
}
