package external

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	maxGood = 10_000
	maxBad  = 10_000
)

// cache keeps what became of tokens, by their SHA-256, so that it holds nothing that opens anything.
// It has two generations: when the young one is full, or as old as an entry gets, it becomes the old
// one and that is forgotten. So it is bounded, and what nobody asks for any more goes by itself.
type cache struct {
	size int

	mu         sync.Mutex
	young, old map[[sha256.Size]byte]entry
	since      time.Time // when young began
}

type entry struct {
	token *Token
	until time.Time
}

func newCache(size int) *cache {
	return &cache{size: size / 2, young: make(map[[sha256.Size]byte]entry)}
}

// get reports whether there is an entry that has not ended.
func (c *cache) get(key [sha256.Size]byte, now time.Time) (*Token, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.young[key]
	if !ok {
		e, ok = c.old[key]
	}
	if !ok || !now.Before(e.until) {
		return nil, false
	}
	return e.token, true
}

func (c *cache) put(key [sha256.Size]byte, t *Token, until, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.young) >= c.size || now.Sub(c.since) > entryLife {
		c.old, c.young, c.since = c.young, make(map[[sha256.Size]byte]entry), now
	}
	c.young[key] = entry{t, until}
}
