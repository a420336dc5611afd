package credentials

import (
	"container/list"
	"sync"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// owner is whose credential it is, and for which resource.
type owner struct{ user, resource string }

func ownerOf(person sessions.User, up *Upstream) owner { return owner{person.Key(), up.Resource} }

// flight names the owner in a singleflight.Group. Keys of users have a fixed length.
func (o owner) flight() string { return o.user + o.resource }

// Held is a credential as it goes into a request.
type Held struct {
	value   string // of the header
	version sessions.ID
}

// copied is a credential in memory.
type copied struct {
	Held
	loaded time.Time
	due    time.Time // when to ask the store again
	end    time.Time // when it is good no more; zero if nobody said
}

func (c copied) ended(now time.Time) bool { return !c.end.IsZero() && !now.Before(c.end) }

// cache keeps copies and forgets what was not used for longest. It is safe for concurrent use.
type cache struct {
	mu     sync.Mutex
	size   int
	order  *list.List // most recently used first
	copies map[owner]*list.Element
}

type cacheItem struct {
	owner owner
	copy  copied
}

func newCache(size int) *cache {
	return &cache{size: size, order: list.New(), copies: make(map[owner]*list.Element)}
}

func (c *cache) get(o owner) (copied, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.copies[o]
	if !ok {
		return copied{}, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cacheItem).copy, true
}

func (c *cache) put(o owner, v copied) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.copies[o]; ok {
		e.Value.(*cacheItem).copy = v
		c.order.MoveToFront(e)
		return
	}
	c.copies[o] = c.order.PushFront(&cacheItem{o, v})
	if c.order.Len() > c.size {
		oldest := c.order.Back()
		c.order.Remove(oldest)
		delete(c.copies, oldest.Value.(*cacheItem).owner)
	}
}

func (c *cache) remove(o owner) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.copies[o]; ok {
		c.order.Remove(e)
		delete(c.copies, o)
	}
}
