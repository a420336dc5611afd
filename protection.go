package mcpauth

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// protection is what keeps strangers out of a site, as the configuration has it.
type protection struct {
	signIn   bool // our own authorization server, with a provider
	external bool // somebody else's authorization server
	tokens   bool // service tokens
	rules    bool // allow rules for people
	networks bool // somebody has written down from where requests may come
}

var (
	errNoProvider = errors.New(`nothing to sign in with; add "oidc <issuer> { client_id ... }", "github { client_id ... }", "local { user <email> <hash> }" for passwords, or on a laptop "dev". ` +
		`Without people, "authorization_server <issuer>", "token <name> { value ... }" and "allow_network <network>" protect a server too`)
	errNoRule           = errors.New(`no allow rule: nobody could sign in; add "allow domain example.com", or "allow any" for everyone with an account at the provider`)
	errTwoServers       = errors.New(`authorization_server leaves issuing tokens to somebody else, while oidc, github and local make this site issue its own; keep one of the two`)
	errAssertionIssuer  = errors.New(`identity_assertion names the issuer that vouches for a caller; add "issuer https://<public host>"`)
	errEverybodyTrusted = errors.New("trusted_proxies of this server believe every client about its own address, so networks and limits would keep nobody out, " +
		"and logs would say what strangers like; write the addresses of your proxies there")
	errOpenOrigins = errors.New(`"origins *" would let every web page that somebody inside opens use the server, since no token is needed here; name the origins`)
)

// protection is what protects the site, once everything is loaded and inherited.
func (h *Handler) protection() protection {
	return protection{
		signIn:   len(h.providers) > 0,
		external: len(h.Options.external) > 0,
		tokens:   len(h.Options.tokens) > 0,
		rules:    h.policy != nil,
		networks: h.Options.networks.Decides(),
	}
}

// announcedProtection reads the same off options that are not loaded yet, where shared are the
// defaults, so that mistakes show while a Caddyfile is adapted.
func (o *Options) announcedProtection(shared *Options) protection {
	providers := o.announcedProviders(shared)
	p := protection{
		signIn:   len(providers) > 0,
		external: len(o.AuthorizationServers) > 0,
		tokens:   len(o.Tokens) > 0 || len(shared.Tokens) > 0,
		rules:    o.Allow != nil || shared.Allow != nil || namesDev(providers),
		networks: o.Networks.decide(),
	}
	if len(o.ProvidersRaw) == 0 && !p.external {
		p.external = len(shared.AuthorizationServers) > 0
	}
	if o.Networks.empty() {
		p.networks = shared.Networks.decide()
	}
	return p
}

// announcedProviders are the providers that a site will have.
func (o *Options) announcedProviders(shared *Options) []json.RawMessage {
	if len(o.ProvidersRaw) == 0 && len(o.AuthorizationServers) == 0 {
		return shared.ProvidersRaw
	}
	return o.ProvidersRaw
}

// oauth reports whether clients get their tokens by OAuth, whoever issues them.
func (p protection) oauth() bool { return p.signIn || p.external }

// open reports whether requests need no token: their network is all that is asked for.
func (p protection) open() bool { return !p.oauth() && !p.tokens }

// check makes sure that the protection is one.
func (p protection) check(resources []*Resource) error {
	switch {
	case p.signIn && p.external:
		return errTwoServers
	case p.oauth() && !p.rules:
		return errNoRule
	case p.oauth():
		return nil
	case p.rules:
		return errNoProvider
	}
	if p.open() && !p.networks && len(resources) == 0 {
		return errNoProvider
	}
	for _, r := range resources {
		if r == nil || len(r.Paths) == 0 {
			continue // load says so
		}
		if r.Allow != nil {
			return fmt.Errorf("resource %s has allow rules, and there is %w", r.Paths[0], errNoProvider)
		}
		if p.open() && !p.networks && !r.Networks.decide() {
			return fmt.Errorf(`resource %s: nothing protects it; add "allow_network <network>" to it or to the site`, r.Paths[0])
		}
	}
	return nil
}

// unmarshalProtection reads one of the ways to protect a site that do without signing in. It reports
// whether it was one.
func (o *Options) unmarshalProtection(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "authorization_server":
		server, err := parseAuthorizationServer(d)
		if err != nil {
			return true, err
		}
		if o.AuthorizationServers = append(o.AuthorizationServers, server); facadeAmongOthers(o.AuthorizationServers) {
			return true, d.WrapErr(errFacadeAmong)
		}
		return true, nil
	case "token":
		token, err := parseToken(d)
		o.Tokens = append(o.Tokens, token)
		return true, err
	}
	return o.Networks.unmarshalOption(d)
}
