package mcpauth

import (
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// Credentials puts a credential of each person on the requests that reach the upstream of a resource.
// People give it on their own page, below `/credentials`: a token that they type in, or an account that they connect. Calls
// of people who have given none are answered with an error that names that page. Handlers that come after
// this one see the credential, as the upstream does.
type Credentials struct {
	// The request header that carries it. What clients send under that name is removed. Caddy's debug
	// log hides the values of `Authorization` only. Default: `Authorization`.
	Header string `json:"header,omitempty"`

	// The value of the header; `{credential}` stands for the credential. Nothing else is replaced.
	// Default: `Bearer {credential}` in `Authorization`, else `{credential}`.
	Value string `json:"value,omitempty"`

	// What people are told about where to get one. Default: nothing.
	Hint string `json:"hint,omitempty"`

	// How people connect an account by the upstream's own OAuth. Default: they type a token in.
	OAuth *CredentialsOAuth `json:"oauth,omitempty"`

	header credentials.Header
	oauth  *oauthclient.Client
}

// CredentialsOAuth is a client at the authorization server of an upstream. Its redirect URL, to be
// registered there, is `<issuer>/oauth2/connect/<path of the resource>/callback`.
type CredentialsOAuth struct {
	// The issuer of the authorization server, or the URL of an MCP server that names it.
	Server string `json:"server,omitempty"`

	// The client id that is registered there.
	ClientID string `json:"client_id,omitempty"`

	// Its secret, as `{env.NAME}` or `{file./path}`. Default: none; a public client.
	ClientSecret string `json:"client_secret,omitempty"`

	// The scopes to ask for. Default: those that the server gives unasked.
	Scopes []string `json:"scopes,omitempty"`

	// Where people are sent, at a server that publishes no metadata. Default: discovered.
	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`

	// Its token endpoint. Default: discovered.
	TokenEndpoint string `json:"token_endpoint,omitempty"`

	// Its revocation endpoint. Default: discovered; none where the others are given.
	RevocationEndpoint string `json:"revocation_endpoint,omitempty"`

	// What the tokens are for (RFC 8707). Default: the MCP server, if `server` is one.
	Resource string `json:"resource,omitempty"`

	// Let the authorization server's endpoints lie in private networks. Default: `false`.
	PrivateNetworks bool `json:"private_networks,omitempty"`
}

// load checks the settings and resolves the secret. It does no I/O.
func (c *Credentials) load() error {
	if c == nil {
		return nil
	}
	var err error
	if c.header, err = c.parseHeader(); err != nil || c.OAuth == nil {
		return err
	}
	secret := ""
	if c.OAuth.ClientSecret != "" {
		if secret, err = secretValue(c.OAuth.ClientSecret); err != nil {
			return fmt.Errorf("client_secret: %w", err)
		}
	}
	id := c.OAuth.ClientID
	if id != "" {
		if id, err = secretValue(id); err != nil {
			return fmt.Errorf("client_id: %w", err)
		}
	}
	c.oauth, err = c.OAuth.client(id, secret)
	return err
}

func (o *CredentialsOAuth) client(id, secret string) (*oauthclient.Client, error) {
	client, err := oauthclient.New(oauthclient.Config{
		Server: o.Server, ClientID: id, ClientSecret: secret, Scopes: o.Scopes,
		AuthorizationEndpoint: o.AuthorizationEndpoint, TokenEndpoint: o.TokenEndpoint, RevocationEndpoint: o.RevocationEndpoint,
		Resource: o.Resource, PrivateNetworks: o.PrivateNetworks,
	})
	if err != nil {
		return nil, fmt.Errorf("credentials oauth: %w", err)
	}
	return client, nil
}

func (c *Credentials) parseHeader() (credentials.Header, error) {
	header, err := credentials.ParseHeader(c.Header, c.Value)
	if err != nil {
		return header, err
	}
	if !strings.EqualFold(header.Name, "Authorization") {
		if sseproxy.CheckHeaderName(header.Name) != nil {
			return header, fmt.Errorf("header %s: HTTP or MCP gives that name another meaning; write header Authorization, or a name of your upstream's, such as X-Api-Key", header.Name)
		}
	}
	return header, nil
}

// checkCredentials finds headers that tell the upstream something else already, and logs that would show
// credentials.
func (h *Handler) checkCredentials() error {
	for _, r := range h.Resources {
		if r.Credentials == nil {
			continue
		}
		if len(h.providers) == 0 {
			return fmt.Errorf("resource %s: %w", r.Paths[0], errCredentialsWithoutSignIn)
		}
		if h.portalPath() == "" {
			return fmt.Errorf("resource %s: %w", r.Paths[0], errCredentialsWithoutPage)
		}
		name := r.Credentials.header.Name
		for _, other := range h.IdentityAssertion.identityHeaders() {
			if strings.EqualFold(other.Name, name) {
				return fmt.Errorf("resource %s: credentials: header %s tells the upstream who is calling; choose another", r.Paths[0], name)
			}
		}
		if !strings.EqualFold(name, "Authorization") && h.logger.Core().Enabled(zap.DebugLevel) {
			h.logger.Warn("the debug log of reverse_proxy shows people's credentials; Caddy hides the values of Authorization only",
				zap.String("resource", r.Paths[0]), zap.String("header", name))
		}
	}
	return nil
}

var (
	errCredentialsWithoutPage   = errors.New("credentials are given on people's own page; take out \"portal off\"")
	errCredentialsWithoutSignIn = errors.New("credentials are given by people who sign in on this site; add oidc, github or local")
)
