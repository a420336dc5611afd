package clients

import (
	"context"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Config says which clients a Registry knows.
type Config struct {
	// Ring seals the ids of dynamic clients and derives their secrets.
	Ring *sessions.Ring
	// Tenant is the issuer. A client id sealed for one tenant is unknown to all others.
	Tenant string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Static are the preregistered clients, each as CheckStatic returned it.
	Static []Client
	// DynamicRegistration lets clients register themselves. Without it, those that did so before are
	// unknown, too.
	DynamicRegistration bool
	// PrivateSchemes are allowed for redirect URIs in addition to the built-in ones and to reverse
	// domain names, each as CheckScheme accepts it.
	PrivateSchemes []string
}

// sealer is what a Registry needs of a key ring.
type sealer interface {
	Seal(k sessions.Kind, tenant string, plaintext []byte) (string, error)
	Open(k sessions.Kind, tenant, sealed string) ([]byte, error)
	Derive(k sessions.Kind, tenant, sealedID string) (string, error)
}

// Registry finds, registers and authenticates clients. It is safe for concurrent use.
type Registry struct {
	config  Config
	ring    sealer
	static  map[string]*Client
	schemes schemes
	now     func() time.Time
}

// New returns a Registry. It does no I/O.
func New(config Config) *Registry {
	g := &Registry{
		config: config, ring: config.Ring, static: make(map[string]*Client, len(config.Static)),
		schemes: newSchemes(config.PrivateSchemes), now: config.Now,
	}
	if g.now == nil {
		g.now = time.Now
	}
	for _, c := range config.Static {
		c.Source, c.schemes = Preregistered, g.schemes
		g.static[c.ID] = &c
	}
	return g
}

// Lookup returns the client that clientID names. The error is ErrUnknown or ErrUnavailable.
func (g *Registry) Lookup(ctx context.Context, clientID string) (*Client, error) {
	if c, ok := g.static[clientID]; ok {
		return c, nil
	}
	if g.config.DynamicRegistration && strings.HasPrefix(clientID, sessions.ClientID.Prefix()) {
		return g.openID(clientID)
	}
	return nil, ErrUnknown
}

var _ sealer = (*sessions.Ring)(nil)
