package mcpauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

// runtimes outlive configs: a reload must find the keys loaded and the revocations known, even while
// the store is out of reach.
var runtimes = caddy.NewUsagePool()

// streams are the open streams of the whole process. A stream stays on the config that it was opened
// under, so only the process knows all of them.
var streams = sseproxy.NewRegistry()

// loadTimeout bounds how long a start or a request waits for the store.
const loadTimeout = 5 * time.Second

// runtime is what everything that shares a store shares: the store, the key ring, what is revoked.
type runtime struct {
	store       sessions.Store
	ring        *sessions.Ring
	revocations *sessions.Revocations
	devices     *authserver.Devices // of all issuers
	signIns     *throttle.Limiter   // of all issuers
	logger      *zap.Logger

	loading singleflight.Group
	once    sync.Once
	stop    context.CancelFunc
	done    sync.WaitGroup

	unsubscribe func()
}

// newRuntime makes a runtime without I/O. Secrets, if there are any, take the place of the key ring
// in the store.
func newRuntime(module StoreModule, secrets [][]byte, logger *zap.Logger) (*runtime, error) {
	store, err := module.Store()
	if err != nil {
		return nil, err
	}
	ring, err := newRing(store, secrets)
	if err != nil {
		return nil, err
	}
	return &runtime{
		store:       store,
		ring:        ring,
		revocations: sessions.NewRevocations(store, nil),
		devices:     authserver.NewDevices(),
		signIns:     authserver.NewSignIns(),
		logger:      logger,
		stop:        func() {},
		unsubscribe: func() {},
	}, nil
}

// newRing makes the key ring in the store, or one of secrets, which need no store.
func newRing(store sessions.Store, secrets [][]byte) (*sessions.Ring, error) {
	if len(secrets) > 0 {
		return sessions.NewRing(sessions.RingConfig{Secrets: secrets})
	}
	return sessions.NewRing(sessions.RingConfig{Store: store})
}

// runtimeKey tells runtimes apart. It holds a hash of the secrets, never a secret.
func runtimeKey(module StoreModule, secrets [][]byte) string {
	hash := sha256.New()
	for _, secret := range secrets {
		sum := sha256.Sum256(secret)
		hash.Write(sum[:])
	}
	return string(module.CaddyModule().ID) + " " + module.Key() + " " + hex.EncodeToString(hash.Sum(nil)[:16])
}

// run starts what runs beside the requests: loading and rotating keys, following revocations and
// whatever the store itself does. Only the first call does anything.
func (rt *runtime) run() {
	rt.once.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		rt.stop = cancel
		rt.unsubscribe = rt.revocations.Subscribe(streams.EndGrant)
		jobs := map[string]func(context.Context) error{
			"key ring":    rt.ring.Run,
			"revocations": rt.revocations.Run,
		}
		if store, ok := rt.store.(interface{ Run(context.Context) error }); ok {
			jobs["store"] = store.Run
		}
		for name, job := range jobs {
			rt.done.Go(func() {
				if err := job(ctx); err != nil && !errors.Is(err, context.Canceled) {
					rt.logger.Error("stopped", zap.String("job", name), zap.Error(err))
				}
			})
		}
		if err := rt.load(ctx); err != nil {
			rt.logger.Error("loading keys and revocations from the store; requests are answered with 503 until it succeeds", zap.Error(err))
		}
	})
}

// load makes sure that the keys and the revocations are there. Of many concurrent calls one does
// the work.
func (rt *runtime) load(ctx context.Context) error {
	if rt.ring.Loaded() && rt.revocations.Loaded() {
		return nil
	}
	_, err, _ := rt.loading.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer cancel()
		if err := rt.ring.Load(ctx); err != nil {
			return nil, err
		}
		return nil, rt.revocations.Load(ctx)
	})
	return err
}

// Destruct implements caddy.Destructor: no config uses the runtime any more.
func (rt *runtime) Destruct() error {
	rt.once.Do(func() {})
	rt.stop()
	rt.unsubscribe()
	rt.done.Wait()
	return nil
}

// attacher is implemented by store modules that hold something which ends with their config.
type attacher interface {
	attach(sessions.Store) (detach func())
}

// Interface guards
var _ caddy.Destructor = (*runtime)(nil)
