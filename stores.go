package mcpauth

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/caddystore"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

func init() {
	caddy.RegisterModule(CaddyStore{})
	caddy.RegisterModule(MemoryStore{})
}

// StoreModule is what a module in the namespace `mcp_auth.stores` implements.
type StoreModule interface {
	caddy.Module

	// Key names the backend. Modules with the same key share one store, also across reloads, so it
	// is made of what tells backends apart and of nothing that may be tuned.
	Key() string

	// Store makes the store. It does no I/O. If the store has a method Run(context.Context) error,
	// that runs for as long as the store is in use.
	Store() (sessions.Store, error)
}

// CaddyStore keeps sessions in the storage that Caddy is configured with: the file system by
// default. Nothing needs to be set up on one machine, and machines that share a Caddy storage share
// sessions.
type CaddyStore struct {
	storage certmagic.Storage
}

// CaddyModule returns the Caddy module information.
func (CaddyStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "mcp_auth.stores.caddy", New: func() caddy.Module { return new(CaddyStore) }}
}

// Provision takes Caddy's storage.
func (s *CaddyStore) Provision(ctx caddy.Context) error {
	s.storage = ctx.Storage()
	return nil
}

// Key implements StoreModule.
func (s *CaddyStore) Key() string {
	if named, ok := s.storage.(fmt.Stringer); ok {
		return "caddy " + named.String()
	}
	return fmt.Sprintf("caddy %T", s.storage)
}

// Store implements StoreModule.
func (s *CaddyStore) Store() (sessions.Store, error) {
	current := &currentStorage{all: []certmagic.Storage{s.storage}}
	return &reloadableStore{Store: caddystore.New(current, caddystore.Options{}), storage: current}, nil
}

// attach makes a store that an older config opened work on this config's storage, until detach. The
// older one's may be closed when its config is gone.
func (s *CaddyStore) attach(store sessions.Store) (detach func()) {
	shared, ok := store.(*reloadableStore)
	if !ok {
		return func() {}
	}
	shared.storage.push(s.storage)
	return func() { shared.storage.remove(s.storage) }
}

// reloadableStore is a caddystore whose storage can be exchanged at a reload.
type reloadableStore struct {
	*caddystore.Store
	storage *currentStorage
}

// MemoryStore keeps sessions in this process only: for tests and demonstrations. They survive a
// reload and end with the process.
type MemoryStore struct{}

// CaddyModule returns the Caddy module information.
func (MemoryStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "mcp_auth.stores.memory", New: func() caddy.Module { return new(MemoryStore) }}
}

// Key implements StoreModule.
func (MemoryStore) Key() string { return "memory" }

// Store implements StoreModule.
func (MemoryStore) Store() (sessions.Store, error) { return memstore.New(nil), nil }

// Interface guards
var (
	_ caddy.Provisioner = (*CaddyStore)(nil)
	_ StoreModule       = (*CaddyStore)(nil)
	_ attacher          = (*CaddyStore)(nil)
	_ StoreModule       = (*MemoryStore)(nil)
)
