// Package facade is the provider's side of a facade: an authorization server without registration, at which
// the operator registered one client. It sends browsers there with that client, and takes back access
// tokens that are good for a resource of ours, or says why they are not. Who asked for them, whether a
// person agreed, and where they are kept is authserver's business.
package facade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
)

// ID is the provider's id in logs and records.
const ID = "facade"

const (
	// finishTimeout bounds everything that one callback asks of the provider: a person waits.
	finishTimeout = 14 * time.Second
	// maxConcurrent bounds how many callers wait for the provider at the same time.
	maxConcurrent = 64
)

// Settings are what the operator says about the client. They are the same for all sites that use it.
type Settings struct {
	// Issuer is the provider's issuer identifier, Name what people call it. Default: the issuer's host.
	Issuer, Name string

	// ClientID and ClientSecret are what the provider gave out. No secret: a public client.
	ClientID, ClientSecret string

	// Scopes are asked for each time, as the provider names them; openid among them means that there is
	// an ID token to be checked.
	Scopes []string

	// ScopePrefix stands before the scopes of a resource where the provider is asked for them, and is
	// missing in its tokens.
	ScopePrefix string

	// ResourceIndicator asks for tokens by the resource parameter (RFC 8707).
	ResourceIndicator bool

	// AuthParams are further parameters of the authorization request.
	AuthParams map[string]string

	// The endpoints of a provider that publishes no metadata: the first two together, or neither.
	AuthorizationEndpoint, TokenEndpoint, RevocationEndpoint string

	Now func() time.Time
}

// Client is the one client that a provider knows. It is safe for concurrent use.
type Client struct {
	settings Settings
	oauth    *oauthclient.Client
	slots    chan struct{}
}

// reservedParams belong to the flow itself; setting them would undo what protects it, or bring the
// answer where it is not read.
var reservedParams = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "request", "request_uri",
}

// New checks the settings. It does no I/O.
func New(s Settings) (*Client, error) {
	for name := range s.AuthParams {
		if name == "" || slices.Contains(reservedParams, name) {
			return nil, fmt.Errorf("auth_param %q cannot be set: the sign-in needs it", name)
		}
		if name == "resource" && s.ResourceIndicator {
			return nil, errors.New("auth_param resource and resource_indicator are two ways to say the same; keep one")
		}
	}
	if strings.ContainsAny(s.ScopePrefix, " \"\\") {
		return nil, fmt.Errorf("scope_prefix %q has characters that scopes cannot have (RFC 6749, section 3.3)", s.ScopePrefix)
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if u, err := url.Parse(s.Issuer); err == nil && s.Name == "" {
		s.Name = u.Hostname()
	}
	client, err := oauthclient.New(oauthclient.Config{
		Server: s.Issuer, IssuerOnly: true, ClientID: s.ClientID, ClientSecret: s.ClientSecret, Scopes: s.Scopes,
		AuthorizationEndpoint: s.AuthorizationEndpoint, TokenEndpoint: s.TokenEndpoint, RevocationEndpoint: s.RevocationEndpoint,
		// The operator vouches for it, as for an identity provider, and its tokens are as long as the guard takes.
		Transport: identity.Transport(), MaxToken: external.MaxToken, Now: s.Now,
	})
	if err != nil {
		return nil, err
	}
	return &Client{settings: s, oauth: client, slots: make(chan struct{}, maxConcurrent)}, nil
}

// Provider is a client's provider at one site. It implements authserver.Relay.
type Provider struct {
	*Client
	tokens external.Servers
	here   func(resource, audience string) bool
}

// At returns the provider for a site whose guard checks access tokens with tokens. here tells whether a value
// of aud is the resource; for an empty resource, whether it is any one of the site.
func (c *Client) At(tokens external.Servers, here func(resource, audience string) bool) *Provider {
	return &Provider{Client: c, tokens: tokens, here: here}
}

// ID implements identity.Provider.
func (*Client) ID() string { return ID }

// Name implements identity.Provider.
func (c *Client) Name() string { return c.settings.Name }

// Ready tells whether somebody could be sent to the provider now.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.oauth.Metadata(ctx)
	return down(err)
}

// Begin implements identity.Redirecting.
func (p *Provider) Begin(ctx context.Context, a identity.Attempt) (string, error) {
	// RFC 7636, section 4.1, for the verifier.
	if a.State == "" || a.Nonce == "" || a.RedirectURI == "" || a.Resource == "" || len(a.Verifier) < 43 || len(a.Verifier) > 128 {
		return "", errors.New("beginning a sign-in: attempt is incomplete")
	}
	md, err := p.oauth.Metadata(ctx)
	if err != nil {
		return "", down(err)
	}
	params := make(url.Values)
	for name, value := range p.settings.AuthParams {
		params.Set(name, value)
	}
	if a.LoginHint != "" {
		params.Set("login_hint", a.LoginHint)
	}
	if prompt := joinPrompts(p.settings.AuthParams["prompt"], a.Prompt); prompt != "" {
		params.Set("prompt", prompt)
	}
	if p.openID() {
		params.Set("nonce", a.Nonce)
	}
	if p.settings.ResourceIndicator {
		params.Set("resource", a.Resource)
	}
	var scopes []string
	for scope := range strings.FieldsSeq(a.Scope) {
		scopes = append(scopes, p.settings.ScopePrefix+scope)
	}
	return p.oauth.AuthorizeURL(md, oauthclient.Authorization{
		State: a.State, Verifier: a.Verifier, RedirectURI: a.RedirectURI, Scopes: scopes, Params: params,
	})
}

