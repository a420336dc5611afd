package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/redisserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/redisstore"
)

// hearing is what a watcher has reported.
type hearing struct {
	t    *testing.T
	keys chan string
}

// watchRedis watches until the test ends, and again whenever the store cannot keep its promise, as callers do.
func watchRedis(t *testing.T, store sessions.Store) *hearing {
	t.Helper()
	h := &hearing{t: t, keys: make(chan string, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if store.Watch(ctx, "a/", func(key string, _ []byte) { h.keys <- key }) != nil {
				select {
				case <-ctx.Done():
				case <-time.After(200 * time.Millisecond):
				}
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return h
}

func (h *hearing) await(key string, within time.Duration) {
	h.t.Helper()
	deadline := time.After(within)
	for {
		select {
		case got := <-h.keys:
			if got == key {
				return
			}
		case <-deadline:
			h.t.Fatalf("the watcher did not hear of %s within %v", key, within)
		}
	}
}

func mustPut(t *testing.T, store sessions.Store, key string) {
	t.Helper()
	if err := store.Put(t.Context(), key, []byte("value"), time.Hour); err != nil {
		t.Fatalf("Put of %s: %v", key, err)
	}
}

// relay passes connections on to a server, until it is told to let those that are open go silent.
type relay struct {
	ln     net.Listener
	target string

	mu   sync.Mutex
	gate chan struct{} // closed: what has been accepted before passes nothing on
	all  []net.Conn
}

func startRelay(t *testing.T, target string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, target: target, gate: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			r.mu.Lock()
			gate := r.gate
			r.all = append(r.all, in, out)
			r.mu.Unlock()
			pass := func(to io.Writer, from io.Reader) {
				_, _ = io.Copy(to, from)
				_, _ = in.Close(), out.Close()
			}
			running.Go(func() { pass(out, in) })
			running.Go(func() { pass(&silenced{in, gate}, out) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		r.mu.Lock()
		for _, conn := range r.all {
			_ = conn.Close()
		}
		r.mu.Unlock()
		running.Wait()
	})
	return r
}

// silence lets every open connection stay open and say nothing any more. New ones work.
func (r *relay) silence() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.gate)
	r.gate = make(chan struct{})
}

type silenced struct {
	io.Writer
	gate chan struct{}
}

func (s *silenced) Write(b []byte) (int, error) {
	select {
	case <-s.gate:
		return len(b), nil
	default:
		return s.Writer.Write(b)
	}
}

// The promise is two seconds after the write; what comes on top is for busy machines.
const heardWithin = 2*time.Second + 2*time.Second

func TestAWatcherOnRedisHearsWhatIsWrittenAroundABreak(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	direct := openRedis(t, redisstore.Options{Addresses: []string{server.Addr()}})
	for _, tc := range []struct {
		name string
		cut  func(r *relay)
	}{
		{"when the connection is closed", func(*relay) {
			client := redis.NewClient(&redis.Options{Addr: server.Addr()})
			defer client.Close()
			if err := client.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err(); err != nil {
				t.Fatal(err)
			}
		}},
		{"when the connection stays open and goes silent", func(r *relay) { r.silence() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := startRelay(t, server.Addr())
			store := openRedis(t, redisstore.Options{Addresses: []string{r.ln.Addr().String()}})
			mustPut(t, direct, "a/before")
			heard := watchRedis(t, store)
			heard.await("a/before", heardWithin)
			for range 3 {
				tc.cut(r)
				mustPut(t, direct, "a/meanwhile")
				heard.await("a/meanwhile", heardWithin)
				if err := direct.Delete(t.Context(), "a/meanwhile"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestTheStoreOnARedisThatIsReplaced(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	store := openRedis(t, redisstore.Options{Addresses: []string{server.Addr()}})
	mustPut(t, store, "a/b")
	server.Kill()
	if _, err := store.Get(t.Context(), "a/b"); err == nil || errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("Get without a server: %v, want an outage", err)
	}
	if err := store.Watch(t.Context(), "a/", func(string, []byte) {}); err == nil {
		t.Error("Watch without a server promises what it cannot keep")
	}
	server.Run()
	// The new one is empty and knows no script.
	if _, err := store.Get(t.Context(), "a/b"); !errors.Is(err, sessions.ErrNotFound) {
		t.Errorf("Get from an empty server: %v, want ErrNotFound", err)
	}
	mustPut(t, store, "a/b")
	server.Kill()
	server.Run()
	err := store.Update(t.Context(), "a/b", func(old []byte) ([]byte, time.Duration, error) {
		if old != nil {
			t.Errorf("Update on an empty server got %q", old)
		}
		return []byte("again"), time.Hour, nil
	})
	if err != nil {
		t.Errorf("Update on an empty server: %v", err)
	}
}

// Keys in slots that no node has could not be listed, among them revocations.
func TestAListingOfHalfAClusterIsNone(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, "cluster-enabled yes", "cluster-require-full-coverage no")
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	if err := client.ClusterAddSlotsRange(t.Context(), 0, 8000).Err(); err != nil {
		t.Fatal(err)
	}
	store := openRedis(t, redisstore.Options{Addresses: []string{server.Addr()}, Cluster: true})
	if keys, err := store.List(t.Context(), "a/"); err == nil || !strings.Contains(err.Error(), "8001 of its 16384 slots") {
		t.Errorf("List: %q, %v; want an error that tells of the slots", keys, err)
	}
	if err := store.Watch(t.Context(), "a/", func(string, []byte) {}); err == nil {
		t.Error("Watch promises what it cannot keep")
	}
}

func TestAServerThatForgetsIsWarnedOf(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]bool{"noeviction": false, "volatile-lru": true, "allkeys-random": true} {
		t.Run(policy, func(t *testing.T) {
			server := redisserver.Start(t, "maxmemory-policy "+policy)
			records := make(chan string, 10)
			store, err := redisstore.New(redisstore.Options{
				Addresses: []string{server.Addr()}, Logger: slog.New(slog.NewTextHandler(lines(records), nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- store.Run(ctx) }()
			if want {
				select {
				case record := <-records:
					if !strings.Contains(record, "maxmemory_policy="+policy) {
						t.Errorf("the log says: %s", record)
					}
				case <-time.After(10 * time.Second):
					t.Error("nobody is warned")
				}
			} else {
				askedForInfo(t, server)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
			if len(records) > 0 {
				t.Errorf("the log says: %s", <-records)
			}
		})
	}
}

// lines is a writer of log records.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// askedForInfo waits until a server has been asked how it is set up.
func askedForInfo(t *testing.T, server *redisserver.Server) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	asked := -1 // by this client, before each time
	edge.Eventually(t, "the server is asked for its policy", 10*time.Second, func() bool {
		asked++
		stats, err := client.Info(t.Context(), "commandstats").Result()
		return err == nil && !strings.Contains(stats, fmt.Sprintf("cmdstat_info:calls=%d,", asked)) && asked > 0
	})
}
