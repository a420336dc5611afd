package mcpauth

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func init() {
	caddy.RegisterModule(new(GitHub))
}

// GitHub signs people in at GitHub. Create an OAuth app there with the authorization callback URL
// `https://<site>/oauth2/callback`; if it is not the first provider of the site,
// `https://<site>/oauth2/callback/<id>`.
//
// Groups are the person's organizations, such as `acme`, and their teams, such as `acme/platform`,
// in lower case. The e-mail address is the primary one, if GitHub has verified it. GitHub is asked
// again when a client refreshes (see `recheck_interval`): who leaves an organization loses what its
// groups allow.
type GitHub struct {
	// A short name for this provider in logs and in its redirect URL, different from those of the
	// site's other providers. Default: `github`.
	ID string `json:"id,omitempty"`

	// What people call the provider. Default: `GitHub`, or the host of the enterprise URL.
	Name string `json:"name,omitempty"`

	// The client id of the OAuth app.
	ClientID string `json:"client_id,omitempty"`

	// The client secret of the OAuth app, as `{env.NAME}` or `{file./path}`.
	ClientSecret string `json:"client_secret,omitempty"`

	// Accept only members of these organizations, in addition to the allow rules, and make groups
	// of these organizations and their teams only. Default: every organization that the person has
	// let the OAuth app see.
	Organizations []string `json:"organizations,omitempty"`

	// The address of a GitHub Enterprise instance, such as `https://github.example.com`.
	// Default: `https://github.com`.
	EnterpriseURL string `json:"enterprise_url,omitempty"`

	// The redirect URL registered at GitHub. It has to be on the site's own origin, and no other
	// provider's. Default: `<issuer>/oauth2/callback` for the first provider,
	// `<issuer>/oauth2/callback/<id>` for the others.
	RedirectURL string `json:"redirect_url,omitempty"`

	// Throw the access token away and never ask about a person again after the sign-in.
	// Default: `false`.
	DisableRecheck bool `json:"disable_recheck,omitempty"`

	provider *identity.GitHub
}

// CaddyModule returns the Caddy module information.
func (*GitHub) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "mcp_auth.providers.github", New: func() caddy.Module { return new(GitHub) }}
}

// Provision resolves placeholders and checks the settings. It does not contact GitHub.
func (g *GitHub) Provision(caddy.Context) error {
	if g.ID == "" {
		g.ID = "github"
	}
	clientID, err := secretValue(g.ClientID)
	if err != nil {
		return fmt.Errorf("github: client_id: %w", err)
	}
	secret, err := secretValue(g.ClientSecret)
	if err != nil {
		return fmt.Errorf("github: client_secret: %w", err)
	}
	if err := checkRedirectURL(g.RedirectURL); err != nil {
		return fmt.Errorf("github: %w", err)
	}
	g.provider, err = g.build(clientID, secret, caddy.NewReplacer().ReplaceAll(g.EnterpriseURL, ""))
	return err
}

// build makes the provider of settings whose placeholders are resolved. It does no I/O.
func (g *GitHub) build(clientID, secret, enterpriseURL string) (*identity.GitHub, error) {
	id := g.ID
	if id == "" {
		id = "github"
	}
	return identity.NewGitHub(identity.GitHubConfig{
		ID:             id,
		Name:           g.Name,
		ClientID:       clientID,
		ClientSecret:   secret,
		Organizations:  g.Organizations,
		EnterpriseURL:  enterpriseURL,
		DisableRecheck: g.DisableRecheck,
	})
}

// Provider implements ProviderModule.
func (g *GitHub) Provider() (identity.Provider, error) { return g.provider, nil }

func (g *GitHub) redirectURL() string { return g.RedirectURL }

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	github {
//	    client_id      <id>
//	    client_secret  <{env.NAME} | {file./path}>
//	    organizations  <organization...>
//	    enterprise_url <url>
//	    redirect_url   <url>
//	    recheck        off
//	    id             <id>
//	    name           <text>
//	}
func (g *GitHub) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the provider's name
	directive := *d
	if d.NextArg() {
		return d.Err("github takes no value; write enterprise_url inside its block for another instance than github.com")
	}
	texts := map[string]*string{
		"client_id": &g.ClientID, "client_secret": &g.ClientSecret, "enterprise_url": &g.EnterpriseURL,
		"redirect_url": &g.RedirectURL, "id": &g.ID, "name": &g.Name,
	}
	for d.NextBlock(0) {
		name := d.Val()
		if target, ok := texts[name]; ok {
			if err := oneArg(d, target); err != nil {
				return err
			}
			continue
		}
		switch name {
		case "organizations":
			values := d.RemainingArgs()
			if len(values) == 0 {
				return d.Err("organizations needs the name of at least one organization")
			}
			g.Organizations = append(g.Organizations, values...)
		case "recheck":
			if err := parseRecheck(d, &g.DisableRecheck); err != nil {
				return err
			}
		default:
			return d.Errf("unknown option %q; github knows: client_id, client_secret, organizations, enterprise_url, "+
				"redirect_url, recheck, id, name", name)
		}
	}
	if g.ClientID == "" || g.ClientSecret == "" {
		return d.Err("github needs client_id and client_secret; create an OAuth app at GitHub, under Settings, Developer settings")
	}
	if err := checkRedirectURL(g.RedirectURL); err != nil {
		return directive.WrapErr(err)
	}
	if !strings.Contains(g.EnterpriseURL, "{") {
		// Mistakes show with their line here; placeholders are resolved later.
		if _, err := g.build(g.ClientID, g.ClientSecret, g.EnterpriseURL); err != nil {
			return directive.WrapErr(err)
		}
	}
	return nil
}

// parseRecheck reads the only value that switches something.
func parseRecheck(d *caddyfile.Dispenser, disable *bool) error {
	var value string
	if !d.AllArgs(&value) || value != "off" {
		return d.Err(`recheck takes "off" only; how often the provider is asked again is recheck_interval, outside of its block`)
	}
	*disable = true
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*GitHub)(nil)
	_ ProviderModule        = (*GitHub)(nil)
	_ callbackPather        = (*GitHub)(nil)
	_ caddyfile.Unmarshaler = (*GitHub)(nil)
)
