package facade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
)

// renewTimeout bounds a refresh: a client waits, and has no page to show meanwhile.
const renewTimeout = 10 * time.Second

// kept is what an identity.User's Upstream holds.
type kept struct {
	Resource  string    `json:"t"`
	Access    string    `json:"a"`
	Refresh   string    `json:"r,omitempty"`
	Scope     string    `json:"s,omitempty"`
	ExpiresAt time.Time `json:"e,omitzero"`
}

func open(upstream []byte) (kept, error) {
	var k kept
	if json.Unmarshal(upstream, &k) != nil || k.Access == "" || k.Resource == "" {
		return kept{}, errors.New("what the provider issued cannot be read")
	}
	return k, nil
}

// Issued implements authserver.Relay.
func (*Provider) Issued(upstream []byte) (authserver.Issued, error) {
	k, err := open(upstream)
	return authserver.Issued{
		AccessToken: k.Access, Scope: k.Scope, ExpiresAt: k.ExpiresAt, Refreshable: k.Refresh != "",
	}, err
}

// Recheck implements identity.Rechecker: it gets another access token.
func (p *Provider) Recheck(ctx context.Context, upstream []byte) (identity.User, []byte, error) {
	k, err := open(upstream)
	if err != nil {
		return identity.User{}, nil, fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
	if k.Refresh == "" {
		return identity.User{}, nil, fmt.Errorf("%w: the provider gave no refresh token", identity.ErrDenied)
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	if err := p.enter(ctx); err != nil {
		return identity.User{}, nil, err
	}
	defer p.leave()
	issued, err := p.oauth.Refresh(ctx, k.Refresh, p.indicator(k.Resource))
	switch {
	case errors.Is(err, oauthclient.ErrGrantEnded):
		return identity.User{}, nil, fmt.Errorf("%w: %w", identity.ErrDenied, err)
	case errors.Is(err, oauthclient.ErrServerDown):
		return identity.User{}, nil, down(err)
	case err != nil:
		// It speaks of our client, not of the person.
		return identity.User{}, nil, fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
	// From here on the new refresh token is kept whatever happens: the old one may be void.
	if issued.Refresh != "" {
		k.Refresh = issued.Refresh
	}
	user, err := p.check(ctx, k, issued)
	if err != nil {
		replaced, packing := json.Marshal(k)
		return identity.User{}, replaced, errors.Join(err, packing)
	}
	return user, user.Upstream, nil
}

// Owner implements authserver.Relay.
func (p *Provider) Owner(ctx context.Context, accessToken string) (identity.User, error) {
	t, err := p.tokens.Check(ctx, accessToken, func(audience string) bool { return p.here("", audience) })
	switch {
	case errors.Is(err, external.ErrUnavailable):
		return identity.User{}, fmt.Errorf("%w: %w", identity.ErrUnavailable, err)
	case err != nil:
		return identity.User{}, err
	}
	return t.User, nil
}

// Revoke implements authserver.Relay.
func (p *Provider) Revoke(ctx context.Context, upstream []byte) error {
	k, err := open(upstream)
	if err != nil {
		return err
	}
	return p.revoked(p.oauth.Revoke(ctx, k.Access, k.Refresh))
}

// RevokeAccess implements authserver.Relay.
func (p *Provider) RevokeAccess(ctx context.Context, accessToken string) error {
	return p.revoked(p.oauth.Revoke(ctx, accessToken, ""))
}

func (*Provider) revoked(err error) error {
	if errors.Is(err, oauthclient.ErrServerDown) {
		return down(err)
	}
	return err
}
