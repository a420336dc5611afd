package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/caddystore"
)

// growth tells what a request costs, and what the edge holds, once many tokens have been used and once
// many grants lie in its store.
func growth(ctx context.Context, s *settings) ([]row, error) {
	p, err := startPair(ctx, s, site{})
	if err != nil {
		return nil, err
	}
	defer p.stop()
	issued, stored := []int{1, 10_000, 1_000_000}, []int{1, 1000, 100_000}
	if s.quick {
		issued, stored = []int{1, 1000}, []int{1, 10}
	}
	var rows []row
	for _, n := range issued {
		all, err := tokens(p.guarded.origin, n)
		if err != nil {
			return nil, err
		}
		r, err := p.grown(ctx, s, fmt.Sprintf("%d access tokens issued", n), all)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	one, err := tokens(p.guarded.origin, 1)
	if err != nil {
		return nil, err
	}
	store := caddystore.New(&certmagic.FileStorage{Path: filepath.Join(p.guarded.dir, "caddy")}, caddystore.Options{})
	vault, err := newVault(ctx, store, p.guarded.origin)
	if err != nil {
		return nil, err
	}
	have := 0
	for _, n := range stored {
		if _, err := createGrants(ctx, vault, have, n); err != nil {
			return nil, err
		}
		have = n
		r, err := p.grown(ctx, s, fmt.Sprintf("%d grants in the edge's storage", n), one)
		if err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// grown compares a request that carries each of tokens in turn with the same one through the plain edge.
// The memory is read after all of them have been used.
func (p *pair) grown(ctx context.Context, s *settings, what string, tokens []string) (row, error) {
	through := func(e *edge) *load {
		return &load{edge: e, connections: 16, tokens: tokens, status: http.StatusOK}
	}
	guarded := through(p.guarded)
	if err := useAll(ctx, guarded); err != nil {
		return row{}, err
	}
	fewer := *s
	fewer.comparisons = max(2, s.comparisons/2)
	c, err := contest{through(p.plain), through(p.twin), guarded}.inTurns(ctx, &fewer)
	if err != nil {
		return row{}, err
	}
	memory, err := p.guarded.rss()
	if err != nil {
		return row{}, err
	}
	return row{
		what: what + ": CPU per request, guarded / plain", value: fmt.Sprintf("%.3f", c.ratios.median()), spread: c.ratios.quartiles(),
		note: fmt.Sprintf("the edge holds %.0f MiB; %s", float64(memory)/(1<<20), c.note()),
	}, nil
}

// useAll makes a call with each token, a minute of them at the most.
func useAll(ctx context.Context, l *load) error {
	for began := time.Now(); l.sent.Load() < int64(len(l.tokens)) && time.Since(began) < time.Minute; {
		if _, err := l.run(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}
