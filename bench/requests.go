package main

import (
	"context"
	"fmt"
	"net/http"
)

// pair is a guarded edge and two plain ones in front of the same upstream.
type pair struct {
	upstream             *upstream
	plain, twin, guarded *edge
}

func startPair(ctx context.Context, s *settings, guarded site) (*pair, error) {
	u, err := startUpstream(ctx, 1)
	if err != nil {
		return nil, err
	}
	p := &pair{upstream: u}
	of := site{tls: guarded.tls}
	guarded.guard = true
	for _, e := range []struct {
		edge **edge
		site site
	}{{&p.plain, of}, {&p.twin, of}, {&p.guarded, guarded}} {
		if *e.edge, err = startEdge(ctx, s, e.site, u.addresses...); err != nil {
			p.stop()
			return nil, err
		}
	}
	return p, nil
}

func (p *pair) stop() {
	for _, e := range []*edge{p.plain, p.twin, p.guarded} {
		if e != nil {
			e.stop()
		}
	}
	p.upstream.stop()
}

// against compares calls through the guarded edge with the same calls through the plain one.
func (p *pair) against(ctx context.Context, s *settings, what string, connections int, tokens, paths []string) ([]row, error) {
	through := func(e *edge) *load {
		return &load{edge: e, connections: connections, tokens: tokens, paths: paths, status: http.StatusOK}
	}
	return contest{through(p.plain), through(p.twin), through(p.guarded)}.rows(ctx, s, what+": CPU per request, guarded / plain")
}

// rows compares in both ways.
func (c contest) rows(ctx context.Context, s *settings, what string) ([]row, error) {
	var rows []row
	for _, way := range []struct {
		name    string
		compare func(context.Context, *settings) (*comparison, error)
	}{{"in turns", c.inTurns}, {"together", c.together}} {
		found, err := way.compare(ctx, s)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			what: what + ", " + way.name, value: fmt.Sprintf("%.3f", found.ratios.median()), spread: found.ratios.quartiles(), note: found.note(),
		})
	}
	return rows, nil
}

// posts is the main job: an authenticated call.
func posts(ctx context.Context, s *settings) ([]row, error) {
	p, err := startPair(ctx, s, site{})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	one, err := tokens(p.guarded.origin, 1)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, connections := range []int{16, 64} {
		r, err := p.against(ctx, s, fmt.Sprintf("POST, %d connections", connections), connections, one, nil)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r...)
	}
	return rows, nil
}

func manyTokens(ctx context.Context, s *settings) ([]row, error) {
	p, err := startPair(ctx, s, site{})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	many, err := tokens(p.guarded.origin, 10_000)
	if err != nil {
		return nil, err
	}
	return p.against(ctx, s, "10,000 tokens and people", 16, many, nil)
}

func manyResources(ctx context.Context, s *settings) ([]row, error) {
	var rows []row
	for _, n := range []int{1, 100, 1000} {
		p, err := startPair(ctx, s, site{resources: n})
		if err != nil {
			return nil, err
		}
		paths := make([]string, n)
		for i := range paths {
			paths[i] = fmt.Sprintf("/r%d", i)
		}
		all, err := tokens(p.guarded.origin, n, paths...)
		if err == nil {
			var r []row
			r, err = p.against(ctx, s, fmt.Sprintf("%d resource lines", n), 16, all, paths)
			rows = append(rows, r...)
		}
		p.stop()
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// overTLS compares over TLS and HTTP/2.
func overTLS(ctx context.Context, s *settings) ([]row, error) {
	p, err := startPair(ctx, s, site{tls: true})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	one, err := tokens(p.guarded.origin, 1)
	if err != nil {
		return nil, err
	}
	return p.against(ctx, s, "POST, HTTP/2 with TLS", 16, one, nil)
}

// refusals compares a refused call with a proxied one.
func refusals(ctx context.Context, s *settings) ([]row, error) {
	p, err := startPair(ctx, s, site{})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	good, err := tokens(p.guarded.origin, 1)
	if err != nil {
		return nil, err
	}
	forged := good[0][:len(good[0])-8] + "AAAAAAAA"
	through := func(e *edge) *load {
		return &load{edge: e, connections: 16, tokens: good, status: http.StatusOK}
	}
	target := &load{edge: p.guarded, connections: 16, tokens: []string{forged}, status: http.StatusUnauthorized}
	rows, err := contest{through(p.plain), through(p.twin), target}.rows(ctx, s, "401 for a forged token: CPU / a proxied request's")
	if err != nil {
		return nil, err
	}
	// What is left of it without mcp_auth: taking a request, and Caddy's own way of refusing one.
	bare, err := startEdge(ctx, s, site{refuse: true}, p.upstream.addresses...)
	if err != nil {
		return nil, err
	}
	defer bare.stop()
	floor := &load{edge: bare, connections: 16, tokens: good, status: http.StatusUnauthorized}
	found, err := contest{through(p.plain), through(p.twin), floor}.rows(ctx, s, "plain Caddy's \"error 401\": CPU / a proxied request's")
	return append(rows, found...), err
}
