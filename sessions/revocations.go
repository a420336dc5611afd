package sessions

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// revokedPrefix is where the ids of revoked grants and tokens lie, one record each, for all tenants.
const revokedPrefix = "revoked/"

const (
	revokedRetry = time.Second // at most, between attempts to watch: the others learn within two seconds
	revokedSweep = time.Minute
)

// Revocations is the set of grants and tokens that were ended before their time. Requests ask it in memory; it
// is fed by the store. It is empty most of the time, and then asking costs one atomic load.
type Revocations struct {
	store Store
	now   func() time.Time

	loaded atomic.Bool
	count  atomic.Int64
	// Each shard is an immutable map from id to the Unix second at which the entry may be
	// dropped. Ids are random, so their first byte spreads them evenly, and revoking many at once does not copy
	// all of them each time.
	shards [256]atomic.Pointer[map[ID]int64]

	mu          sync.Mutex // writers of shards; subscribers
	subscribers map[*func(ID)]struct{}
}

// NewRevocations returns a set that is fed by store. Until [Revocations.Load] or [Revocations.Run] has read what
// the store knows, [Vault.OpenAccess] refuses tokens with [ErrUnavailable], since a revoked one could not be told from
// others.
func NewRevocations(store Store, now func() time.Time) *Revocations {
	if now == nil {
		now = time.Now
	}
	r := &Revocations{store: store, now: now, subscribers: make(map[*func(ID)]struct{})}
	r.loaded.Store(store == nil)
	return r
}

// Loaded reports whether the set is complete.
func (r *Revocations) Loaded() bool { return r.loaded.Load() }

// Revoked reports whether id was revoked.
func (r *Revocations) Revoked(id ID) bool {
	if r.count.Load() == 0 {
		return false
	}
	shard := r.shards[id[0]].Load()
	if shard == nil {
		return false
	}
	_, revoked := (*shard)[id]
	return revoked
}

// Revoke ends id for as long as ttl, which is how long a token could live on: here at once, on other replicas
// within two seconds. If the store fails, the error wraps [ErrUnavailable] and only this replica knows.
func (r *Revocations) Revoke(ctx context.Context, id ID, ttl time.Duration) error {
	if ttl <= 0 {
		return nil
	}
	until := r.now().Add(ttl).Unix() + 1
	r.add(id, until)
	if r.store == nil {
		return nil
	}
	value := binary.BigEndian.AppendUint64(nil, uint64(until))
	if err := r.store.Put(ctx, revokedPrefix+id.String(), value, ttl); err != nil {
		return unavailable("recording a revocation", err)
	}
	return nil
}

// Subscribe calls fn with every id that is revoked from now on, on whichever replica, until cancel is called.
// fn must not block. Who opens something that a revocation ends subscribes first and then asks
// [Revocations.Revoked], or they miss what happens in between.
func (r *Revocations) Subscribe(fn func(ID)) (cancel func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := &fn
	r.subscribers[key] = struct{}{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subscribers, key)
	}
}

// Load reads every revocation from the store. The error wraps [ErrUnavailable].
func (r *Revocations) Load(ctx context.Context) error {
	if r.store == nil {
		return nil
	}
	keys, err := r.store.List(ctx, revokedPrefix)
	if err != nil {
		return unavailable("listing revocations", err)
	}
	for _, key := range keys {
		value, err := r.store.Get(ctx, key)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return unavailable("loading a revocation", err)
		}
		r.learn(key, value)
	}
	r.loaded.Store(true)
	return nil
}

// Run keeps the set complete and drops what has expired. It retries while the store fails, and returns nil when
// ctx is done.
func (r *Revocations) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() {
		for pause(ctx, revokedSweep) {
			r.drop()
		}
	})
	if r.store == nil {
		<-ctx.Done()
		return nil
	}
	var retry backoff
	for {
		err := r.Load(ctx)
		if err == nil {
			retry = 0
			_ = r.store.Watch(ctx, revokedPrefix, r.learn)
		}
		// Whatever the reason, there is nothing to do but to start again.
		if !pause(ctx, retry.next(revokedRetry)) {
			return nil
		}
	}
}

// learn adds a record from the store. What is not one of ours says nothing about any token.
func (r *Revocations) learn(key string, value []byte) {
	id, err := ParseID(strings.TrimPrefix(key, revokedPrefix))
	if err != nil || len(value) != 8 {
		return
	}
	r.add(id, int64(binary.BigEndian.Uint64(value)))
}

func (r *Revocations) add(id ID, until int64) {
	r.mu.Lock()
	shard := &r.shards[id[0]]
	var next map[ID]int64
	if old := shard.Load(); old != nil {
		if known, ok := (*old)[id]; ok && known >= until {
			r.mu.Unlock()
			return
		}
		next = maps.Clone(*old)
	} else {
		next = make(map[ID]int64, 1)
	}
	before := len(next)
	next[id] = until
	shard.Store(&next)
	r.count.Add(int64(len(next) - before))
	subscribers := slices.Collect(maps.Keys(r.subscribers))
	r.mu.Unlock()

	if len(next) == before {
		return
	}
	for _, fn := range subscribers {
		(*fn)(id)
	}
}

// drop forgets ids whose tokens have all expired by themselves.
func (r *Revocations) drop() {
	now := r.now().Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.shards {
		old := r.shards[i].Load()
		if old == nil {
			continue
		}
		next := maps.Clone(*old)
		maps.DeleteFunc(next, func(_ ID, until int64) bool { return until <= now })
		if len(next) == len(*old) {
			continue
		}
		if len(next) == 0 {
			r.shards[i].Store(nil)
		} else {
			r.shards[i].Store(&next)
		}
		r.count.Add(int64(len(next) - len(*old)))
	}
}
