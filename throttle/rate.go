package throttle

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

const (
	rateShards = 64
	// sweepFrom is how many people a shard remembers before it looks for those who need not be.
	sweepFrom = 64
)

// Rate counts what each person does, in token buckets, on the way of every request: it neither allocates
// for somebody it knows nor makes people wait for one another. It forgets who has been idle for as long as
// it takes a bucket to fill. It is safe for concurrent use.
type Rate struct {
	burst, every time.Duration
	seeds        [2]maphash.Seed
	shards       [rateShards]rateShard
}

type rateShard struct {
	mu sync.Mutex
	// full is when a bucket will be full again, in Unix nanoseconds, by the hash of whose it is. The hash
	// is keyed, so nobody can look for a name that shares somebody's bucket.
	full  map[uint64]int64
	sweep int
	_     [40]byte // a cache line of its own
}

// NewRate returns a Rate of perMinute, all of which may come at once.
func NewRate(perMinute int) *Rate {
	r := &Rate{burst: time.Minute, every: time.Minute / time.Duration(perMinute)}
	for i := range r.seeds {
		r.seeds[i] = maphash.MakeSeed()
	}
	for i := range r.shards {
		r.shards[i].full, r.shards[i].sweep = make(map[uint64]int64), sweepFrom
	}
	return r
}

// Take counts one request of a person, whose subject is unique at their issuer. If they have made too many
// it counts none, and returns how long to wait.
func (r *Rate) Take(issuer, subject string, now time.Time) (wait time.Duration) {
	person := maphash.String(r.seeds[0], subject) ^ bits.RotateLeft64(maphash.String(r.seeds[1], issuer), 1)
	s := &r.shards[person%rateShards]
	at := now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	full, known := s.full[person]
	if !known && len(s.full) >= s.sweep {
		s.forget(at)
	}
	after := max(full, at) + int64(r.every)
	if wait = time.Duration(after-at) - r.burst; wait > 0 {
		return wait
	}
	s.full[person] = after
	return 0
}

// forget drops the buckets that are full: they are like those of people who never came.
func (s *rateShard) forget(at int64) {
	for person, full := range s.full {
		if full <= at {
			delete(s.full, person)
		}
	}
	s.sweep = max(sweepFrom, 2*len(s.full))
}
