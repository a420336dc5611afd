package mcpauth

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func init() {
	caddy.RegisterModule(new(OIDC))
	caddy.RegisterModule(new(Local))
}

// OIDC signs people in at an OpenID Connect provider. Register the redirect URL
// `https://<site>/oauth2/callback` there; if it is not the first provider of the site,
// `https://<site>/oauth2/callback/<id>`. For signing out, register `https://<site>/oauth2/logout` as
// post-logout redirect URL.
//
// The provider is first asked when somebody signs in; one that is down keeps neither Caddy from
// starting nor connected clients from working.
//
// If it gives a refresh token, it is asked about the person again when a client refreshes (see
// `recheck_interval`), so that somebody who has left loses access. Most providers give one only if
// asked: with the scope `offline_access`, or at Google with the parameter `access_type=offline`.
// A refresh token that ends with a session of less than a day is not used.
type OIDC struct {
	// A short name for this provider in logs and in its redirect URL, different from those of the
	// site's other providers. Default: `oidc`.
	ID string `json:"id,omitempty"`

	// What people call the provider. Default: the host of the issuer.
	Name string `json:"name,omitempty"`

	// The provider's issuer identifier, exactly as it stands in the provider's discovery document.
	Issuer string `json:"issuer,omitempty"`

	// The client id that the provider gave out for this edge.
	ClientID string `json:"client_id,omitempty"`

	// The client secret, as `{env.NAME}` or `{file./path}`. Default: none; a public client.
	ClientSecret string `json:"client_secret,omitempty"`

	// The scopes to ask for. Default: `openid email profile`.
	Scopes []string `json:"scopes,omitempty"`

	// The redirect URL registered at the provider. It has to be on the site's own origin, and no
	// other provider's. Default: `<issuer>/oauth2/callback` for the first provider,
	// `<issuer>/oauth2/callback/<id>` for the others.
	RedirectURL string `json:"redirect_url,omitempty"`

	// The claim that lists the person's groups. Default: `groups`.
	GroupsClaim string `json:"groups_claim,omitempty"`

	// The claim that holds the e-mail address. Default: `email`.
	EmailClaim string `json:"email_claim,omitempty"`

	// Take every e-mail address for verified. Only for providers where people cannot choose their
	// address themselves and which leave `email_verified` out. Default: `false`.
	TrustUnverifiedEmail bool `json:"trust_unverified_email,omitempty"`

	// Accept only accounts of these Google Workspace domains (the `hd` claim), in addition to the
	// allow rules. Default: any account.
	HostedDomains []string `json:"hosted_domains,omitempty"`

	// E-mail domains whose people sign in here. Where there are several providers, an address at
	// one of these domains saves the choice. It decides nothing else: see the allow rules. Default:
	// none.
	Domains []string `json:"domains,omitempty"`

	// Throw the provider's refresh tokens away and never ask about a person again after the
	// sign-in. Default: `false`.
	DisableRecheck bool `json:"disable_recheck,omitempty"`

	// Further parameters of the authorization request. Default: none.
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
	if err := checkRedirectURL(o.RedirectURL); err != nil {
		return fmt.Errorf("oidc %s: %w", issuer, err)
	}
	o.provider, err = o.build(issuer, clientID, secret)
	return err
}

// build makes the provider of settings whose placeholders are resolved. It does no I/O.
func (o *OIDC) build(issuer, clientID, secret string) (*identity.OIDC, error) {
	id := o.ID
	if id == "" {
		id = "oidc"
	}
	for _, domain := range o.Domains {
		if _, _, err := identity.ParseEmail("x@" + domain); err != nil {
			return nil, fmt.Errorf(`oidc %s: domains: %q is not a domain; write, for example, "domains example.com"`, issuer, domain)
		}
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
		DisableRecheck:       o.DisableRecheck,
		AllowedAlgorithms:    o.Algorithms,
	})
}

// Provider implements ProviderModule.
func (o *OIDC) Provider() (identity.Provider, error) { return o.provider, nil }

func (o *OIDC) redirectURL() string { return o.RedirectURL }

func (o *OIDC) emailDomains() []string {
	domains := make([]string, 0, len(o.Domains))
	for _, domain := range o.Domains {
		if _, parsed, err := identity.ParseEmail("x@" + domain); err == nil {
			domains = append(domains, parsed)
		}
	}
	return domains
}

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

	// The person's name. Default: none.
	Name string `json:"name,omitempty"`

	// The person's groups. Default: none.
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
	_ domainer          = (*OIDC)(nil)
	_ caddy.Provisioner = (*Local)(nil)
	_ ProviderModule    = (*Local)(nil)
)
