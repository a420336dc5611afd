package authserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const (
	issuer   = "https://mcp.example.com"
	github   = issuer + "/github"
	linear   = issuer + "/linear"
	callback = "https://client.example/cb"

	// A code verifier and its S256 challenge (RFC 7636, appendix B).
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

	secretOfConfidential = "0123456789abcdefghijklmnopqrstuvwxyz"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// resourceList is a fixed list of resources, each covering what lies below it.
type resourceList []*Resource

func (l *resourceList) Find(indicator string) *Resource {
	for _, r := range *l {
		if indicator = strings.TrimSuffix(indicator, "/"); indicator == r.URI || strings.HasPrefix(indicator, r.URI+"/") {
			return r
		}
	}
	return nil
}

func (l *resourceList) Default() *Resource {
	if len(*l) == 1 {
		return (*l)[0]
	}
	return nil
}

func (l *resourceList) All() []*Resource { return *l }

// provider is an identity provider that answers what it is told to.
type provider struct {
	id, name string
	user     identity.User
	ready    error // of Ready
	begin    error // of Begin
	finish   error // of Finish

	mu       sync.Mutex
	attempts []identity.Attempt // as Begin saw them
	finished []identity.Attempt // as Finish saw them
}

func (p *provider) ID() string                  { return p.id }
func (p *provider) Name() string                { return p.name }
func (p *provider) Ready(context.Context) error { return p.ready }

func (p *provider) Begin(_ context.Context, a identity.Attempt) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts = append(p.attempts, a)
	return "https://idp.example/authorize?state=" + url.QueryEscape(a.State), p.begin
}

func (p *provider) Finish(_ context.Context, a identity.Attempt, params url.Values) (identity.User, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished = append(p.finished, a)
	if p.finish != nil {
		return identity.User{}, p.finish
	}
	if params.Get("code") != "idp-code" {
		return identity.User{}, identity.ErrRefused
	}
	return p.user, nil
}

// passwords is a provider that checks one password.
type passwords struct{ limited bool }

func (*passwords) ID() string   { return "local" }
func (*passwords) Name() string { return "this server" }

func (p *passwords) Check(_ context.Context, _, email, password string) (identity.User, error) {
	switch {
	case p.limited:
		return identity.User{}, &identity.RateLimitedError{RetryAfter: 90 * time.Second}
	case email != alice.Email || password != "correct horse":
		return identity.User{}, identity.ErrCredentials
	}
	return alice, nil
}

// trail is an audit log that can be read.
type trail struct {
	mu     sync.Mutex
	events []audit.Event
}

func (l *trail) Record(_ context.Context, e audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// of returns the events of one type.
func (l *trail) of(kind audit.Type) []audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.events), func(e audit.Event) bool { return e.Type != kind })
}

// allowed returns the events of one type that are no refusals.
func (l *trail) allowed(kind audit.Type) []audit.Event {
	return slices.DeleteFunc(l.of(kind), func(e audit.Event) bool { return !e.Allowed })
}

var (
	alice = identity.User{
		Issuer: "https://idp.example", Subject: "alice", Email: "alice@example.com", EmailVerified: true,
		Name: "Alice", Groups: []string{"engineering"},
	}
	bob = identity.User{Issuer: "https://idp.example", Subject: "bob", Email: "bob@example.com", EmailVerified: true}
)

// world is a server with everything it needs, two resources and three clients.
type world struct {
	*Server
	t         *testing.T
	clock     *clock
	store     *failingStore
	idp       *provider
	trail     *trail
	resources *resourceList
}

// newWorld makes a world; change may alter the configuration before the server is made.
func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{
		t:     t,
		clock: &clock{now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)},
		idp:   &provider{id: "oidc", name: "Example ID", user: alice},
		trail: new(trail),
	}
	w.store = &failingStore{Store: memstore.New(w.clock.Now)}
	w.resources = &resourceList{
		{URI: github, Name: "GitHub tools", Scopes: []string{"github:read", "github:write"}},
		{URI: linear},
	}
	ring := must(sessions.NewRing(sessions.RingConfig{Store: w.store, Now: w.clock.Now}))(t)
	revocations := sessions.NewRevocations(w.store, w.clock.Now)
	if err := errors.Join(ring.Load(t.Context()), revocations.Load(t.Context())); err != nil {
		t.Fatal(err)
	}
	config := Config{
		Issuer:    issuer,
		Resources: w.resources,
		Clients: clients.New(clients.Config{
			Ring: ring, Tenant: issuer, Now: w.clock.Now, DynamicRegistration: true,
			Static: []clients.Client{
				static(t, clients.Client{ID: "web", Name: "Web client", RedirectURIs: []string{callback}}),
				static(t, clients.Client{ID: "other", Name: "Other client", RedirectURIs: []string{"https://other.example/cb", "https://other.example/cb2"}}),
				static(t, clients.Client{
					ID: "confidential", RedirectURIs: []string{callback},
					Secret: must(clients.HashSecret(secretOfConfidential))(t),
				}),
				static(t, clients.Client{ID: "native", Name: "Editor", RedirectURIs: []string{"cursor://anysphere.cursor-mcp/oauth/callback", "http://127.0.0.1/callback"}}),
				static(t, clients.Client{ID: "short", RedirectURIs: []string{callback}, GrantTypes: []string{"authorization_code"}}),
			},
		}),
		Providers:  []identity.Provider{w.idp},
		Policy:     policy(t, access.Rule{Kind: access.Domain, Value: "example.com"}),
		Vault:      &sessions.Vault{Ring: ring, Store: w.store, Revocations: revocations, Tenant: issuer, Now: w.clock.Now},
		Cookies:    sessions.Cookies{Secure: true},
		Lifetimes:  DefaultLifetimes(),
		ClientAddr: func(*http.Request) string { return "192.0.2.1" },
		SiteName:   "Example",
		Audit:      w.trail,
		Logger:     zap.NewNop(),
		Now:        w.clock.Now,
	}
	for _, f := range change {
		f(&config)
	}
	w.Server = New(config)
	return w
}

// withPasswords makes people sign in with a password.
func withPasswords(p *passwords) func(*Config) {
	return func(c *Config) { c.Providers = []identity.Provider{p} }
}

func static(t *testing.T, c clients.Client) clients.Client {
	t.Helper()
	return must(clients.CheckStatic(c, nil))(t)
}

func policy(t *testing.T, rules ...access.Rule) *access.Policy {
	t.Helper()
	return must(access.NewPolicy(rules))(t)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// Interface guards
var (
	_ identity.Redirecting = (*provider)(nil)
	_ identity.Password    = (*passwords)(nil)
	_ Resources            = (*resourceList)(nil)
	_ audit.Recorder       = (*trail)(nil)
)
