// Package mcpauth is a Caddy module that puts OAuth 2.1 in front of MCP servers. It is the glue
// between Caddy and the packages below it, which know nothing of Caddy's configuration.
package mcpauth

import (
	"fmt"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App holds the defaults of all `mcp_auth` handlers, and what they share: the session stores, their
// keys, and what is revoked.
type App struct {
	Options

	logger   *zap.Logger
	runtimes map[string]*runtime
	stores   map[string]StoreModule
	detach   []func()

	handlers []*Handler  // that this configuration has
	over     atomic.Bool // another one has taken its place
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "mcp_auth", New: func() caddy.Module { return new(App) }}
}

// Provision loads the defaults. It does no I/O, so that `caddy validate` changes nothing.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	a.runtimes = make(map[string]*runtime)
	a.stores = make(map[string]StoreModule)
	if err := a.load(ctx, &a.Options); err != nil {
		return fmt.Errorf("mcp_auth (global options): %w", err)
	}
	if a.store == nil {
		store := new(CaddyStore)
		if err := store.Provision(ctx); err != nil {
			return err
		}
		a.store = store
	}
	return nil
}

// runtime returns what the users of a store and its keys share.
func (a *App) runtime(store StoreModule, secrets [][]byte) (*runtime, error) {
	key := runtimeKey(store, secrets)
	if rt, ok := a.runtimes[key]; ok {
		return rt, nil
	}
	value, _, err := runtimes.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newRuntime(store, secrets, a.logger)
	})
	if err != nil {
		return nil, err
	}
	rt := value.(*runtime)
	a.runtimes[key], a.stores[key] = rt, store
	return rt, nil
}

// Start begins the background work of every store in use. A store that is out of reach does not
// keep Caddy from starting.
func (a *App) Start() error {
	for key, rt := range a.runtimes {
		if store, ok := a.stores[key].(attacher); ok {
			a.detach = append(a.detach, store.attach(rt.store))
		}
		rt.run()
	}
	inForce.begin(a)
	return nil
}

// Stop gives the stores back to the config that follows, if there is one.
func (a *App) Stop() error {
	inForce.end(a)
	for _, detach := range a.detach {
		detach()
	}
	a.detach = nil
	return nil
}

// Cleanup releases the stores. Those that no other config uses end.
func (a *App) Cleanup() error {
	for key := range a.runtimes {
		if _, err := runtimes.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
