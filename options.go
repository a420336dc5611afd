package mcpauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// Options are the settings that the app holds as defaults for all sites, and that each handler may
// give for itself. What a handler gives takes the place of the default as a whole.
type Options struct {
	// Where people sign in: modules in the namespace `mcp_auth.providers`. With several, people choose
	// one after they consented, or their e-mail address decides. Each has an id of its own, and a
	// redirect URL: `<issuer>/oauth2/callback` for the first one that takes redirects,
	// `<issuer>/oauth2/callback/<id>` for the others. `dev` is development mode, for a laptop, and
	// stands alone. One is needed, or one of the other ways to protect a site: authorization servers,
	// tokens or networks. Default: none.
	ProvidersRaw []json.RawMessage `json:"providers,omitempty" caddy:"namespace=mcp_auth.providers inline_key=provider"`

	// The authorization servers that somebody else runs, instead of providers: this site then accepts
	// their tokens and issues none. Default: none.
	AuthorizationServers []*AuthorizationServer `json:"authorization_servers,omitempty"`

	// Tokens for programs that cannot sign in. Without providers and authorization servers, these are
	// the only ones. Default: none.
	Tokens []*Token `json:"tokens,omitempty"`

	// From where requests are taken: those for the protected resources and for every endpoint.
	Networks

	// Who may sign in, or use a token of an authorization server. Needed with either, except in
	// development mode: nobody is let in by default.
	Allow *Allow `json:"allow,omitempty"`

	// How MCP clients may become known. Default: by describing or by registering themselves.
	Clients *Clients `json:"clients,omitempty"`

	// MCP clients that the operator registered. Default: none.
	KnownClients []*Client `json:"known_clients,omitempty"`

	// Identity providers whose assertions clients may come with (ID-JAG). Default: none.
	IDJAG []*IDJAG `json:"id_jag,omitempty"`

	// Refuse to let devices without a browser be authorized from another one, by a code that a person
	// types (RFC 8628). Default: `false`.
	DeviceFlowDisabled bool `json:"device_flow_disabled,omitempty"`

	// Where sessions are kept: a module in the namespace `mcp_auth.stores`. Default: `caddy`, the
	// storage that Caddy itself is configured with.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=mcp_auth.stores inline_key=store"`

	// Secrets that everything is sealed with, each of at least 32 bytes: the first one seals, all of
	// them open. Give them as `{env.NAME}` or `{file./path}`. Needed only where several machines
	// share no storage. Default: a key ring that is made and rotated in the store.
	Keys []string `json:"keys,omitempty"`

	// How long an access token is accepted, at most 24h. Short lifetimes limit what a leaked token
	// is worth; clients refresh by themselves. Default: `1h`.
	AccessTokenLifetime caddy.Duration `json:"access_token_lifetime,omitempty"`

	// How long a client stays connected without being used; each refresh begins the time anew.
	// Default: `30d`.
	RefreshTokenLifetime caddy.Duration `json:"refresh_token_lifetime,omitempty"`

	// How long a client stays connected at most, however often it is used; after that its person signs
	// in again. Default: no limit.
	GrantLifetime caddy.Duration `json:"grant_lifetime,omitempty"`

	// For how long a refresh token that has just been replaced still answers with its successor, so
	// that clients which refresh in parallel or lose an answer stay connected. At most 10m.
	// Default: `60s`.
	RefreshGrace caddy.Duration `json:"refresh_grace,omitempty"`

	// How long an authorization code can be exchanged, at most 10m. Default: `60s`.
	CodeLifetime caddy.Duration `json:"code_lifetime,omitempty"`

	// How long a person may take from the consent page to the end of the sign-in, at most 1h.
	// Default: `10m`.
	LoginLifetime caddy.Duration `json:"login_lifetime,omitempty"`

	// The path of each person's own page: which clients act for them, where they are signed in, the
	// tokens they have made, and a way to end each. `off` for none. Default: `/my`, or `/oauth2/my`
	// where only some paths of the site are protected and the others are somebody else's.
	Portal string `json:"portal,omitempty"`

	// How long a browser stays signed in, so that connecting another client needs no new sign-in.
	// Default: `12h`.
	BrowserSessionLifetime caddy.Duration `json:"browser_session_lifetime,omitempty"`

	// How old the identity provider's word on a person may be when a client refreshes its token.
	// Older, and the provider is asked again, if it can be: a person who has left loses access.
	// Default: `15m`.
	RecheckInterval caddy.Duration `json:"recheck_interval,omitempty"`

	// How much older that word may be while the provider cannot be asked. After that, clients get
	// 503 and try again; nothing is lost. Default: `1h`.
	RecheckGrace caddy.Duration `json:"recheck_grace,omitempty"`

	// Other lifetimes for the tokens of some clients. Default: the same for all.
	ClientLifetimes []*ClientLifetimes `json:"client_lifetimes,omitempty"`

	// Tells the MCP server who is calling in a signed form, beside the plain headers. Default: off.
	IdentityAssertion *IdentityAssertion `json:"identity_assertion,omitempty"`

	GuardOptions

	providers []identity.Provider
	domains   map[string]string // ids of providers, by the e-mail domains that belong to them
	callbacks map[string]string // redirect URL of a provider, where it is not the usual one
	external  external.Servers
	facade    *facadeClient // of the one of external that has one
	tokens    []*serviceToken
	networks  *access.Networks
	policy    *access.Policy
	store     StoreModule
	keys      [][]byte
}

