package mcpauth

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func init() {
	caddy.RegisterModule(new(OIDC))
	caddy.RegisterModule(new(Local))
}

// OIDC signs people in at an OpenID Connect provider. Register the redirect URL
// `https://<site>/oauth2/callback` there.
//
// The provider is first asked when somebody signs in; one that is down keeps neither Caddy from
// starting nor connected clients from working.
type OIDC struct {
	// A short name for this provider in logs. Default: `oidc`.
	ID string `json:"id,omitempty"`

	// What people call the provider. Default: the host of the issuer.
	Name string `json:"name,omitempty"`

	// The provider's issuer identifier, exactly as it stands in the provider's discovery document.
	Issuer string `json:"issuer,omitempty"`

	// The client id that the provider gave out for this edge.
	ClientID string `json:"client_id,omitempty"`

	// The client secret, as `{env.NAME}` or `{file./path}`. Empty for a public client.
	ClientSecret string `json:"client_secret,omitempty"`

	// The scopes to ask for. Default: `openid email profile`.
	Scopes []string `json:"scopes,omitempty"`

	// The redirect URL registered at the provider, if it is not `<issuer>/oauth2/callback`. It has
	// to be on the site's own origin.
	RedirectURL string `json:"redirect_url,omitempty"`

	// The claim that lists the person's groups. Default: `groups`.
	GroupsClaim string `json:"groups_claim,omitempty"`

	// The claim that holds the e-mail address. Default: `email`.
	EmailClaim string `json:"email_claim,omitempty"`

	// Take every e-mail address for verified. Only for providers where people cannot choose their
	// address themselves and which leave `email_verified` out. Default: `false`.
	TrustUnverifiedEmail bool `json:"trust_unverified_email,omitempty"`

	// Accept only accounts of these Google Workspace domains (the `hd` claim), in addition to the
	// allow rules.
	HostedDomains []string `json:"hosted_domains,omitempty"`

	// Further parameters of the authorization request.
	AuthParams map[string]string `json:"auth_params,omitempty"`

	// Signature algorithms accepted in ID tokens. Default: `RS256 ES256 EdDSA`.
	Algorithms []string `json:"algorithms,omitempty"`

	provider *identity.OIDC
}

// CaddyModule returns the Caddy module information.
func (*OIDC) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "mcp_auth.providers.oidc", New: func() caddy.Module { return new(OIDC) }}
}

// Provision resolves placeholders and checks the settings. It does not contact the provider.
func (o *OIDC) Provision(caddy.Context) error {
	if o.ID == "" {
		o.ID = "oidc"
	}
	repl := caddy.NewReplacer()
	issuer := repl.ReplaceAll(o.Issuer, "")
	clientID, err := secretValue(o.ClientID)
	if err != nil {
		return fmt.Errorf("oidc %s: client_id: %w", issuer, err)
	}
	var secret string
	if o.ClientSecret != "" {
		if secret, err = secretValue(o.ClientSecret); err != nil {
			return fmt.Errorf("oidc %s: client_secret: %w", issuer, err)
		}
	}
	if o.RedirectURL != "" {
		if err := checkRedirectURL(o.RedirectURL); err != nil {
			return fmt.Errorf("oidc %s: %w", issuer, err)
		}
	}
	o.provider, err = o.build(issuer, clientID, secret)
	return err
}

// checkRedirectURL refuses redirect URLs that are not one, or that another endpoint answers at.
func checkRedirectURL(redirectURL string) error {
	u, err := url.Parse(redirectURL)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("redirect_url %q is not an absolute URL without query", redirectURL)
	}
	if u.Path == "" || u.Path == "/" || strings.HasPrefix(u.Path, "/.well-known/") ||
		strings.HasPrefix(u.Path, "/oauth2/") && u.Path != authserver.CallbackPath && !strings.HasPrefix(u.Path, authserver.CallbackPath+"/") {
		return fmt.Errorf("redirect_url %s is taken; leave the option out, which means %s, or choose a path of its own", redirectURL, authserver.CallbackPath)
	}
	return nil
}

// build makes the provider of settings whose placeholders are resolved. It does no I/O.
func (o *OIDC) build(issuer, clientID, secret string) (*identity.OIDC, error) {
	id := o.ID
	if id == "" {
		id = "oidc"
	}
	return identity.NewOIDC(identity.OIDCConfig{
		ID:                   id,
		Name:                 o.Name,
		Issuer:               issuer,
		ClientID:             clientID,
		ClientSecret:         secret,
		Scopes:               o.Scopes,
		AuthParams:           o.AuthParams,
		GroupsClaim:          o.GroupsClaim,
		EmailClaim:           o.EmailClaim,
		TrustUnverifiedEmail: o.TrustUnverifiedEmail,
		RequireHostedDomain:  o.HostedDomains,
		AllowedAlgorithms:    o.Algorithms,
	})
}

// Provider implements ProviderModule.
func (o *OIDC) Provider() (identity.Provider, error) { return o.provider, nil }

func (o *OIDC) redirectURL() string { return o.RedirectURL }

// Local signs people in with a password that the configuration knows as a hash: for small teams
// and for trying things out.
type Local struct {
	// A short name for this provider in logs. Default: `local`.
	ID string `json:"id,omitempty"`

	// What people call it. Default: `a password`.
	Name string `json:"name,omitempty"`

	// The people.
	Users []LocalUser `json:"users,omitempty"`

	provider *identity.Local
}

// LocalUser is a person who signs in with a password.
type LocalUser struct {
	// The e-mail address, which is also the user name. It counts as verified.
	Email string `json:"email,omitempty"`

	// The password's hash, as `caddy hash-password` makes it.
	Hash string `json:"hash,omitempty"`

	// The person's name. Optional.
	Name string `json:"name,omitempty"`

	// The person's groups. Optional.
	Groups []string `json:"groups,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Local) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "mcp_auth.providers.local", New: func() caddy.Module { return new(Local) }}
}

// Provision checks the users and their hashes.
func (l *Local) Provision(caddy.Context) error {
	if len(l.Users) == 0 {
		return errors.New(`local: no users: write "user <email> <hash>", with a hash from "caddy hash-password"`)
	}
	if l.ID == "" {
		l.ID = "local"
	}
	if l.Name == "" {
		l.Name = "a password"
	}
	users := make([]identity.LocalUser, 0, len(l.Users))
	for _, u := range l.Users {
		hash, err := secretValue(u.Hash)
		if err != nil {
			return fmt.Errorf("local user %s: %w", u.Email, err)
		}
		users = append(users, identity.LocalUser{Email: u.Email, Hash: hash, Name: u.Name, Groups: u.Groups})
	}
	var err error
	l.provider, err = identity.NewLocal(l.ID, l.Name, "local", users)
	return err
}

// Provider implements ProviderModule.
func (l *Local) Provider() (identity.Provider, error) { return l.provider, nil }

// Interface guards
var (
	_ caddy.Provisioner = (*OIDC)(nil)
	_ ProviderModule    = (*OIDC)(nil)
	_ callbackPather    = (*OIDC)(nil)
	_ caddy.Provisioner = (*Local)(nil)
	_ ProviderModule    = (*Local)(nil)
)
