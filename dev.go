package mcpauth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func init() {
	caddy.RegisterModule(new(Dev))
}

// devHeader marks every answer of a site in development mode, so that none can be taken for that of
// a server that checks who comes.
const devHeader = "Mcp-Auth-Mode"

// devIssuer is the issuer of the one user there is.
const devIssuer = "dev"

// Dev is development mode, for a laptop: real OAuth endpoints, which approve by themselves and sign
// everybody in as one user, so that clients which insist on OAuth connect with nothing to set up.
//
// A site in development mode answers on loopback addresses only, and takes no other provider and
// needs no allow rule. Websites still have to be allowed on the consent page; programs on the
// computer do not.
type Dev struct {
	// The e-mail address of the user. Default: `dev@example.com`.
	Email string `json:"email,omitempty"`

	// The user's name. Default: `Developer`.
	Name string `json:"name,omitempty"`

	// The user's groups. Default: none.
	Groups []string `json:"groups,omitempty"`

	provider *identity.Fixed
}

// CaddyModule returns the Caddy module information.
func (*Dev) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "mcp_auth.providers.dev", New: func() caddy.Module { return new(Dev) }}
}

// Provision checks the user.
func (d *Dev) Provision(caddy.Context) error {
	var err error
	d.provider, err = d.build()
	return err
}

func (d *Dev) build() (*identity.Fixed, error) {
	user := identity.User{Email: d.Email, Name: d.Name, Groups: d.Groups}
	if user.Email == "" {
		user.Email = "dev@example.com"
	}
	if user.Name == "" {
		user.Name = "Developer"
	}
	return identity.NewFixed("dev", "development mode", devIssuer, user)
}

// Provider implements ProviderModule.
func (d *Dev) Provider() (identity.Provider, error) { return d.provider, nil }

// UnmarshalCaddyfile sets up development mode from Caddyfile tokens. Syntax:
//
//	dev [<email>] {
//	    name   <text>
//	    groups <group...>
//	}
func (d *Dev) UnmarshalCaddyfile(p *caddyfile.Dispenser) error {
	p.Next() // consume the provider's name
	directive := *p
	if p.NextArg() {
		d.Email = p.Val()
	}
	if p.NextArg() {
		return p.Err("dev takes one e-mail address, or none")
	}
	for p.NextBlock(0) {
		switch p.Val() {
		case "name":
			if err := oneArg(p, &d.Name); err != nil {
				return err
			}
		case "groups":
			if err := someArgs(p, &d.Groups); err != nil {
				return err
			}
		default:
			return p.Errf("unknown option %q; dev knows: name, groups", p.Val())
		}
	}
	if _, err := d.build(); err != nil {
		return directive.WrapErr(err)
	}
	return nil
}

var errDevAlone = errors.New(`dev signs everybody in as one user without asking, so no other provider can stand beside it; ` +
	`remove "dev", or remove the others`)

// develops reports whether one of the providers approves by itself.
func (o *Options) develops() bool {
	return slices.ContainsFunc(o.providers, func(p identity.Provider) bool {
		_, ok := p.(identity.Automatic)
		return ok
	})
}

// checkDev completes a site in development mode, which admits the one user there is unless it has
// rules of its own.
func (h *Handler) checkDev() error {
	if h.dev = h.Options.develops(); !h.dev {
		return nil
	}
	if len(h.providers) > 1 {
		return errDevAlone
	}
	if h.policy == nil {
		var err error
		if h.policy, err = access.NewPolicy([]access.Rule{{Kind: access.Any}}); err != nil {
			return err
		}
	}
	return checkDevIssuer(caddy.NewReplacer().ReplaceAll(h.Issuer, ""))
}

// checkDevIssuer refuses an issuer that others can reach.
func checkDevIssuer(issuer string) error {
	if issuer == "" {
		return nil
	}
	if u, err := url.Parse(issuer); err != nil || !loopbackHost(u.Hostname()) {
		return fmt.Errorf("issuer %s: dev lets everybody in who asks, so it is for localhost only; "+
			"sign people in with oidc or local, or remove the issuer", issuer)
	}
	return nil
}

// warnDev says in the log what this config does, at each start and reload.
func (h *Handler) warnDev() {
	user := h.providers[0].(identity.Automatic).User()
	h.logger.Warn("DEVELOPMENT MODE: every program on this computer that asks is signed in, and nobody is asked who they are; "+
		"never use it on a server", zap.String("as", user.Email))
}

// tenant is the name under which an issuer's tokens and records are sealed. What was given away in
// development mode opens nothing once people have to sign in.
func (h *Handler) tenant(issuer string) string {
	if h.dev {
		return issuer + "#development"
	}
	return issuer
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Dev)(nil)
	_ ProviderModule        = (*Dev)(nil)
	_ caddyfile.Unmarshaler = (*Dev)(nil)
)