// Allow lists who may sign in. A person needs to match one entry.
type Allow struct {
	// Domains of verified e-mail addresses. `example.com` does not cover subdomains;
	// `*.example.com` covers them only. Default: none.
	Domains []string `json:"domains,omitempty"`

	// Verified e-mail addresses. Default: none.
	Emails []string `json:"emails,omitempty"`

	// Groups, as the identity provider names them. Default: none.
	Groups []string `json:"groups,omitempty"`

	// Everyone who has an account at the identity provider. With a public provider this is
	// everyone. Default: `false`.
	Any bool `json:"any,omitempty"`
}

// ProviderModule is what a module in the namespace `mcp_auth.providers` implements.
type ProviderModule interface {
	caddy.Module

	// Provider returns the provider. It does no I/O.
	Provider() (identity.Provider, error)
}

func (a *Allow) policy() (*access.Policy, error) {
	if a == nil {
		return nil, nil
	}
	var rules []access.Rule
	add := func(kind string, values []string) {
		for _, v := range values {
			rules = append(rules, access.Rule{Kind: kind, Value: v})
		}
	}
	add("domain", a.Domains)
	add("email", a.Emails)
	add("group", a.Groups)
	if a.Any {
		rules = append(rules, access.Rule{Kind: "any"})
	}
	return access.NewPolicy(rules)
}

// load provisions the modules named in the options and resolves placeholders. It does no I/O.
func (o *Options) load(ctx caddy.Context, owner any) error {
	if len(o.ProvidersRaw) > 0 {
		modules, err := ctx.LoadModule(owner, "ProvidersRaw")
		if err != nil {
			return fmt.Errorf("loading providers: %w", err)
		}
		for _, m := range modules.([]any) {
			if err := o.addProvider(m.(ProviderModule)); err != nil {
				return err
			}
		}
	}
	if o.StoreRaw != nil {
		module, err := ctx.LoadModule(owner, "StoreRaw")
		if err != nil {
			return fmt.Errorf("loading the store: %w", err)
		}
		o.store = module.(StoreModule)
	}
	var err error
	if o.external, err = externalServers(o.AuthorizationServers); err != nil {
		return err
	}
	if o.facade, err = facadeOf(o.AuthorizationServers); err != nil {
		return err
	}
	for _, t := range o.Tokens {
		token, err := t.resolve()
		if err != nil {
			return err
		}
		o.tokens = append(o.tokens, token)
	}
	if o.networks, err = o.Networks.resolve(); err != nil {
		return err
	}
	if o.policy, err = o.Allow.policy(); err != nil {
		return err
	}
	for i, key := range o.Keys {
		secret, err := secretValue(key)
		if err != nil {
			return fmt.Errorf("key %d: %w", i+1, err)
		}
		o.keys = append(o.keys, []byte(secret))
	}
	if len(o.keys) > 0 {
		// A key that is too short shows here, whoever uses it.
		if _, err := newRing(nil, o.keys); err != nil {
			return err
		}
	}
	return nil
}