// Finish implements identity.Redirecting.
func (p *Provider) Finish(ctx context.Context, a identity.Attempt, params url.Values) (identity.User, error) {
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	if err := p.enter(ctx); err != nil {
		return identity.User{}, err
	}
	defer p.leave()
	md, err := p.oauth.Metadata(ctx)
	if err != nil {
		return identity.User{}, down(err)
	}
	code, err := md.Code(params)
	switch {
	case errors.Is(err, oauthclient.ErrDeclined):
		return identity.User{}, fmt.Errorf("%w: %w", identity.ErrDenied, err)
	case err != nil:
		return identity.User{}, fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
	issued, err := p.oauth.Exchange(ctx, code, a.Verifier, a.RedirectURI, p.indicator(a.Resource))
	switch {
	case errors.Is(err, oauthclient.ErrServerDown):
		return identity.User{}, down(err)
	case err != nil:
		return identity.User{}, fmt.Errorf("%w: %w", identity.ErrRefused, err)
	}
	user, err := p.judge(ctx, issued, a)
	if err != nil {
		// It is nobody's. What the provider says to that changes nothing.
		_ = p.oauth.Revoke(ctx, issued.Access, issued.Refresh)
	}
	return user, err
}

// judge makes a user of what was issued for an attempt.
func (p *Provider) judge(ctx context.Context, issued oauthclient.Tokens, a identity.Attempt) (identity.User, error) {
	if p.openID() {
		if err := p.checkIDToken(issued.IDToken, a.Nonce); err != nil {
			return identity.User{}, fmt.Errorf("%w: its ID token %w", identity.ErrRefused, err)
		}
	}
	return p.check(ctx, kept{Resource: a.Resource, Refresh: issued.Refresh}, issued)
}

// check lets the guard's own judge say whether an access token is good for the resource of k, and whose it is.
func (p *Provider) check(ctx context.Context, k kept, issued oauthclient.Tokens) (identity.User, error) {
	t, err := p.tokens.Check(ctx, issued.Access, func(audience string) bool { return p.here(k.Resource, audience) })
	missing := new(external.MissingScope)
	switch {
	case err == nil:
	case errors.Is(err, external.ErrUnavailable):
		return identity.User{}, fmt.Errorf("%w: %w", identity.ErrUnavailable, err)
	case errors.Is(err, external.ErrAudience):
		return identity.User{}, &authserver.UnfitError{Why: authserver.OtherAudience, Err: err}
	case errors.As(err, &missing):
		return identity.User{}, &authserver.UnfitError{Why: authserver.TooNarrow, Scope: missing.Needed}
	default:
		return identity.User{}, &authserver.UnfitError{Why: authserver.Unreadable, Err: err}
	}
	if p.opensOthers(ctx, k.Resource, issued.Access) {
		return identity.User{}, &authserver.UnfitError{Why: authserver.TooWide}
	}
	k.Access, k.Scope, k.ExpiresAt = issued.Access, t.Scope, issued.Expires
	if !t.ExpiresAt.IsZero() && (k.ExpiresAt.IsZero() || t.ExpiresAt.Before(k.ExpiresAt)) {
		k.ExpiresAt = t.ExpiresAt
	}
	user := t.User
	user.Upstream, err = json.Marshal(k)
	return user, err
}

// opensOthers reports whether a good token is for other resources of the site, too: people are asked for one.
func (p *Provider) opensOthers(ctx context.Context, resource, token string) (others bool) {
	_, _ = p.tokens.Check(ctx, token, func(audience string) bool {
		others = others || p.here("", audience) && !p.here(resource, audience)
		return false // so that it goes on to the next
	})
	return others
}

// indicator names the resource in a token request, if the provider is to be told so.
func (p *Provider) indicator(resource string) url.Values {
	if !p.settings.ResourceIndicator {
		return nil
	}
	return url.Values{"resource": {resource}}
}

// joinPrompts adds what an attempt asks for to what the operator always wants (OpenID Connect Core
// 1.0, section 3.1.2.1: a list), so that a client cannot ask the operator's wish away.
func joinPrompts(always, now string) string {
	values := strings.Fields(always)
	if now != "" && !slices.Contains(values, now) && !slices.Contains(values, "none") {
		values = append(values, now)
	}
	return strings.Join(values, " ")
}

// enter waits for a place. The error is identity.ErrUnavailable.
func (c *Client) enter(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for others", identity.ErrUnavailable)
	}
}

func (c *Client) leave() { <-c.slots }

// down is err for callers who know the errors of identity.
func down(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", identity.ErrUnavailable, err)
}

// Interface guards
var _ authserver.Relay = (*Provider)(nil)
