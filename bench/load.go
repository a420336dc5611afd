package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
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
	rate        int // calls per second, at random times; 0 is as many as the connections carry

	client *http.Client // over all slices, so that no slice opens connections
	sent   atomic.Int64 // over all slices, so that each goes on with the tokens where the last one stopped
}

const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}`

// run sends calls for d and returns how many were answered. An answer with another status is an error:
// a benchmark of failures would look fast.
func (l *load) run(ctx context.Context, d time.Duration) (int64, error) {
	if l.client == nil {
		transport := &http.Transport{
			MaxIdleConnsPerHost: l.connections,
			ForceAttemptHTTP2:   strings.HasPrefix(l.edge.origin, "https"),
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		}
		l.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var answered atomic.Int64
	var failure atomic.Pointer[error]
	var all sync.WaitGroup
	for range l.connections {
		all.Go(func() {
			next := time.Now()
			for ctx.Err() == nil && failure.Load() == nil {
				if next = next.Add(l.pause()); l.rate > 0 && !sleepUntil(ctx, next) {
					return
				}
				if err := l.one(l.client, int(l.sent.Add(1)-1)); err != nil {
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

// pause is the time between two calls of a connection, of a Poisson process: regular calls of many
// connections would come in step.
func (l *load) pause() time.Duration {
	if l.rate == 0 {
		return 0
	}
	return time.Duration(rand.ExpFloat64() * float64(time.Second) * float64(l.connections) / float64(l.rate))
}

// sleepUntil reports whether the context is still there at that time.
func sleepUntil(ctx context.Context, t time.Time) bool {
	select {
	case <-time.After(time.Until(t)):
		return true
	case <-ctx.Done():
		return false
	}
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
	return float64((after - before).Nanoseconds()) / 1000 / float64(answered), nil
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
