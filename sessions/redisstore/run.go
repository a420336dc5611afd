package redisstore

import (
	"context"
	"strings"
	"time"
)

// checkEvery is how long Run waits for a server that could not be asked how it is set up.
const checkEvery = time.Minute

// Run watches over how the server is set up, until ctx is done; then it closes the connections and returns nil. The
// store is of no use after that.
func (s *Store) Run(ctx context.Context) error {
	defer s.client.Close()
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for checked := false; ; {
		if !checked {
			checked = s.checkEviction(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Close closes the connections of a store that does not [Store.Run].
func (s *Store) Close() error { return s.client.Close() }

// checkEviction warns of a server that deletes records when its memory is full: among them may be the revocation of a
// token, or the trace that a code was used. It reports whether it has an answer.
func (s *Store) checkEviction(ctx context.Context) bool {
	var info string
	err := s.exchange(ctx, func(ctx context.Context) (err error) {
		info, err = s.client.Info(ctx, "memory").Result()
		return err
	})
	if err != nil {
		return false
	}
	for line := range strings.Lines(info) {
		policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:")
		if ok && policy != "noeviction" {
			s.opts.Logger.Warn("the server may delete sessions and revocations when its memory is full; set its maxmemory-policy to noeviction",
				"maxmemory_policy", policy)
		}
	}
	return true
}
