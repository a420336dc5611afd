package mcpauth

import (
	"context"
	"slices"
	"sync"

	"github.com/caddyserver/certmagic"
)

// currentStorage is the storage of the newest config that uses it. Sessions outlive a config; the
// storage module that a config opened need not.
type currentStorage struct {
	mu  sync.RWMutex
	all []certmagic.Storage

	// A lock is given back to the storage that gave it, also across a reload.
	locks sync.Map // name → certmagic.Storage
}

// push makes s the newest. The config that opened the store pushes what is there already, and so does
// one that shares its storage with the config before it.
func (c *currentStorage) push(s certmagic.Storage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.all, s) {
		c.all = append(c.all, s)
	}
}

// remove takes s out again. The last one stays: requests of a config that is going away still use it.
func (c *currentStorage) remove(s certmagic.Storage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.all, s); i >= 0 && len(c.all) > 1 {
		c.all = slices.Delete(c.all, i, i+1)
	}
}

func (c *currentStorage) now() certmagic.Storage {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.all[len(c.all)-1]
}

func (c *currentStorage) Store(ctx context.Context, key string, value []byte) error {
	return c.now().Store(ctx, key, value)
}

func (c *currentStorage) Load(ctx context.Context, key string) ([]byte, error) {
	return c.now().Load(ctx, key)
}

func (c *currentStorage) Delete(ctx context.Context, key string) error {
	return c.now().Delete(ctx, key)
}

func (c *currentStorage) Exists(ctx context.Context, key string) bool {
	return c.now().Exists(ctx, key)
}

func (c *currentStorage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	return c.now().List(ctx, path, recursive)
}

func (c *currentStorage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	return c.now().Stat(ctx, key)
}

func (c *currentStorage) Lock(ctx context.Context, name string) error {
	storage := c.now()
	if err := storage.Lock(ctx, name); err != nil {
		return err
	}
	c.locks.Store(name, storage)
	return nil
}

func (c *currentStorage) Unlock(ctx context.Context, name string) error {
	storage, ok := c.locks.LoadAndDelete(name)
	if !ok {
		return c.now().Unlock(ctx, name)
	}
	return storage.(certmagic.Storage).Unlock(ctx, name)
}

// Interface guards
var _ certmagic.Storage = (*currentStorage)(nil)
