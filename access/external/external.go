// Package external checks the access tokens of an authorization server that somebody else runs: JWTs
// by the issuer's keys (RFC 9068), others by asking the issuer (RFC 7662). It hands back whom a token
// stands for, and knows nothing of Caddy, of HTTP requests to be guarded or of who may use what.
package external

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

var (
	// ErrInvalid means that a token is not good here: malformed, forged, expired, ended, of another
	// issuer or for another resource.
	ErrInvalid = errors.New("not a valid token of the authorization server")

	// ErrExpired and ErrAudience are the kinds of ErrInvalid that happen to honest clients: the token has
	// expired, or is for another resource. Whether it is genuine was not looked at.
	ErrExpired  = fmt.Errorf("%w: it has expired", ErrInvalid)
	ErrAudience = fmt.Errorf("%w: it is for another resource", ErrInvalid)

	// ErrUnavailable means that it cannot be told now whether a token is good.
	ErrUnavailable = errors.New("authorization server not available")

	// ErrScope means that a good token lacks a required scope.
	ErrScope = errors.New("token lacks a required scope")
)

// Config says how to check the tokens of one issuer.
type Config struct {
	// Issuer is the issuer identifier, exactly as it stands in tokens and in the issuer's metadata.
	Issuer string

	// Audiences are values of aud that are accepted beside the resource's own identifier.
	Audiences []string
	// AllowMissingAudience accepts tokens without any aud, from issuers that cannot be made to write
	// one. It needs RequiredScopes, which then say what a token was issued for.
	AllowMissingAudience bool

	// JWKS is the address of the issuer's key set. Default: as the issuer's metadata says.
	JWKS string
	// Introspection is where to ask about tokens. Nil: only JWTs are accepted. Without JWKS, it is
	// asked about JWTs too, so that the issuer can end one before its time.
	Introspection *Introspection

	// Algorithms are the accepted signature algorithms. Default: RS256, PS256, ES256, EdDSA.
	Algorithms []string
	// RequireAccessTokenType accepts only JWTs that say they are access tokens (RFC 9068, section
	// 2.1). Otherwise those that call themselves just JWT, or nothing, are accepted too.
	RequireAccessTokenType bool

	// Names are the claims that describe the person. Default: those of OpenID Connect, and groups.
	Names identity.ClaimNames
	// ScopesClaim is the claim with the scopes. Default: scope, else scp.
	ScopesClaim string
	// ClientClaim is the claim with the client's id. Default: the first of client_id, azp, cid and
	// appid that there is.
	ClientClaim string

	// RequiredScopes are needed for everything.
	RequiredScopes []string

	// HTTPClient gives the transport and the timeout, if not nil.
	HTTPClient *http.Client
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Introspection is an endpoint to ask about tokens (RFC 7662).
type Introspection struct {
	URL string
	// ClientID and ClientSecret authenticate the request by HTTP Basic.
	ClientID, ClientSecret string
	// BearerToken authenticates it instead.
	BearerToken string
}

// Token is what a good token says.
type Token struct {
	// User is the person, or the client itself where there is none.
	User identity.User
	// ClientID is the OAuth client that the token was issued to, as the issuer names it; "" if it does
	// not say.
	ClientID string
	// Scope is separated by spaces.
	Scope string
	// ExpiresAt is zero if the issuer does not say.
	ExpiresAt time.Time

	audience []string
}

// Server checks the tokens of one issuer. It is safe for concurrent use.
type Server struct {
	config     Config
	algorithms []jose.SignatureAlgorithm
	remote     *identity.Remote
	keys       func(context.Context) (*identity.KeySet, error)

	good *cache // of tokens
	bad  *cache // of tokens that the issuer, asked about them, has refused

	asking    singleflight.Group
	questions chan struct{}
	outage    outage
}

// New checks the configuration. It does no I/O: an issuer that is down does not keep a server from
// starting.
func New(c Config) (*Server, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("authorization_server %s: %w", c.Issuer, err)
	}
	c = c.withDefaults()
	s := &Server{
		config:    c,
		remote:    identity.NewRemote(c.HTTPClient, c.Now),
		good:      newCache(maxGood),
		bad:       newCache(maxBad),
		questions: make(chan struct{}, maxQuestions),
	}
	for _, name := range c.Algorithms {
		s.algorithms = append(s.algorithms, jose.SignatureAlgorithm(name))
	}
	if c.JWKS != "" {
		keys := s.remote.Keys(c.JWKS)
		s.keys = func(context.Context) (*identity.KeySet, error) { return keys, nil }
	} else {
		s.keys = s.discovered()
	}
	return s, nil
}

// Issuer is the issuer identifier.
func (s *Server) Issuer() string { return s.config.Issuer }

// RequiredScope is what a token needs to have, separated by spaces.
func (s *Server) RequiredScope() string { return strings.Join(s.config.RequiredScopes, " ") }

func (c Config) withDefaults() Config {
	if len(c.Algorithms) == 0 {
		c.Algorithms = []string{"RS256", "PS256", "ES256", "EdDSA"}
	}
	for _, name := range []struct {
		target   *string
		standard string
	}{
		{&c.Names.Subject, "sub"}, {&c.Names.Email, "email"}, {&c.Names.EmailVerified, "email_verified"},
		{&c.Names.Name, "name"}, {&c.Names.Groups, "groups"},
	} {
		if *name.target == "" {
			*name.target = name.standard
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (c Config) check() error {
	if err := identity.CheckEndpoint(c.Issuer); err != nil {
		return fmt.Errorf(`issuer %w; write it as it stands in the issuer's tokens, for example "https://login.example.com/realms/main"`, err)
	}
	if strings.ContainsAny(c.Issuer, "?#") {
		// RFC 8414, section 2.
		return errors.New("issuer has a query or a fragment; leave it away")
	}
	if c.JWKS != "" {
		if err := identity.CheckEndpoint(c.JWKS); err != nil {
			return fmt.Errorf("jwks %w", err)
		}
	}
	for _, name := range c.Algorithms {
		if err := identity.CheckAlgorithm(name); err != nil {
			return err
		}
	}
	if slices.Contains(c.Audiences, "") {
		return errors.New("audience is empty")
	}
	if c.AllowMissingAudience && len(c.RequiredScopes) == 0 {
		return errors.New("allow_missing_audience accepts every token of the issuer, whatever it was issued for; " +
			"add required_scopes with a scope that exists for this server only")
	}
	if names := c.Names; names.Email != "" && names.Email != "email" && names.EmailVerified == "" && !names.TrustUnverifiedEmail {
		return errors.New(`email_claim is not "email", and email_verified says nothing about another claim; ` +
			"add email_verified_claim, or trust_unverified_email if people cannot choose that claim themselves")
	}
	return c.Introspection.check()
}

func (i *Introspection) check() error {
	if i == nil {
		return nil
	}
	if err := identity.CheckEndpoint(i.URL); err != nil {
		return fmt.Errorf("introspection %w", err)
	}
	switch {
	case i.BearerToken != "" && i.ClientID != "":
		return errors.New("introspection: give either client_id and client_secret, or bearer_token")
	case (i.ClientID == "") != (i.ClientSecret == ""):
		return errors.New("introspection: client_id and client_secret go together")
	}
	return nil
}
