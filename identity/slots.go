package identity

import (
	"context"
	"fmt"
)

// maxConcurrent bounds the sign-ins and re-checks that wait for one provider at the same time.
const maxConcurrent = 64

// slots lets a bounded number of callers ask one provider.
type slots chan struct{}

func newSlots() slots { return make(slots, maxConcurrent) }

// enter waits for a slot. The error is ErrUnavailable.
func (s slots) enter(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for other sign-ins: %w", ErrUnavailable, cause(ctx.Err()))
	}
}

func (s slots) leave() { <-s }
