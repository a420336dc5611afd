package mcpauth

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// IDJAG lets clients come with an assertion of an identity provider instead of a browser
// (MCP Enterprise-Managed Authorization, ID-JAG). The provider decides which client may act for whom; the
// allow rules decide who may come in, as at a sign-in.
type IDJAG struct {
	// The issuer of the assertions. It has to be one of the `oidc` providers: keys, algorithms and the
	// rules about e-mail addresses and groups are those of signing in there.
	Issuer string `json:"issuer,omitempty"`

	// What the provider calls a client, and the client id it has here. Default: the provider uses the
	// client ids of this server, as the specification wants it.
	Clients map[string]string `json:"clients,omitempty"`
}

// parseIDJAG reads whose assertions are accepted. Syntax:
//
//	id_jag <issuer> {
//	    client <id at the provider> <id here>
//	}
func parseIDJAG(d *caddyfile.Dispenser) (*IDJAG, error) {
	a := new(IDJAG)
	if !d.AllArgs(&a.Issuer) {
		return nil, d.Err("id_jag takes the issuer of an oidc provider, such as https://idp.example.com")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "client" {
			return nil, d.Errf("unknown option %q; id_jag knows: client", d.Val())
		}
		var there, here string
		if !d.AllArgs(&there, &here) {
			return nil, d.Err("client takes two ids: what the provider calls the client, and its client id here")
		}
		if _, given := a.Clients[there]; given {
			return nil, d.Errf("client %s is given twice", there)
		}
		if a.Clients == nil {
			a.Clients = make(map[string]string)
		}
		a.Clients[there] = here
	}
	return a, nil
}

// idJAGIssuers joins the settings with the providers that they name.
func idJAGIssuers(issuer string, configured []*IDJAG, providers []identity.Provider) (map[string]authserver.AssertionIssuer, error) {
	issuers := make(map[string]authserver.AssertionIssuer, len(configured))
	for _, c := range configured {
		name := caddy.NewReplacer().ReplaceAll(c.Issuer, "")
		if _, given := issuers[name]; given {
			return nil, fmt.Errorf("id_jag %s is given twice; join the two blocks", name)
		}
		if name == issuer {
			// Tokens of clients that act in their own name are told by this issuer.
			return nil, fmt.Errorf("id_jag %s is this site itself; it makes no assertions", name)
		}
		for _, p := range providers {
			if asserting, ok := p.(identity.Asserting); ok && asserting.Issuer() == name {
				issuers[name] = authserver.AssertionIssuer{Provider: asserting, Clients: c.Clients}
			}
		}
		if _, found := issuers[name]; !found {
			return nil, fmt.Errorf("id_jag %s: people do not sign in there; add \"oidc %s { client_id ... }\", or write the issuer of an oidc provider exactly", name, name)
		}
	}
	return issuers, nil
}