// inherit fills what is not set from the defaults.
func (o *Options) inherit(d *Options) {
	if o.policy == nil && !o.develops() { // the rules are for other people than its one user
		o.policy = d.policy
	}
	// Where tokens come from is one setting: a site that has it one way does not inherit the other.
	if len(o.providers) == 0 && len(o.external) == 0 {
		o.providers, o.callbacks, o.domains, o.external, o.facade = d.providers, d.callbacks, d.domains, d.external, d.facade
	}
	if len(o.tokens) == 0 {
		o.tokens = d.tokens
	}
	if o.Networks.empty() {
		o.networks = d.networks
	}
	if len(o.IDJAG) == 0 {
		o.IDJAG = d.IDJAG
	}
	o.DeviceFlowDisabled = o.DeviceFlowDisabled || d.DeviceFlowDisabled
	if o.store == nil {
		o.store = d.store
	}
	if len(o.keys) == 0 {
		o.keys = d.keys
	}
	if o.Portal == "" {
		o.Portal = d.Portal
	}
	if o.Clients == nil {
		o.Clients = d.Clients
	}
	if len(o.KnownClients) == 0 {
		o.KnownClients = d.KnownClients
	}
	if len(o.ClientLifetimes) == 0 {
		o.ClientLifetimes = d.ClientLifetimes
	}
	if o.IdentityAssertion == nil {
		o.IdentityAssertion = d.IdentityAssertion
	}
	o.GuardOptions.inherit(&d.GuardOptions)
	for _, pair := range []struct{ own, shared *caddy.Duration }{
		{&o.AccessTokenLifetime, &d.AccessTokenLifetime},
		{&o.RefreshTokenLifetime, &d.RefreshTokenLifetime},
		{&o.RefreshGrace, &d.RefreshGrace},
		{&o.CodeLifetime, &d.CodeLifetime},
		{&o.LoginLifetime, &d.LoginLifetime},
		{&o.BrowserSessionLifetime, &d.BrowserSessionLifetime},
		{&o.RecheckInterval, &d.RecheckInterval},
		{&o.RecheckGrace, &d.RecheckGrace},
		{&o.GrantLifetime, &d.GrantLifetime},
	} {
		if *pair.own == 0 {
			*pair.own = *pair.shared
		}
	}
}

// lifetimes joins the settings with the defaults and checks their bounds.
func (o *Options) lifetimes() (authserver.Lifetimes, error) {
	l := authserver.DefaultLifetimes()
	for _, setting := range []struct {
		name   string
		value  caddy.Duration
		most   time.Duration
		target *time.Duration
	}{
		{"access_token_lifetime", o.AccessTokenLifetime, 24 * time.Hour, &l.Access},
		{"refresh_token_lifetime", o.RefreshTokenLifetime, 400 * 24 * time.Hour, &l.Grant.Sliding},
		{"grant_lifetime", o.GrantLifetime, 4000 * 24 * time.Hour, &l.Grant.Absolute},
		{"refresh_grace", o.RefreshGrace, 10 * time.Minute, &l.Grant.Grace},
		{"code_lifetime", o.CodeLifetime, 10 * time.Minute, &l.Code},
		{"login_lifetime", o.LoginLifetime, time.Hour, &l.Login},
		{"browser_session_lifetime", o.BrowserSessionLifetime, 30 * 24 * time.Hour, &l.Browser},
		{"recheck_interval", o.RecheckInterval, 24 * time.Hour, &l.Recheck},
		{"recheck_grace", o.RecheckGrace, 24 * time.Hour, &l.RecheckGrace},
	} {
		value := time.Duration(setting.value)
		switch {
		case value == 0:
		case value < time.Second || value > setting.most:
			return l, fmt.Errorf("%s is %s: it must be between 1s and %s", setting.name, value, setting.most)
		default:
			*setting.target = value
		}
	}
	if l.Access > l.Grant.Sliding {
		return l, errors.New("refresh_token_lifetime is shorter than access_token_lifetime: clients could never refresh")
	}
	return l, nil
}

// secretValue resolves the placeholders of a secret. An empty result is an error: an unset variable
// must not become an empty secret.
func secretValue(s string) (string, error) {
	value, err := caddy.NewReplacer().ReplaceOrErr(s, true, true)
	if err == nil && value != "" {
		return value, nil
	}
	if s == "" {
		return "", errors.New("it is empty")
	}
	// Anything but one placeholder may hold a part of the secret itself, which no error shows.
	inner := strings.TrimSuffix(strings.TrimPrefix(s, "{"), "}")
	known := strings.HasPrefix(inner, "env.") || strings.HasPrefix(inner, "file.")
	if !known || len(inner) != len(s)-2 || strings.ContainsAny(inner, "{}") {
		return "", errors.New("it has a placeholder that stands for nothing; write {env.NAME} or {file./path} alone")
	}
	return "", fmt.Errorf("%s stands for nothing: it is not set, or is empty", s)
}
