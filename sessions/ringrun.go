package sessions

import (
	"context"
	"time"
)

const (
	ringReload  = time.Minute     // between two regular loads
	ringPause   = 5 * time.Second // at least, between two loads
	ringTimeout = 30 * time.Second
	retryFirst  = 500 * time.Millisecond
	retryLast   = 5 * time.Second
)

// Run loads the ring now and then once a minute, so that this replica knows a new key long before
// anybody seals with it. It loads earlier, but not more often than every five seconds, when a
// value with an unknown key was presented, and retries with growing pauses while the store
// fails. It returns nil when ctx is done.
func (r *Ring) Run(ctx context.Context) error {
	if r.store == nil {
		<-ctx.Done()
		return nil
	}
	var retry backoff
	for {
		attempt, cancel := context.WithTimeout(ctx, ringTimeout)
		err := r.Load(attempt)
		cancel()
		if err != nil {
			if !pause(ctx, retry.next(retryLast)) {
				return nil
			}
			continue
		}
		retry = 0
		if !pause(ctx, ringPause) || !r.awaitReload(ctx, ringReload-ringPause) {
			return nil
		}
	}
}

// awaitReload returns when the next load is due or wanted, false when ctx is done.
func (r *Ring) awaitReload(ctx context.Context, due time.Duration) bool {
	timer := time.NewTimer(due)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-r.wanted:
		return true
	case <-timer.C:
		return true
	}
}

// backoff is the last pause between attempts; the zero value is none yet.
type backoff time.Duration

func (b *backoff) next(last time.Duration) time.Duration {
	*b = backoff(min(max(2*time.Duration(*b), retryFirst), last))
	return time.Duration(*b)
}

// pause waits for d, or returns false when ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
