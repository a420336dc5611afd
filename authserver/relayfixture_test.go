package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// issuing is the provider of a facade: it issues tokens of its own and takes each refresh token once.
type issuing struct {
	provider
	clock *clock

	mu         sync.Mutex
	count      int
	current    map[string]bool   // refresh tokens that are good
	owners     map[string]string // subjects, by access token
	scope      string            // what its next tokens are good for; "": what was asked for
	life       time.Duration     // of its next access tokens; 0: it does not say
	noRefresh  bool
	err        error // of Recheck
	unfit      bool  // the next token that Recheck gets is
	down       bool  // nothing can be revoked now
	revoked    []string
	refreshing chan struct{} // if not nil, Recheck waits for it
}

// bundle is what the upstream of a person holds.
type bundle struct {
	Access, Refresh, Asked, Scope, Subject string
	ExpiresAt                              time.Time
}

func (p *issuing) issue(subject, scope string) bundle {
	p.count++
	b := bundle{Access: fmt.Sprintf("provider-access-%d", p.count), Subject: subject, Asked: scope, Scope: scope}
	if p.scope != "" {
		b.Scope = p.scope
	}
	if !p.noRefresh {
		b.Refresh = fmt.Sprintf("provider-refresh-%d", p.count)
		p.current[b.Refresh] = true
	}
	if p.life > 0 {
		b.ExpiresAt = p.clock.Now().Add(p.life)
	}
	p.owners[b.Access] = subject
	return b
}

func (p *issuing) pack(b bundle) []byte {
	packed, err := json.Marshal(b)
	if err != nil {
		panic(err)
	}
	return packed
}

func (p *issuing) Finish(ctx context.Context, a identity.Attempt, params url.Values) (identity.User, error) {
	user, err := p.provider.Finish(ctx, a, params)
	if err != nil {
		return user, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	user.Upstream = p.pack(p.issue(user.Subject, a.Scope))
	return user, nil
}

func (p *issuing) Recheck(_ context.Context, upstream []byte) (identity.User, []byte, error) {
	p.mu.Lock()
	hold := p.refreshing
	p.mu.Unlock()
	if hold != nil {
		<-hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var old bundle
	if err := json.Unmarshal(upstream, &old); err != nil {
		return identity.User{}, nil, err
	}
	if p.err != nil {
		return identity.User{}, nil, p.err
	}
	if !p.current[old.Refresh] {
		return identity.User{}, nil, fmt.Errorf("%w: refresh token used twice", identity.ErrDenied)
	}
	delete(p.current, old.Refresh)
	next := p.issue(old.Subject, old.Asked)
	if p.unfit {
		old.Refresh = next.Refresh
		return identity.User{}, p.pack(old), &UnfitError{Why: OtherAudience}
	}
	user := p.user
	user.Upstream = p.pack(next)
	return user, user.Upstream, nil
}

func (p *issuing) Issued(upstream []byte) (Issued, error) {
	var b bundle
	err := json.Unmarshal(upstream, &b)
	return Issued{AccessToken: b.Access, Scope: b.Scope, ExpiresAt: b.ExpiresAt, Refreshable: b.Refresh != ""}, err
}

func (p *issuing) Owner(_ context.Context, token string) (identity.User, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.down:
		return identity.User{}, identity.ErrUnavailable
	case p.owners[token] == "":
		return identity.User{}, errors.New("not a token of the provider")
	}
	return identity.User{Issuer: p.user.Issuer, Subject: p.owners[token]}, nil
}

func (p *issuing) Revoke(_ context.Context, upstream []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b bundle
	if err := json.Unmarshal(upstream, &b); err != nil {
		return err
	}
	if p.down {
		return identity.ErrUnavailable
	}
	delete(p.current, b.Refresh)
	p.revoked = append(p.revoked, b.Refresh, b.Access)
	return nil
}

func (p *issuing) RevokeAccess(_ context.Context, token string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return identity.ErrUnavailable
	}
	p.revoked = append(p.revoked, token)
	return nil
}

func (p *issuing) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// took reports whether all of it was given back to the provider.
func (p *issuing) took(back ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(back, func(token string) bool { return !slices.Contains(p.revoked, token) })
}

// issues counts the access tokens that the provider has issued.
func (p *issuing) issues() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func newFacade(t *testing.T, change ...func(*Config)) (*world, *issuing) {
	t.Helper()
	p := &issuing{
		provider: provider{id: "facade", name: "Company ID", user: alice},
		current:  make(map[string]bool), owners: make(map[string]string), life: time.Hour,
	}
	w := newWorld(t, append([]func(*Config){func(c *Config) {
		c.Providers, c.Relay = []identity.Provider{p}, p
	}}, change...)...)
	p.clock, w.idp = w.clock, &p.provider
	return w, p
}

// accepts reports whether the guard would still take an access token of the provider's.
func (w *world) accepts(token string) bool {
	return !w.Vault.Revocations.Revoked(w.Vault.TokenID(token))
}

// relayedTokens goes the whole way and fails the test without tokens, of which one is the provider's.
func (w *world) relayedTokens(change ...string) tokens {
	w.t.Helper()
	got := w.exchange(w.newBrowser().code(change...))
	if got.status != 200 || !strings.HasPrefix(got.AccessToken, "provider-access-") || !strings.HasPrefix(got.RefreshToken, "mcprt_") {
		w.t.Fatalf("status %d: %s", got.status, got.body)
	}
	return got
}

var _ Relay = (*issuing)(nil)
