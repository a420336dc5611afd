package identity

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// OIDCConfig says how to sign people in at an OpenID Connect provider.
type OIDCConfig struct {
	// ID is stable and unique within a site: letters, digits, "-" and "_".
	ID string
	// Name is for people. Default: the host of the issuer.
	Name string
	// Issuer is the provider's issuer exactly as it writes it itself: an https URL, or an http one
	// on loopback.
	Issuer string

	// ClientID and ClientSecret are what the provider gave out. Without a secret the client is a
	// public one, protected by PKCE alone.
	ClientID, ClientSecret string

	// Scopes to ask for; openid is always among them. Default: openid, email, profile.
	Scopes []string
	// AuthParams are further parameters of the authorization request, such as hd at Google.
	AuthParams map[string]string

	// GroupsClaim is the claim with the groups: an array of strings, or one string. If it is set
	// and the ID token lacks it, the UserInfo endpoint is asked. Default: groups.
	GroupsClaim string
	// EmailClaim is the claim with the e-mail address. email_verified speaks of email only, so
	// another claim needs TrustUnverifiedEmail. Default: email.
	EmailClaim string
	// TrustUnverifiedEmail takes every address for verified. Only for providers where people
	// cannot choose their address themselves.
	TrustUnverifiedEmail bool
	// RequireHostedDomain, if not empty, lets in only accounts whose hd claim (Google Workspace)
	// is one of these.
	RequireHostedDomain []string

	// DisableRecheck throws the provider's refresh tokens away, so that nobody is asked about again.
	DisableRecheck bool

	// AllowedAlgorithms are the signature algorithms of ID tokens. Default: RS256, ES256, EdDSA.
	AllowedAlgorithms []string

	// HTTPClient gives the transport and the timeout, if not nil. Redirects and sizes are limited
	// whatever it says. Default: 10 seconds.
	HTTPClient *http.Client
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// OIDC signs people in at an OpenID Connect provider, by the authorization code flow with PKCE,
// state and nonce (RFC 9700, section 2.1.1).
type OIDC struct {
	config      OIDCConfig
	wantsGroups bool
	client      *http.Client
	discovery   document[*metadata]
	slots       slots
}

// NewOIDC checks the configuration. It does no I/O: the provider is first asked when somebody
// signs in, so that a provider that is down does not keep a server from starting.
func NewOIDC(config OIDCConfig) (*OIDC, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("oidc %s: %w", config.Issuer, err)
	}
	o := &OIDC{
		wantsGroups: config.GroupsClaim != "",
		client:      newClient(config.HTTPClient),
		slots:       newSlots(),
	}
	o.config = config.withDefaults()
	o.discovery.fetch, o.discovery.now = o.discover, o.config.Now
	return o, nil
}

// ID implements Provider.
func (o *OIDC) ID() string { return o.config.ID }

// Name implements Provider.
func (o *OIDC) Name() string { return o.config.Name }

func (c OIDCConfig) withDefaults() OIDCConfig {
	if c.Name == "" {
		u, _ := url.Parse(c.Issuer)
		c.Name = u.Hostname()
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{oidc.ScopeOpenID, oidc.ScopeEmail, oidc.ScopeProfile}
	}
	// OpenID Connect Core 1.0, section 3.1.2.1: without openid there is no ID token.
	if !slices.Contains(c.Scopes, oidc.ScopeOpenID) {
		c.Scopes = append([]string{oidc.ScopeOpenID}, c.Scopes...)
	}
	if c.GroupsClaim == "" {
		c.GroupsClaim = "groups"
	}
	if c.EmailClaim == "" {
		c.EmailClaim = "email"
	}
	if len(c.AllowedAlgorithms) == 0 {
		c.AllowedAlgorithms = []string{oidc.RS256, oidc.ES256, oidc.EdDSA}
	}
	domains := make([]string, len(c.RequireHostedDomain))
	for i, d := range c.RequireHostedDomain {
		domains[i] = asciiLower(d)
	}
	c.RequireHostedDomain = domains
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// reservedParams belong to the flow itself; setting them would undo what protects it, or bring the
// answer where it is not read.
var reservedParams = []string{
	"response_type", "response_mode", "client_id", "redirect_uri", "scope", "state", "nonce",
	"code_challenge", "code_challenge_method", "request", "request_uri",
}

// safeAlgorithms are those whose verification key is public. With a symmetric one, everybody who
// can read the provider's keys could sign (RFC 8725, section 2.1).
var safeAlgorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
	oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

func (c OIDCConfig) check() error {
	if err := checkID(c.ID); err != nil {
		return err
	}
	if err := checkURL(c.Issuer, true); err != nil {
		return fmt.Errorf(`issuer %w; write it as the provider does, for example "https://accounts.google.com"`, err)
	}
	if strings.ContainsAny(c.Issuer, "?#") {
		// OpenID Connect Discovery 1.0, section 3.
		return errors.New("issuer has a query or a fragment; leave it away")
	}
	if c.ClientID == "" || !printableASCII(c.ClientID) {
		return errors.New("client_id is empty or not printable ASCII; write the one the provider gave out")
	}
	if c.EmailClaim != "" && c.EmailClaim != "email" && !c.TrustUnverifiedEmail {
		return errors.New(`email_claim is not "email", and email_verified says nothing about another claim; ` +
			"leave email_claim away, or trust unverified e-mail if people cannot choose that claim themselves")
	}
	for _, scope := range c.Scopes {
		if scope == "" || strings.ContainsAny(scope, " \"\\") || !printableASCII(scope) {
			return errors.New("a scope is empty or has characters that scopes cannot have (RFC 6749, section 3.3)")
		}
	}
	for name := range c.AuthParams {
		if name == "" || slices.Contains(reservedParams, name) {
			return fmt.Errorf("authorization parameter %q cannot be set: signing in needs it", name)
		}
	}
	for _, alg := range c.AllowedAlgorithms {
		if !slices.Contains(safeAlgorithms, alg) {
			return fmt.Errorf("algorithm %q is not supported; use one of %s", alg, strings.Join(safeAlgorithms, ", "))
		}
	}
	for _, domain := range c.RequireHostedDomain {
		if !validDomain(domain) {
			return fmt.Errorf(`hosted domain %q is not a domain; write for example "example.com"`, domain)
		}
	}
	return nil
}

// checkID accepts identifiers that can stand in a path, a cookie and a log as they are.
func checkID(id string) error {
	for i := range len(id) {
		if !isAlnum(id[i]) && id[i] != '-' && id[i] != '_' {
			return fmt.Errorf(`provider id %q has a character other than letters, digits, "-" and "_"`, id)
		}
	}
	if id == "" || len(id) > 64 {
		return errors.New("provider id is empty or longer than 64 characters")
	}
	return nil
}

// Interface guards
var (
	_ Redirecting  = (*OIDC)(nil)
	_ Rechecker    = (*OIDC)(nil)
	_ SessionEnder = (*OIDC)(nil)
)
