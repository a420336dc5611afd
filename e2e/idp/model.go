package idp

import (
	"crypto/ecdsa"
	"net/url"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
}

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k signingKey) Key() any                                    { return k.private }
func (k signingKey) ID() string                                  { return k.id }

type publicKey struct{ signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return &k.private.PublicKey }

// authRequest is one login at the provider, from the authorization request to the code.
type authRequest struct {
	id       string
	request  oidc.AuthRequest
	subject  string
	done     bool
	authTime time.Time
	audience []string // beside the client
}

// copy keeps the library's view apart from the record that a concurrent login may change.
func (a *authRequest) copy() *authRequest { c := *a; return &c }

func (a *authRequest) GetID() string    { return a.id }
func (a *authRequest) GetACR() string   { return "" }
func (a *authRequest) GetAMR() []string { return []string{"pwd"} }
func (a *authRequest) GetAudience() []string {
	return append([]string{a.request.ClientID}, a.audience...)
}
func (a *authRequest) GetAuthTime() time.Time             { return a.authTime }
func (a *authRequest) GetClientID() string                { return a.request.ClientID }
func (a *authRequest) GetNonce() string                   { return a.request.Nonce }
func (a *authRequest) GetRedirectURI() string             { return a.request.RedirectURI }
func (a *authRequest) GetResponseType() oidc.ResponseType { return a.request.ResponseType }
func (a *authRequest) GetResponseMode() oidc.ResponseMode { return a.request.ResponseMode }
func (a *authRequest) GetScopes() []string                { return a.request.Scopes }
func (a *authRequest) GetState() string                   { return a.request.State }
func (a *authRequest) GetSubject() string                 { return a.subject }
func (a *authRequest) Done() bool                         { return a.done }

func (a *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	if a.request.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: a.request.CodeChallenge, Method: a.request.CodeChallengeMethod}
}

// client is a confidential web client, as an operator registers the edge.
type client struct {
	id, secret   string
	redirectURIs []string
	logoutURIs   []string
	resource     *Resource // whose tokens it gets; nil: the provider's own
}

func (c *client) GetID() string                       { return c.id }
func (c *client) RedirectURIs() []string              { return c.redirectURIs }
func (c *client) PostLogoutRedirectURIs() []string    { return c.logoutURIs }
func (c *client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c *client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c *client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c *client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}
func (c *client) LoginURL(id string) string           { return "/login?request=" + url.QueryEscape(id) }
func (c *client) AccessTokenType() op.AccessTokenType { return c.resource.tokenType() }
func (c *client) IDTokenLifetime() time.Duration      { return tokenLife }
func (c *client) DevMode() bool                       { return true } // plain-http redirects on loopback
func (c *client) IsScopeAllowed(scope string) bool    { return scope == "groups" || c.resource.has(scope) }
func (c *client) ClockSkew() time.Duration            { return 0 }

// IDTokenUserinfoClaimsAssertion puts the e-mail address into the ID token, as the large providers do.
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return true }

func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

var (
	_ op.AuthRequest = (*authRequest)(nil)
	_ op.Client      = (*client)(nil)
)
