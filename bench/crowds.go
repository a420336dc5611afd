package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// idleStreams compares what open streams cost.
func idleStreams(ctx context.Context, s *settings) ([]row, error) {
	sizes := []int{1000, 5000}
	if s.quick {
		sizes = []int{100}
	}
	var rows []row
	for _, n := range sizes {
		costs, err := bothStreams(ctx, s, site{}, n, 20, 64)
		if err != nil {
			return nil, err
		}
		rows = append(rows, streamRows(fmt.Sprintf("%d streams", n), costs)...)
	}
	costs, err := bothStreams(ctx, s, site{tls: true}, sizes[0], 20, 64)
	if err != nil {
		return nil, err
	}
	return append(rows, streamRows(fmt.Sprintf("%d streams, HTTP/2 with TLS", sizes[0]), costs)...), nil
}

// bigEvents compares events of 1 MiB.
func bigEvents(ctx context.Context, s *settings) ([]row, error) {
	costs, err := bothStreams(ctx, s, site{}, 8, 20, 1<<20)
	if err != nil {
		return nil, err
	}
	return streamRows("8 streams, events of 1 MiB", costs)[2:], nil
}

// bothStreams measures fresh edges, plain first: memory is only comparable from a fresh start.
func bothStreams(ctx context.Context, s *settings, of site, n, events, size int) ([2]streamCost, error) {
	var costs [2]streamCost
	for i, guard := range []bool{false, true} {
		u, err := startUpstream(ctx, 4)
		if err != nil {
			return costs, err
		}
		of.guard = guard
		e, err := startEdge(ctx, s, of, u.addresses...)
		if err != nil {
			u.stop()
			return costs, err
		}
		one, err := tokens(e.origin, 1)
		if err == nil {
			costs[i], err = measureStreams(ctx, s, e, u, n, events, size, one[0])
		}
		e.stop()
		u.stop()
		if err != nil {
			return costs, err
		}
	}
	return costs, nil
}

func streamRows(what string, c [2]streamCost) []row {
	plain, guarded := c[0], c[1]
	against := func(name, format string, p, g float64) row {
		return row{what: what + ": " + name, value: fmt.Sprintf(format, g), note: fmt.Sprintf("plain "+format+", ratio %.2f", p, g/max(p, 1e-9))}
	}
	return []row{
		{what: what + ": memory per stream", value: fmt.Sprintf("%.1f KiB", guarded.memory), note: fmt.Sprintf("plain %.1f KiB, %+.1f", plain.memory, guarded.memory-plain.memory)},
		against("opens per second", "%.0f", plain.opens, guarded.opens),
		against("event delay p50", "%.2f ms", plain.p50, guarded.p50),
		against("event delay p99", "%.2f ms", plain.p99, guarded.p99),
		against("CPU per million events", "%.1f s", plain.perMillion, guarded.perMillion),
		{what: what + ": left open upstream after 5 s", value: fmt.Sprint(guarded.leftUpstream), note: fmt.Sprintf("plain %d", plain.leftUpstream)},
	}
}

// heldStreams holds many streams for long, with an event each ten seconds, and counts those lost. Each
// stream takes the edge two files over HTTP/1.1, and hardly more than one over HTTP/2, so that is used
// where the system does not give enough of them.
func heldStreams(ctx context.Context, s *settings) ([]row, error) {
	const spare = 500
	n, pause := 20_000, 10*time.Second
	rounds := max(1, int(s.hold/pause))
	if s.quick {
		n, rounds, pause = 500, 3, time.Second
	}
	of, protocol := site{guard: true}, "HTTP/1.1"
	if files := fileLimit(2*n + spare); files < 2*n+spare {
		of.tls, protocol = true, "HTTP/2 with TLS"
		n = min(n, files-spare)
	}
	u, err := startUpstream(ctx, 4)
	if err != nil {
		return nil, err
	}
	defer u.stop()
	e, err := startEdge(ctx, s, of, u.addresses...)
	if err != nil {
		return nil, err
	}
	defer e.stop()
	one, err := tokens(e.origin, 1)
	if err != nil {
		return nil, err
	}
	c, err := openCrowd(ctx, e, n, one[0])
	if err != nil {
		return nil, err
	}
	defer c.close()
	began := time.Now()
	for i := range rounds {
		if err := u.broadcast(64); err != nil {
			return nil, err
		}
		next := began.Add(time.Duration(i+1) * pause)
		select {
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	c.await(int64(rounds*n), 30*time.Second)
	held := time.Since(began).Round(time.Second)
	return []row{
		{what: fmt.Sprintf("%d streams held for %s: lost", n, held), value: fmt.Sprint(c.lost.Load()), note: protocol},
		{what: "events missing", value: fmt.Sprint(int64(rounds*n) - c.received.Load()), note: fmt.Sprintf("of %d", rounds*n)},
	}, nil
}

// fileLimit raises the number of open files to want, if it is lower and the system lets us, and returns
// what it is. Edges and upstreams inherit it.
func fileLimit(want int) int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	if raised := (syscall.Rlimit{Cur: uint64(want), Max: uint64(want)}); limit.Max < raised.Max && syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
		limit = raised
	}
	return int(min(limit.Max, uint64(want)))
}
