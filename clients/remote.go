package clients

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const maxRemembered = 1024

// remote keeps what was made of documents at foreign URLs. Concurrent requests for one URL share one
// fetch. Failures are remembered briefly and apart, so that a flood of bad URLs pushes no good
// document out; they are never taken for documents (client ID metadata document draft, section 4.3).
type remote[T any] struct {
	fetch  func(ctx context.Context, url string) ([]byte, time.Duration, error)
	parse  func(url string, body []byte) (T, error)
	budget *budget
	now    func() time.Time

	flight singleflight.Group
	mu     sync.Mutex
	good   *lru[fetched[T]]
	bad    *lru[failure]
}

type fetched[T any] struct {
	value       T
	at, expires time.Time
}

type failure struct {
	err   error
	until time.Time
}

func newRemote[T any](f *fetcher, b *budget, now func() time.Time, parse func(url string, body []byte) (T, error)) *remote[T] {
	return &remote[T]{
		fetch: f.fetch, parse: parse, budget: b, now: now,
		good: newLRU[fetched[T]](maxRemembered), bad: newLRU[failure](maxRemembered),
	}
}

// get returns what is at url, at most maxAge old if maxAge is not 0. The error is ErrUnknown or
// ErrUnavailable.
func (r *remote[T]) get(ctx context.Context, url string, maxAge time.Duration) (T, error) {
	now := r.now()
	r.mu.Lock()
	kept, ok := r.good.get(url)
	failed, hasFailed := r.bad.get(url)
	r.mu.Unlock()
	var none T
	switch {
	case ok && now.Before(kept.expires) && (maxAge == 0 || now.Sub(kept.at) < maxAge):
		return kept.value, nil
	case hasFailed && now.Before(failed.until):
		return r.stale(kept, ok, failed.err)
	case !r.budget.spendSource(ctx):
		return r.stale(kept, ok, fmt.Errorf("%w: too many documents were asked for from one address", ErrUnavailable))
	}
	// The fetch outlives a requester that goes away: others may wait for it.
	answers := r.flight.DoChan(url, func() (any, error) {
		if value, ok := r.newerThan(kept, url); ok {
			return value, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return r.renew(ctx, url)
	})
	select {
	case <-ctx.Done():
		return none, fmt.Errorf("%w: waiting for a document: %w", ErrUnavailable, ctx.Err())
	case answer := <-answers:
		if answer.Err != nil {
			return r.stale(kept, ok, answer.Err)
		}
		return answer.Val.(T), nil
	}
}

// newerThan returns what another fetch has brought since kept was read.
func (r *remote[T]) newerThan(kept fetched[T], url string) (T, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	latest, ok := r.good.get(url)
	return latest.value, ok && latest.at.After(kept.at)
}

// stale makes do with an old document while the new one cannot be had, or an outage of the client's
// site would sign all its users out. What was refused is gone at once.
func (r *remote[T]) stale(kept fetched[T], ok bool, err error) (T, error) {
	if ok && (errors.Is(err, ErrUnavailable) || errors.Is(err, errNoHost)) && r.now().Sub(kept.at) < maxLifetime {
		return kept.value, nil
	}
	var none T
	return none, err
}

// renew fetches and parses what is at url, and remembers the outcome.
func (r *remote[T]) renew(ctx context.Context, url string) (T, error) {
	var none T
	if !r.budget.spendTotal() {
		return none, fmt.Errorf("%w: too many documents were asked for", ErrUnavailable)
	}
	body, life, err := r.fetch(ctx, url)
	var value T
	if err == nil {
		value, err = r.parse(url, body)
	}
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		kind := ErrUnavailable
		switch {
		case errors.Is(err, errRefused):
			kind = ErrUnknown
			r.good.remove(url)
		case errors.Is(err, errNoHost):
			kind = ErrUnknown
		}
		busy := errors.Is(err, errBusy)
		err = fmt.Errorf("%w: its metadata document: %w", kind, err)
		if !busy {
			r.bad.put(url, failure{err, now.Add(failureLifetime)})
		}
		return none, err
	}
	r.bad.remove(url)
	r.good.put(url, fetched[T]{value, now, now.Add(life)})
	return value, nil
}
