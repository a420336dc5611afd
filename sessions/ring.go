package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ringStoreKey is where the ring lives. It is one for all tenants.
const ringStoreKey = "keyring"

// RingConfig says where the keys come from.
type RingConfig struct {
	// Store is where the ring lives; nil with Secrets.
	Store Store
	// Secrets are keys that the operator gave, of at least 32 random bytes each: the first one seals, all of
	// them open. There is no store and no rotation then.
	Secrets [][]byte
	// Rotation is how long a key seals. Default: 90 days.
	Rotation time.Duration
	// Retention is how long a rotated key still opens. Default: 400 days.
	Retention time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Ring seals and opens. It holds AES-256-GCM keys by id and replaces them as a whole, so that
// [Ring.Seal] and [Ring.Open] take no lock and do no I/O. Until the first [Ring.Load] they return
// [ErrUnavailable].
type Ring struct {
	store               Store
	rotation, retention time.Duration
	now                 func() time.Time

	keys    atomic.Pointer[keyset]
	loading chan struct{} // holds a value while Load runs
	wanted  chan struct{} // holds a value after Open met an unknown key
}

// NewRing checks the configuration. It does no I/O.
func NewRing(c RingConfig) (*Ring, error) {
	r := &Ring{
		store:     c.Store,
		rotation:  c.Rotation,
		retention: c.Retention,
		now:       c.Now,
		loading:   make(chan struct{}, 1),
		wanted:    make(chan struct{}, 1),
	}
	if r.rotation == 0 {
		r.rotation = 90 * 24 * time.Hour
	}
	if r.retention == 0 {
		r.retention = 400 * 24 * time.Hour
	}
	if r.now == nil {
		r.now = time.Now
	}
	switch {
	case r.rotation < 0 || r.retention < 0:
		return nil, errors.New("making a key ring: rotation and retention must be positive")
	case c.Store == nil && len(c.Secrets) == 0:
		return nil, errors.New("making a key ring: neither a store nor a key was given")
	case c.Store != nil && len(c.Secrets) > 0:
		return nil, errors.New("making a key ring: give either a store or keys, not both")
	case c.Store != nil:
		return r, nil
	}
	set, err := staticKeyset(c.Secrets)
	if err != nil {
		return nil, fmt.Errorf("making a key ring: %w", err)
	}
	r.keys.Store(set)
	return r, nil
}

// Loaded reports whether the ring can seal and open.
func (r *Ring) Loaded() bool { return r.keys.Load() != nil }

// errUnchanged leaves a record as it is from inside [Store.Update].
var errUnchanged = errors.New("nothing to change")

// Load reads the ring from the store, creates it if there is none, and rotates it if that is due,
// atomically over all replicas. It is cheap to repeat. After an error, which wraps [ErrUnavailable],
// the ring works on with the keys it had.
func (r *Ring) Load(ctx context.Context) error {
	if r.store == nil {
		return nil
	}
	select {
	case r.loading <- struct{}{}:
		defer func() { <-r.loading }()
	case <-ctx.Done():
		return unavailable("loading the key ring", ctx.Err())
	}
	rec, err := r.read(ctx)
	if err != nil {
		return unavailable("loading the key ring", err)
	}
	set, err := rec.keyset(r.now())
	if err != nil {
		return unavailable("loading the key ring", err)
	}
	r.keys.Store(set)
	return nil
}

func (r *Ring) read(ctx context.Context) (ringRecord, error) {
	value, err := r.store.Get(ctx, ringStoreKey)
	switch {
	case err == nil:
		rec, err := parseRing(value)
		if err != nil {
			return ringRecord{}, err
		}
		if _, changed := rec.advance(r.now(), r.rotation, r.retention); !changed {
			return rec, nil
		}
	case !errors.Is(err, ErrNotFound):
		return ringRecord{}, err
	}
	// Only the state inside the atomic step counts: another replica may have been faster.
	var rec ringRecord
	err = r.store.Update(ctx, ringStoreKey, func(old []byte) ([]byte, time.Duration, error) {
		rec = ringRecord{}
		if old != nil {
			var err error
			if rec, err = parseRing(old); err != nil {
				return nil, 0, err
			}
		}
		var changed bool
		if rec, changed = rec.advance(r.now(), r.rotation, r.retention); !changed {
			return nil, 0, errUnchanged
		}
		value, err := json.Marshal(rec)
		return value, 0, err
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return ringRecord{}, err
	}
	return rec, nil
}
