package clients

import (
	"context"
	"slices"
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
	// RegistrationHosts, if not empty, are the only hosts whose redirect URIs may be registered
	// dynamically, each as CheckRegistrationHost accepts it: "client.example", "*.client.example" for
	// all below it, "localhost" for loopback redirects of every spelling, and a private-use scheme with
	// its colon, such as "cursor:". Clients that registered others before are unknown, too.
	RegistrationHosts []string
	// PrivateSchemes are allowed for redirect URIs in addition to the built-in ones and to reverse
	// domain names, each as CheckScheme accepts it.
	PrivateSchemes []string
	// Documents turns on client ID metadata documents; nil turns them off.
	Documents *Documents
	// Like is a registry for another tenant with the same Documents, PrivateSchemes and clock. Both share
	// the documents that were fetched, and the limit for fetching. Nil: this one has its own.
	Like *Registry
	// TokenEndpoint is the URL of the token endpoint, which client assertions may name as their
	// audience beside the issuer.
	TokenEndpoint string
	// Spend marks the identifier of a client assertion as used until ttl is over, and returns
	// sessions.ErrReused if it was already, on any replica. Without it private_key_jwt is not
	// supported, and clients that offer it are public if they offer that, too.
	Spend func(ctx context.Context, jti string, ttl time.Duration) error
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

	documents *documents
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
	switch {
	case config.Documents == nil:
	case config.Like != nil && config.Like.documents != nil:
		g.documents = config.Like.documents
	default:
		g.documents = newDocuments(*config.Documents, g.schemes, config.Spend != nil, g.now)
	}
	for _, c := range config.Static {
		c.Source, c.schemes = Preregistered, g.schemes
		g.static[c.ID] = &c
	}
	return g
}

// Registers reports whether clients may register themselves.
func (g *Registry) Registers() bool { return g.config.DynamicRegistration }

// ReadsDocuments reports whether clients may be known by a metadata document.
func (g *Registry) ReadsDocuments() bool { return g.documents != nil }

// AuthMethods lists the ways of client authentication that some client may use here, as metadata
// advertises them (RFC 8414, section 2).
func (g *Registry) AuthMethods() []string {
	methods := []string{AuthNone, AuthSecretBasic, AuthSecretPost}
	keys := g.documents != nil || slices.ContainsFunc(g.config.Static, func(c Client) bool { return c.AuthMethod == AuthPrivateKeyJWT })
	if keys && g.config.Spend != nil {
		methods = append(methods, AuthPrivateKeyJWT)
	}
	return methods
}

// Lookup returns the client that clientID names. The error is ErrUnknown or ErrUnavailable. It does I/O
// for a client with a metadata document only; see WithSource.
func (g *Registry) Lookup(ctx context.Context, clientID string) (*Client, error) {
	if c, ok := g.static[clientID]; ok {
		return c, nil
	}
	if g.documents != nil && strings.HasPrefix(clientID, "https://") {
		return g.documents.lookup(ctx, clientID)
	}
	if g.config.DynamicRegistration && strings.HasPrefix(clientID, sessions.ClientID.Prefix()) {
		return g.openID(clientID)
	}
	return nil, ErrUnknown
}

var _ sealer = (*sessions.Ring)(nil)
