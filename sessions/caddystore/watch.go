package caddystore

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// settled is how many polls in a row must see the same time of modification before a record is believed not
// to have changed. One would not do: two writes may fall into one tick of the storage's clock.
const settled = 3

// seen is what is known of a record that a watcher has met.
type seen struct {
	modified time.Time
	size     int64
	same     int
	value    string
	poll     uint64
}

// Watch implements [sessions.Store]. What this Store value writes is reported at once, the rest when the
// storage is asked. It returns an error as soon as the storage does.
func (s *Store) Watch(ctx context.Context, prefix string, fn func(key string, value []byte)) error {
	w := s.hub.Watch(prefix)
	defer w.Close()
	known := make(map[string]*seen)
	tick := time.NewTicker(s.opts.Poll)
	defer tick.Stop()
	for poll := uint64(1); ; poll++ {
		if err := s.poll(ctx, prefix, known, poll, fn); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case <-w.Wake():
				w.Drain(fn)
			case <-tick.C:
				waiting = false
			}
		}
	}
}

// poll reports every live record that is new or has changed.
func (s *Store) poll(ctx context.Context, prefix string, known map[string]*seen, poll uint64, fn func(key string, value []byte)) error {
	keys, err := s.keys(ctx, prefix)
	if err != nil {
		return err
	}
	for _, key := range keys {
		before := known[key]
		now := seen{poll: poll}
		// A storage may have no times of modification, or fail to tell; the record is loaded then.
		if info, err := s.storage.Stat(ctx, root+key+suffix); err == nil && !info.Modified.IsZero() {
			now.modified, now.size = info.Modified, info.Size
			if before != nil && before.modified.Equal(now.modified) && before.size == now.size {
				now.same = before.same + 1
			}
		}
		if now.same >= settled {
			before.poll, before.same = poll, now.same
			continue
		}
		value, _, err := s.load(ctx, root+key+suffix)
		if errors.Is(err, sessions.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		now.value = string(value)
		if before == nil || before.value != now.value {
			fn(key, value)
		}
		known[key] = &now
	}
	for key, k := range known {
		if k.poll != poll {
			delete(known, key)
		}
	}
	return nil
}
