package main

import (
	"context"
	"fmt"
	"net/http"
)

// pair is a guarded edge and a plain one in front of the same upstream.
type pair struct {
	upstream       *upstream
	plain, guarded *edge
}

func startPair(ctx context.Context, s *settings, guarded site) (*pair, error) {
	u, err := startUpstream(ctx, 1)
	if err != nil {
		return nil, err
	}
	p := &pair{upstream: u}
	if p.plain, err = startEdge(ctx, s, site{tls: guarded.tls}, u.addresses...); err != nil {
		u.stop()
		return nil, err
	}
	guarded.guard = true
	if p.guarded, err = startEdge(ctx, s, guarded, u.addresses...); err != nil {
		p.plain.stop()
		u.stop()
		return nil, err
	}
	return p, nil
}

func (p *pair) stop() {
	p.plain.stop()
	p.guarded.stop()
	p.upstream.stop()
}

// against compares calls through the guarded edge with the same calls through the plain one.
func (p *pair) against(ctx context.Context, s *settings, what string, connections int, tokens, paths []string) (row, error) {
	base := &load{edge: p.plain, connections: connections, tokens: tokens, paths: paths, status: http.StatusOK}
	target := &load{edge: p.guarded, connections: connections, tokens: tokens, paths: paths, status: http.StatusOK}
	ratios, itself, err := ratio(ctx, s, base, target)
	if err != nil {
		return row{}, err
	}
	return row{
		what: what + ": CPU per request, guarded / plain", value: fmt.Sprintf("%.3f", ratios.median()), spread: ratios.quartiles(),
		note: fmt.Sprintf("plain against itself %.3f (%s); plain %.0f us", itself.median(), itself.quartiles(), base.last),
	}, nil
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
		rows = append(rows, r)
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
	r, err := p.against(ctx, s, "10,000 tokens and people", 16, many, nil)
	return []row{r}, err
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
			var r row
			r, err = p.against(ctx, s, fmt.Sprintf("%d resource lines", n), 16, all, paths)
			rows = append(rows, r)
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
	r, err := p.against(ctx, s, "POST, HTTP/2 with TLS", 16, one, nil)
	return []row{r}, err
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
	base := &load{edge: p.plain, connections: 16, tokens: good, status: http.StatusOK}
	target := &load{edge: p.guarded, connections: 16, tokens: []string{forged}, status: http.StatusUnauthorized}
	ratios, _, err := ratio(ctx, s, base, target)
	if err != nil {
		return nil, err
	}
	return []row{{what: "401 for a forged token: CPU / a proxied request's", value: fmt.Sprintf("%.3f", ratios.median()), spread: ratios.quartiles()}}, nil
}
