package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// patience is how many probe intervals an announcement may take. Together with listing anew it has to fit into the two
// seconds of the contract.
const patience = 2

var errDeaf = errors.New("what is written does not arrive here")

// channel is where a write of key is announced: one channel for all keys with the same first segment, so that nobody
// is told of every sign-in who waits for revocations.
func (s *Store) channel(key string) string {
	first, _, _ := strings.Cut(key, "/")
	return s.opts.Prefix + "written:" + first
}

// Watch implements [sessions.Store]. The server announces only to those who are connected, so everything is
// listed after connecting. That announcements arrive is tried all the time, on the way that they take:
// a connection may look well and lead to a server that the others do not use any more.
func (s *Store) Watch(ctx context.Context, prefix string, fn func(key string, value []byte)) error {
	for {
		began := time.Now()
		connected, err := s.listen(ctx, prefix, fn)
		if ctx.Err() != nil {
			return nil
		}
		// At once again after a break, but it is the caller who waits for a server that is down.
		if !connected || time.Since(began) < patience*s.opts.Probe {
			return fmt.Errorf("watching %q: %w", prefix, err)
		}
		s.opts.Logger.Warn("watching anew", "prefix", prefix, "error", err)
	}
}

// listen watches with connections of its own, until one breaks. Those that others left behind may be as dead
// as the one that broke before.
func (s *Store) listen(ctx context.Context, prefix string, fn func(key string, value []byte)) (connected bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	probes := s.opts.Prefix + "probe:" + rand.Text()
	client := s.opts.connect()
	defer client.Close()
	sub := client.Subscribe(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer sub.Close()
	defer cancel()
	if err := s.subscribe(ctx, sub, prefix, probes); err != nil {
		return false, err
	}
	in := inbox{keys: make(map[string]struct{}), wake: make(chan struct{}, 1), broken: make(chan error, 2)}
	beside.Go(func() { in.broken <- receive(ctx, sub, prefix, probes, &in) })
	beside.Go(func() {
		if err := s.scan(ctx, client, prefix, in.add); err != nil {
			in.broken <- err
		}
	})
	return true, s.report(ctx, client, probes, &in, fn)
}

// subscribe returns when the server has confirmed everything.
func (s *Store) subscribe(ctx context.Context, sub *redis.PubSub, prefix, probes string) error {
	return s.exchange(ctx, func(ctx context.Context) error {
		channels, confirmations := []string{probes}, 2
		if prefix != "" {
			channels = append(channels, s.channel(prefix))
		} else if err := sub.PSubscribe(ctx, s.channel("*")); err != nil {
			return err
		}
		if err := sub.Subscribe(ctx, channels...); err != nil {
			return err
		}
		for range confirmations {
			message, err := sub.ReceiveTimeout(ctx, s.opts.Timeout)
			if err != nil {
				return err
			}
			if _, ok := message.(*redis.Subscription); !ok {
				return fmt.Errorf("subscribing was answered with a %T", message)
			}
		}
		return nil
	})
}

// receive takes announcements and probes until the connection breaks.
func receive(ctx context.Context, sub *redis.PubSub, prefix, probes string, in *inbox) error {
	for {
		message, err := sub.ReceiveTimeout(ctx, 0)
		if err != nil {
			return err
		}
		m, ok := message.(*redis.Message)
		switch {
		case !ok: // a second confirmation: the client has connected anew by itself, and something may be missing
			return errDeaf
		case m.Channel == probes:
			in.probes.Add(1)
		case strings.HasPrefix(m.Payload, prefix) && sessions.ValidKey(m.Payload):
			in.add([]string{m.Payload})
		}
	}
}

// report calls fn with what comes into the inbox, and probes the connection.
func (s *Store) report(ctx context.Context, client redis.UniversalClient, probes string, in *inbox, fn func(key string, value []byte)) error {
	tick := time.NewTicker(s.opts.Probe)
	defer tick.Stop()
	var sent int64
	missed := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-in.broken:
			return err
		case <-in.wake:
			if err := s.drain(ctx, client, in, fn); err != nil {
				return err
			}
		case <-tick.C:
			if in.probes.Load() < sent {
				if missed++; missed == patience {
					return errDeaf
				}
				continue
			}
			missed = 0
			in.probes.Store(0)
			var err error
			if sent, err = s.probe(ctx, client, probes); err != nil {
				return fmt.Errorf("probing the connection: %w", err)
			}
		}
	}
}

// probe announces something to this watcher alone, from each server on which somebody may write.
func (s *Store) probe(ctx context.Context, client redis.UniversalClient, probes string) (sent int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience*s.opts.Probe)
	defer cancel()
	cluster, ok := client.(*redis.ClusterClient)
	if !ok {
		return 1, client.Publish(ctx, probes, "").Err()
	}
	var nodes atomic.Int64
	err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		nodes.Add(1)
		return node.Publish(ctx, probes, "").Err()
	})
	return nodes.Load(), err
}

// drain reads the records in the inbox, some at a time, and reports those that are still there.
func (s *Store) drain(ctx context.Context, client redis.UniversalClient, in *inbox, fn func(key string, value []byte)) error {
	for {
		keys := in.take(100)
		if len(keys) == 0 {
			return nil
		}
		var answers []redis.Cmder
		err := s.exchange(ctx, func(ctx context.Context) (err error) {
			answers, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
				for _, key := range keys {
					p.Get(ctx, s.opts.Prefix+key)
				}
				return nil
			})
			if errors.Is(err, redis.Nil) {
				return nil // each answer tells for itself
			}
			return err
		})
		if err != nil {
			return err
		}
		for i, answer := range answers {
			raw, err := answer.(*redis.StringCmd).Bytes()
			if errors.Is(err, redis.Nil) {
				continue
			}
			if err != nil {
				return fmt.Errorf("reading %s: %w", keys[i], err)
			}
			_, value, err := unframe(keys[i], raw)
			if err != nil {
				return err
			}
			fn(keys[i], value)
		}
	}
}

// inbox holds the keys that are to be reported. Each is in it once, so that a slow reader costs no more memory
// than the keys there are.
type inbox struct {
	mu     sync.Mutex
	keys   map[string]struct{}
	wake   chan struct{}
	broken chan error
	probes atomic.Int64
}

func (in *inbox) add(keys []string) {
	if len(keys) == 0 {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, key := range keys {
		in.keys[key] = struct{}{}
	}
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

func (in *inbox) take(most int) (keys []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for key := range in.keys {
		if len(keys) == most {
			break
		}
		keys = append(keys, key)
		delete(in.keys, key)
	}
	return keys
}
