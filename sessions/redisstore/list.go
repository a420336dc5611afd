package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	scanPage = 1000
	allSlots = 16384
	// listsAtOnce is how many listings go over the keys at a time, so that many people who look at their pages do not
	// keep the server from everything else.
	listsAtOnce = 2
	// scanAttempts is how often a cluster is scanned whose slots move meanwhile.
	scanAttempts = 5
)

// List implements [sessions.Store]. It goes over all keys of the database, some 0.1s for 100,000 of them, between
// which the server does other work. No index of records can be in one step with them in a cluster; this
// way none can be missed, and none be found that has expired.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	select {
	case s.lists <- struct{}{}:
		defer func() { <-s.lists }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	found := make(map[string]struct{})
	err := s.scan(ctx, s.client, prefix, func(keys []string) {
		for _, key := range keys {
			found[key] = struct{}{}
		}
	})
	if err != nil {
		return nil, err
	}
	list := make([]string, 0, len(found))
	for key := range found {
		list = append(list, key)
	}
	return list, nil
}

// scan calls fn with the keys below prefix, page by page; it may name a key several times. Calls of fn do
// not overlap.
func (s *Store) scan(ctx context.Context, client redis.UniversalClient, prefix string, fn func(keys []string)) error {
	if folder, ok := strings.CutSuffix(prefix, "/"); prefix != "" && (!ok || !sessions.ValidKey(folder)) {
		return fmt.Errorf("listing: %q is not a prefix", prefix)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	switch client := client.(type) {
	case *redis.Client:
		err = s.scanNode(ctx, client, prefix, fn)
	case *redis.ClusterClient:
		err = s.scanCluster(ctx, client, prefix, fn)
	}
	if err != nil {
		return fmt.Errorf("listing %q: %w", prefix, err)
	}
	return nil
}

// scanNode stays on one connection, which fails rather than go on at another server: a cursor means something only
// to the server that gave it.
func (s *Store) scanNode(ctx context.Context, client *redis.Client, prefix string, fn func(keys []string)) error {
	conn := client.Conn()
	defer conn.Close()
	for cursor := uint64(0); ; {
		var page []string
		err := s.exchange(ctx, func(ctx context.Context) (err error) {
			page, cursor, err = conn.Scan(ctx, cursor, s.opts.Prefix+prefix+"*", scanPage).Result()
			return err
		})
		if err != nil {
			return err
		}
		keys := page[:0]
		for _, name := range page {
			if key := strings.TrimPrefix(name, s.opts.Prefix); sessions.ValidKey(key) {
				keys = append(keys, key)
			}
		}
		fn(keys)
		if cursor == 0 {
			return nil
		}
	}
}

// scanCluster scans all masters. A record that moves between two of them meanwhile could be missed at both, so
// it scans again until nothing moved; a record that moved once is found then.
func (s *Store) scanCluster(ctx context.Context, client *redis.ClusterClient, prefix string, fn func(keys []string)) error {
	var mu sync.Mutex
	serial := func(keys []string) {
		mu.Lock()
		defer mu.Unlock()
		fn(keys)
	}
	for range scanAttempts {
		before, err := s.layout(ctx, client)
		if err != nil {
			return err
		}
		err = client.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			return s.scanNode(ctx, node, prefix, serial)
		})
		if err != nil {
			return err
		}
		after, err := s.layout(ctx, client)
		if err != nil {
			return err
		}
		if !before.moving && !after.moving && slices.Equal(before.owners, after.owners) {
			return nil
		}
	}
	return errors.New("slots of the cluster are moving")
}

// layout is which node has which slots, and whether records are on their way between nodes.
type layout struct {
	owners []string
	moving bool
}

// layout also makes sure that every slot has an owner: what lies in others could not be listed.
func (s *Store) layout(ctx context.Context, client *redis.ClusterClient) (l layout, err error) {
	var slots []redis.ClusterSlot
	err = s.exchange(ctx, func(ctx context.Context) (err error) {
		slots, err = client.ClusterSlots(ctx).Result()
		return err
	})
	if err != nil {
		return l, err
	}
	covered := 0
	for _, slot := range slots {
		covered += slot.End - slot.Start + 1
		if len(slot.Nodes) > 0 {
			l.owners = append(l.owners, fmt.Sprintf("%d-%d %s", slot.Start, slot.End, slot.Nodes[0].ID))
		}
	}
	if covered != allSlots {
		return l, fmt.Errorf("the cluster has nodes for %d of its %d slots", covered, allSlots)
	}
	slices.Sort(l.owners)
	var mu sync.Mutex
	err = client.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		return s.exchange(ctx, func(ctx context.Context) error {
			text, err := node.ClusterNodes(ctx).Result()
			mu.Lock()
			defer mu.Unlock()
			// A node tells of its own slots which ones it gives away or gets.
			l.moving = l.moving || strings.Contains(text, "->-") || strings.Contains(text, "-<-")
			return err
		})
	})
	return l, err
}
