package caddystore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// listAttempts is how often a listing is tried that was cut short by a file vanishing under it.
const listAttempts = 20

// List implements [sessions.Store]. It loads every record below prefix to see whether it is alive.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	keys, err := s.keys(ctx, prefix)
	if err != nil {
		return nil, err
	}
	live := keys[:0]
	for _, key := range keys {
		_, _, err := s.load(ctx, root+key+suffix)
		if errors.Is(err, sessions.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		live = append(live, key)
	}
	return live, nil
}

// keys lists the keys below prefix, whether alive or expired.
func (s *Store) keys(ctx context.Context, prefix string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	folder, ok := strings.CutSuffix(prefix, "/")
	if prefix != "" && (!ok || !sessions.ValidKey(folder)) {
		return nil, fmt.Errorf("listing: %q is not a prefix", prefix)
	}
	paths, err := s.paths(ctx, strings.TrimSuffix(root+folder, "/"))
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, path := range paths {
		key, ok := strings.CutPrefix(path, root)
		if !ok {
			continue
		}
		if key, ok = strings.CutSuffix(key, suffix); ok && sessions.ValidKey(key) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// paths lists everything below folder. A file storage gives up half way when a file vanishes while it
// walks, be it a deleted record or the temporary file of a write, and says so in the way in which it says that the
// folder is not there.
func (s *Store) paths(ctx context.Context, folder string) ([]string, error) {
	for range listAttempts {
		paths, err := s.storage.List(ctx, folder, true)
		if err == nil {
			return paths, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("listing %s: %w", folder, err)
		}
		if !s.storage.Exists(ctx, folder) {
			// A storage that cannot be asked says so here as well.
			return nil, ctx.Err()
		}
	}
	return nil, fmt.Errorf("listing %s: it changed during each of %d attempts", folder, listAttempts)
}
