package sseproxy

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// Limits bounds how many streams are open at once, over all guards of a registry. Zero is no bound.
type Limits struct {
	PerUser int
	All     int
}

// retryStreams is when a client that was refused a stream may find room, in seconds.
const retryStreams = "10"

// counts tells how many streams are open, in all and of each user. Only the atomic members may be read
// without the registry's lock.
type counts struct {
	all     atomic.Int64
	busiest atomic.Int64 // the most that one user has

	users map[string]int
	sizes map[int]int // how many users have that many
}

func newCounts() counts {
	return counts{users: make(map[string]int), sizes: make(map[int]int)}
}

func (c *counts) add(user string) {
	n := c.users[user]
	c.resize(user, n, n+1)
	c.all.Add(1)
	if most := int64(n + 1); most > c.busiest.Load() {
		c.busiest.Store(most)
	}
}

func (c *counts) remove(user string) {
	n := c.users[user]
	c.resize(user, n, n-1)
	c.all.Add(-1)
	if c.sizes[n] == 0 && c.busiest.Load() == int64(n) {
		// Whoever left was the last with that many and has one less now.
		c.busiest.Store(int64(n - 1))
	}
}

// resize keeps no entry that is zero.
func (c *counts) resize(user string, from, to int) {
	if c.sizes[from]--; c.sizes[from] <= 0 {
		delete(c.sizes, from)
	}
	if to <= 0 {
		delete(c.users, user)
		return
	}
	c.users[user] = to
	c.sizes[to]++
}

func (c *counts) full(user string, l Limits) bool {
	return l.All > 0 && c.all.Load() >= int64(l.All) || l.PerUser > 0 && c.users[user] >= l.PerUser
}

// full reports whether there is no room for another stream of id. As long as nobody is near a limit it
// costs two atomic loads.
func (s *Registry) full(id *Identity, l Limits) bool {
	if l.All > 0 && s.counts.all.Load() >= int64(l.All) {
		return true
	}
	if l.PerUser <= 0 || s.counts.busiest.Load() < int64(l.PerUser) {
		return false
	}
	user := id.UserKey()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts.full(user, l)
}

// wantsStream reports whether the client expects that the answer to r may be a stream. Refusing it before
// the upstream has acted leaves the client free to try again.
func wantsStream(r *http.Request) bool {
	if len(r.Header["Upgrade"]) > 0 {
		return true
	}
	for _, value := range r.Header["Accept"] {
		if strings.Contains(value, "text/event-stream") {
			return true
		}
	}
	return false
}

// tooManyStreams answers where a limit is reached.
func tooManyStreams(w http.ResponseWriter) error {
	w.Header().Set("Retry-After", retryStreams) // RFC 6585, section 4
	return writeRPCError(w, http.StatusTooManyRequests, -32000, "Too many open streams")
}

// refuseStream answers in place of the upstream, whose answer is a stream that must not be.
func (x *exchange) refuseStream(reason Reason, answer func(http.ResponseWriter) error) {
	h := x.ResponseWriter.Header()
	for name := range h {
		if strings.HasPrefix(name, "Content-") || name == sessionName || name == "Etag" || name == "Last-Modified" || name == "Trailer" {
			delete(h, name)
		}
	}
	x.refused = true
	x.guard.refuse(&x.request, &x.call.Identity, reason)
	_ = answer(x.ResponseWriter)
	x.cancel(io.EOF)
}
