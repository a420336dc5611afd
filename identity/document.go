package identity

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	anyAge = time.Duration(math.MaxInt64)
	// retryAfter is how long a failure is answered from memory, so that a provider that is down is
	// not asked by every browser, and is found again by itself soon after it is back.
	retryAfter = 5 * time.Second
)

// document is something the provider publishes, fetched when it is needed, by one caller for all,
// and kept.
type document[T any] struct {
	fetch func(context.Context) (T, error)
	now   func() time.Time

	flight singleflight.Group

	mu       sync.Mutex
	kept     edition[T]
	failure  error
	failedAt time.Time
}

// edition is a document as it was at one time; at is zero if it was never there.
type edition[T any] struct {
	value T
	at    time.Time
}

// get returns the document at most maxAge old. A failure is returned again for retryAfter.
func (d *document[T]) get(ctx context.Context, maxAge time.Duration) (edition[T], error) {
	if e, err, known := d.known(maxAge); known {
		return e, err
	}
	select {
	case r := <-d.renew(ctx, maxAge):
		return r.Val.(edition[T]), r.Err
	case <-ctx.Done():
		return edition[T]{}, cause(ctx.Err())
	}
}

// renew fetches the document unless it is at most maxAge old, or failed just now. It returns at
// once; nobody needs to wait for the channel. The first caller's browser may go away while others
// wait for the same answer, so its cancellation does not count; the client's timeout does.
func (d *document[T]) renew(ctx context.Context, maxAge time.Duration) <-chan singleflight.Result {
	ctx = context.WithoutCancel(ctx)
	return d.flight.DoChan("", func() (any, error) {
		if e, err, known := d.known(maxAge); known {
			return e, err
		}
		value, err := d.fetch(ctx)
		d.mu.Lock()
		defer d.mu.Unlock()
		if err != nil {
			d.failure, d.failedAt = err, d.now()
			return edition[T]{}, err
		}
		d.kept, d.failure = edition[T]{value, d.now()}, nil
		return d.kept, nil
	})
}

// known returns what can be answered without asking.
func (d *document[T]) known(maxAge time.Duration) (e edition[T], err error, known bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	switch {
	case !d.kept.at.IsZero() && now.Sub(d.kept.at) <= maxAge:
		return d.kept, nil, true
	case d.failure != nil && now.Sub(d.failedAt) < retryAfter:
		return edition[T]{}, d.failure, true
	}
	return edition[T]{}, nil, false
}

// last returns the newest edition there is, however old.
func (d *document[T]) last() edition[T] {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept
}
