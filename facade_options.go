package mcpauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver/facade"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
)

// Facade puts this site in front of an authorization server at which MCP clients cannot register. The
// site's metadata name the site itself; clients register here, people are asked for each of them on
// this site's own page, and only then go on to the authorization server, with the one client that the
// operator registered there. Clients get its access tokens, and refresh tokens of this site's that
// stand for its own, which never leave this site.
//
// Register the redirect URL `https://<site>/oauth2/callback` at the authorization server, which also
// says how long access tokens live. Of this site's own authorization server a facade has registration,
// consent, codes, refresh tokens and revocation. It has no sessions of browsers, and so no page of
// people, no remembered consent and no credentials for upstreams; no authorization of devices, no
// introspection and no tokens for clients in their own name.
type Facade struct {
	// The client id that the authorization server gave out for this site.
	ClientID string `json:"client_id,omitempty"`

	// Its client secret, as `{env.NAME}` or `{file./path}`. Default: none; a public client.
	ClientSecret string `json:"client_secret,omitempty"`

	// What people call the authorization server. Default: the host of its issuer.
	Name string `json:"name,omitempty"`

	// The scopes to ask for each time beside those that a client wants, as the authorization server names
	// them, such as `openid` or `offline_access`. Default: none.
	Scopes []string `json:"scopes,omitempty"`

	// What stands before a resource's scopes where the authorization server is asked for them, and not
	// in its tokens, such as `api://tools/` at Entra ID. Default: nothing.
	ScopePrefix string `json:"scope_prefix,omitempty"`

	// Ask for, and show, all scopes of the resource whatever a client wants. For authorization servers
	// that put what one client was allowed into the tokens of another; without it such tokens are
	// refused. Default: `false`.
	WholeScope bool `json:"whole_scope,omitempty"`

	// Name the resource to the authorization server (RFC 8707), so that it writes it into `aud`.
	// Default: `false`; some refuse the parameter.
	ResourceIndicator bool `json:"resource_indicator,omitempty"`

	// Further parameters of the authorization request. Default: none.
	AuthParams map[string]string `json:"auth_params,omitempty"`

	// The redirect URL registered at the authorization server. It has to be on the site's own origin.
	// Default: `<issuer>/oauth2/callback`.
	RedirectURL string `json:"redirect_url,omitempty"`

	// Where people are sent, at an authorization server that publishes no metadata. Default: discovered.
	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`

	// Its token endpoint. Default: discovered.
	TokenEndpoint string `json:"token_endpoint,omitempty"`

	// Its revocation endpoint. Default: discovered; none where the others are given.
	RevocationEndpoint string `json:"revocation_endpoint,omitempty"`
}

// facadeClient is a Facade with its placeholders resolved.
type facadeClient struct {
	*facade.Client
	required    []string // scopes
	wholeScope  bool
	everywhere  bool // its tokens open every resource
	redirectURL string
}

var (
	errFacadeSecret = errors.New(`facade: client_secret is not a placeholder; write "client_secret {env.NAME}" or "client_secret {file./path}"`)
	errFacadeAmong  = errors.New("a facade sends all clients to one authorization server; take the other authorization_server out, or the facade")
)

// check finds what is wrong without resolving placeholders.
func (f *Facade) check(issuer string) error {
	if f == nil {
		return nil
	}
	if f.ClientSecret != "" && !strings.HasPrefix(f.ClientSecret, "{") {
		// A configuration is shown, copied and kept in places where no secret belongs.
		return errFacadeSecret
	}
	if err := checkRedirectURL(f.RedirectURL); err != nil {
		return fmt.Errorf("facade: %w", err)
	}
	if strings.Contains(issuer, "{") {
		return nil
	}
	_, err := f.build(issuer, f.ClientID, "")
	return err
}

func (f *Facade) build(issuer, clientID, secret string) (*facade.Client, error) {
	client, err := facade.New(facade.Settings{
		Issuer: issuer, Name: f.Name, ClientID: clientID, ClientSecret: secret,
		Scopes: f.Scopes, ScopePrefix: f.ScopePrefix, ResourceIndicator: f.ResourceIndicator, AuthParams: f.AuthParams,
		AuthorizationEndpoint: f.AuthorizationEndpoint, TokenEndpoint: f.TokenEndpoint, RevocationEndpoint: f.RevocationEndpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("facade: %w", err)
	}
	return client, nil
}

// resolve makes the client. It does no I/O.
func (f *Facade) resolve(issuer string) (*facade.Client, error) {
	issuer = caddy.NewReplacer().ReplaceAll(issuer, "")
	if err := f.check(issuer); err != nil {
		return nil, err
	}
	id, err := secretValue(f.ClientID)
	if err != nil {
		return nil, fmt.Errorf("facade: client_id: %w", err)
	}
	var secret string
	if f.ClientSecret != "" {
		if secret, err = secretValue(f.ClientSecret); err != nil {
			return nil, fmt.Errorf("facade: client_secret: %w", err)
		}
	}
	return f.build(issuer, id, secret)
}

// facadeOf makes the client of the authorization server that has a facade. Nil means that none has.
func facadeOf(configured []*AuthorizationServer) (*facadeClient, error) {
	if facadeAmongOthers(configured) {
		return nil, errFacadeAmong
	}
	for _, a := range configured {
		if a == nil || a.Facade == nil {
			continue
		}
		client, err := a.Facade.resolve(a.Issuer)
		if err != nil {
			return nil, fmt.Errorf("authorization_server %s: %w", a.Issuer, err)
		}
		return &facadeClient{
			Client: client, required: a.RequiredScopes, wholeScope: a.Facade.WholeScope, redirectURL: a.Facade.RedirectURL,
			everywhere: len(a.Audiences) > 0 || a.AllowMissingAudience,
		}, nil
	}
	return nil, nil
}

func facadeAmongOthers(servers []*AuthorizationServer) bool {
	return len(servers) > 1 && slices.ContainsFunc(servers, func(a *AuthorizationServer) bool { return a != nil && a.Facade != nil })
}

// checkFacade refuses what a facade cannot do, and would leave out in silence.
func (h *Handler) checkFacade() error {
	if h.facade == nil {
		return nil
	}
	const instead = "in a facade the authorization server issues the tokens"
	inOwnName := func(c *Client) bool { return slices.Contains(c.GrantTypes, clients.GrantClientCredentials) }
	switch {
	case h.facade.everywhere && len(h.Resources) > 1:
		return errors.New("audience and allow_missing_audience let one token open every resource of the site, and a facade asks people for one; " +
			"have the authorization server write the resource into aud, or give each resource a site of its own")
	case len(h.IntrospectionClients) > 0:
		return errors.New("introspection_client asks this site about tokens, and " + instead + "; let the MCP server ask there")
	case len(h.IDJAG) > 0:
		return errors.New("id_jag exchanges assertions for tokens of this site, and " + instead)
	case slices.ContainsFunc(h.KnownClients, inOwnName):
		return errors.New("a client with grant client_credentials gets tokens of this site, and " + instead +
			`; register it there, or give it a "token <name>"`)
	}
	return nil
}
