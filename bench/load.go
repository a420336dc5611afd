package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// load is a stream of identical tool calls over keep-alive connections.
type load struct {
	edge        *edge
	connections int
	tokens      []string
	paths       []string
	status      int // that every answer must have

	last float64 // what cost returned last
}

const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`

// run sends calls for d and returns how many were answered. An answer with another status is an error:
// a benchmark of failures would look fast.
func (l *load) run(ctx context.Context, d time.Duration) (int64, error) {
	transport := &http.Transport{
		MaxIdleConnsPerHost: l.connections,
		ForceAttemptHTTP2:   strings.HasPrefix(l.edge.origin, "https"),
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var answered atomic.Int64
	var failure atomic.Pointer[error]
	var all sync.WaitGroup
	for i := range l.connections {
		all.Go(func() {
			for n := i; ctx.Err() == nil && failure.Load() == nil; n += l.connections {
				if err := l.one(client, n); err != nil {
					failure.Store(&err)
					return
				}
				answered.Add(1)
			}
		})
	}
	all.Wait()
	if err := failure.Load(); err != nil {
		return 0, *err
	}
	return answered.Load(), nil
}

func (l *load) one(client *http.Client, n int) error {
	path := "/mcp"
	if len(l.paths) > 0 {
		path = l.paths[n%len(l.paths)]
	}
	request, err := http.NewRequest(http.MethodPost, l.edge.origin+path, strings.NewReader(call))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	request.Header.Set("Authorization", "Bearer "+l.tokens[n%len(l.tokens)])
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != l.status {
		return fmt.Errorf("%s answered %s, want %d", request.URL, response.Status, l.status)
	}
	return nil
}

// cost is the edge's processor time per answered call, in microseconds.
func (l *load) cost(ctx context.Context, d time.Duration) (float64, error) {
	before, err := l.edge.cpu()
	if err != nil {
		return 0, err
	}
	answered, err := l.run(ctx, d)
	if err != nil {
		return 0, err
	}
	after, err := l.edge.cpu()
	if err != nil {
		return 0, err
	}
	if answered == 0 {
		return 0, fmt.Errorf("no call was answered in %s", d)
	}
	l.last = float64((after - before).Microseconds()) / float64(answered)
	return l.last, nil
}

// ratio compares what target costs with what base costs, in rounds of base, target, target, base. The
// second sample is base against itself: what the machine can resolve.
func ratio(ctx context.Context, s *settings, base, target *load) (ratios, itself sample, err error) {
	for _, l := range []*load{base, target} {
		if _, err := l.run(ctx, s.slice); err != nil { // warm
			return nil, nil, err
		}
	}
	for range s.comparisons {
		var costs [4]float64
		for i, l := range []*load{base, target, target, base} {
			if costs[i], err = l.cost(ctx, s.slice/2); err != nil {
				return nil, nil, err
			}
		}
		ratios = append(ratios, (costs[1]+costs[2])/(costs[0]+costs[3]))
		itself = append(itself, costs[3]/costs[0])
	}
	return ratios, itself, nil
}

// tokens seals access tokens for n different people, for each path of the origin in turn.
func tokens(origin string, n int, paths ...string) ([]string, error) {
	ring, err := sessions.NewRing(sessions.RingConfig{Secrets: [][]byte{[]byte(secret)}})
	if err != nil {
		return nil, err
	}
	if err := ring.Load(context.Background()); err != nil {
		return nil, err
	}
	vault := &sessions.Vault{Ring: ring, Tenant: origin}
	if len(paths) == 0 {
		paths = []string{""}
	}
	all := make([]string, n)
	now := time.Now()
	for i := range all {
		all[i], err = vault.IssueAccess(sessions.Access{
			ID: sessions.NewID(), Grant: sessions.NewID(), IssuedAt: now.Unix(), ExpiresAt: now.Add(12 * time.Hour).Unix(),
			Resource: origin + paths[i%len(paths)], Scope: "tools:read", UserIssuer: "https://idp.example.com",
			Subject: fmt.Sprintf("1076915035000615071511%d", i), Email: fmt.Sprintf("person%d@example.com", i),
			ClientID: "dcr-0123456789abcdef", ClientName: "bench",
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
