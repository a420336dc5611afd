package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// offered is the rate of each edge where several share the processor. Three of them keep it about half busy.
const offered = 1500

// comparison is what two edges cost, against each other.
type comparison struct {
	ratios sample // target against base
	itself sample // a second edge like base against base: what the machine can resolve
	costs  sample // of base, in microseconds
}

func (c *comparison) note() string {
	return fmt.Sprintf("plain against itself %.3f (%s); plain %.0f us", c.itself.median(), c.itself.quartiles(), c.costs.median())
}

// contest is an edge as base, another one like it, and the one that is compared with them.
type contest struct{ base, twin, target *load }

// inTurns compares edges that have the processor to themselves, one after the other, as busy as their
// connections make them. The order within a comparison (base, target, target, base) takes out what drifts.
func (c contest) inTurns(ctx context.Context, s *settings) (*comparison, error) {
	for _, l := range []*load{c.base, c.twin, c.target} {
		l.rate = 0
		if _, err := l.run(ctx, s.slice); err != nil { // warm
			return nil, err
		}
	}
	slice := s.slice / 4
	var result comparison
	for range s.comparisons {
		for _, side := range []struct {
			load   *load
			ratios *sample
		}{{c.target, &result.ratios}, {c.twin, &result.itself}} {
			var costs [4]float64
			for i, l := range []*load{c.base, side.load, side.load, c.base} {
				var err error
				if costs[i], err = l.cost(ctx, slice); err != nil {
					return nil, err
				}
			}
			*side.ratios = append(*side.ratios, (costs[1]+costs[2])/(costs[0]+costs[3]))
			result.costs = append(result.costs, (costs[0]+costs[3])/2)
		}
	}
	return &result, nil
}

// together compares edges under the same load at the same time, on one processor, so that whatever else
// happens on the machine happens to all of them. They also take the processor's caches from one another,
// which is dearest for the one whose code no other edge runs.
func (c contest) together(ctx context.Context, s *settings) (*comparison, error) {
	all := []*load{c.base, c.twin, c.target}
	for _, l := range all {
		l.rate = offered
		if _, err := l.run(ctx, s.slice); err != nil { // warm
			return nil, err
		}
	}
	var result comparison
	for range s.comparisons {
		var costs [3]float64
		var failures [3]error
		var slice sync.WaitGroup
		for i, l := range all {
			slice.Go(func() { costs[i], failures[i] = l.cost(ctx, s.slice) })
		}
		slice.Wait()
		if err := errors.Join(failures[:]...); err != nil {
			return nil, err
		}
		result.costs = append(result.costs, costs[0])
		result.itself = append(result.itself, costs[1]/costs[0])
		result.ratios = append(result.ratios, 2*costs[2]/(costs[0]+costs[1]))
	}
	return &result, nil
}
