// Package idp is a real OpenID Connect provider for tests: the protocol is zitadel/oidc, the users,
// clients and pages are ours and live in memory. It listens on a loopback port and can be stopped
// and started again on the same one, as a provider that is down for a while.
package idp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// User is an account at the provider.
type User struct {
	Subject       string
	Email         string
	EmailVerified bool
	Name          string
	Groups        []string
	Password      string
}

// The accounts every provider starts with.
var (
	Alice = User{Subject: "sub-alice", Email: "alice@example.com", EmailVerified: true, Name: "Alice Example",
		Groups: []string{"engineering"}, Password: "alice-password-4711"}
	Bob = User{Subject: "sub-bob", Email: "bob@other.example", EmailVerified: true, Name: "Bob Other",
		Password: "bob-password-4711"}
	Mallory = User{Subject: "sub-mallory", Email: "mallory@example.com", EmailVerified: false, Name: "Mallory Example",
		Password: "mallory-password-4711"}
)

// Provider is one OpenID Connect provider.
type Provider struct {
	addr    string
	storage *storage
	handler http.Handler

	mu     sync.Mutex
	server *http.Server
}

// New prepares a provider at addr, a loopback host:port; Start makes it answer.
func New(addr string) (*Provider, error) {
	p := &Provider{addr: addr}
	var err error
	if p.storage, err = newStorage(); err != nil {
		return nil, err
	}
	for _, u := range []User{Alice, Bob, Mallory} {
		p.storage.addUser(u)
	}
	config := &op.Config{
		CryptoKeyId:    "tokens",
		CodeMethodS256: true,
		AuthMethodPost: true,

		GrantTypeRefreshToken: true,
	}
	if _, err := rand.Read(config.CryptoKey[:]); err != nil {
		return nil, fmt.Errorf("making the token key: %w", err)
	}
	provider, err := op.NewProvider(config, p.storage, op.StaticIssuer(p.Issuer()), op.WithAllowInsecure())
	if err != nil {
		return nil, fmt.Errorf("setting up the provider: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/login", op.NewIssuerInterceptor(provider.IssuerFromRequest).Handler(
		&loginPage{storage: p.storage, callback: op.AuthCallbackURL(provider)}))
	mux.Handle("/", provider)
	p.handler = mux
	return p, nil
}

// Issuer is the provider's issuer identifier.
func (p *Provider) Issuer() string { return "http://" + p.addr }

// AddClient registers a confidential client.
func (p *Provider) AddClient(id, secret string, redirectURIs ...string) {
	p.storage.addClient(id, secret, redirectURIs)
}

// AddUser creates or replaces an account.
func (p *Provider) AddUser(u User) { p.storage.addUser(u) }

// Logins counts successful password checks.
func (p *Provider) Logins() int { return p.storage.loginCount() }

// Issued lists every code and token the provider handed out, for tests that look for leaks.
func (p *Provider) Issued() []string { return p.storage.issuedSecrets() }

// Start makes the provider answer. It returns once the port is open.
func (p *Provider) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server != nil {
		return errors.New("the provider is running")
	}
	ln, err := net.Listen("tcp", p.addr)
	if err != nil {
		return fmt.Errorf("listening as the provider: %w", err)
	}
	p.server = &http.Server{Handler: p.exchangeTokens(p.storage.recordTokens(p.handler)), ReadHeaderTimeout: 10 * time.Second}
	go func(s *http.Server) { _ = s.Serve(ln) }(p.server)
	return nil
}

// Stop closes the port and every connection to it. A stopped provider may be started again.
func (p *Provider) Stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.server == nil {
		return nil
	}
	s := p.server
	p.server = nil
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		return s.Close()
	}
	return nil
}
