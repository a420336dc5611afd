package mcpauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

const (
	credentialWords      = "header, hint"
	credentialOAuthWords = "client_id, client_secret, scopes, authorization_endpoint, token_endpoint, revocation_endpoint, resource, private_networks, " + credentialWords
)

// parseCredentials reads which credential of each person a resource's upstream gets. Syntax:
//
//	credentials {
//	    header <name> [<value with {credential}>]
//	    hint   <text>
//	}
//	credentials oauth <issuer | URL of an MCP server> {
//	    client_id              <id>
//	    client_secret          <{env.NAME} | {file./path}>
//	    scopes                 <scope...>
//	    authorization_endpoint <url>
//	    token_endpoint         <url>
//	    revocation_endpoint    <url>
//	    resource               <uri>
//	    private_networks
//	    header                 <name> [<value with {credential}>]
//	    hint                   <text>
//	}
func parseCredentials(d *caddyfile.Dispenser) (*Credentials, error) {
	c := new(Credentials)
	directive := *d
	switch args := d.RemainingArgs(); {
	case len(args) == 0:
	case args[0] == "oauth" && len(args) == 2:
		c.OAuth = &CredentialsOAuth{Server: args[1]}
	default:
		return nil, d.Err("write credentials { ... } for tokens that people type in, or credentials oauth <issuer> { ... } for accounts that they connect")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		known, err := c.parseOption(d)
		if !known && err == nil && c.OAuth != nil {
			known, err = c.OAuth.parseOption(d)
		}
		switch {
		case err != nil:
			return nil, err
		case !known && c.OAuth != nil:
			return nil, d.Errf("unknown option %q; credentials oauth knows: %s", d.Val(), credentialOAuthWords)
		case !known:
			return nil, d.Errf("unknown option %q; credentials knows: %s", d.Val(), credentialWords)
		}
	}
	if _, err := c.parseHeader(); err != nil {
		return nil, directive.WrapErr(err)
	}
	if c.OAuth != nil {
		if _, err := c.OAuth.client(c.OAuth.ClientID, ""); err != nil {
			return nil, directive.WrapErr(err)
		}
	}
	return c, nil
}

func (c *Credentials) parseOption(d *caddyfile.Dispenser) (known bool, err error) {
	switch d.Val() {
	case "header":
		if c.Header != "" {
			return true, d.Err("header is given twice")
		}
		args := d.RemainingArgs()
		switch len(args) {
		case 1:
			c.Header = args[0]
		case 2:
			c.Header, c.Value = args[0], args[1]
		default:
			return true, d.Err(`header takes a name and a value in quotes, such as header Authorization "Bearer {credential}"`)
		}
	case "hint":
		return true, oneArg(d, &c.Hint)
	default:
		return false, nil
	}
	return true, nil
}

func (o *CredentialsOAuth) parseOption(d *caddyfile.Dispenser) (known bool, err error) {
	name := d.Val()
	if target, ok := map[string]*string{
		"client_id": &o.ClientID, "client_secret": &o.ClientSecret, "authorization_endpoint": &o.AuthorizationEndpoint,
		"token_endpoint": &o.TokenEndpoint, "revocation_endpoint": &o.RevocationEndpoint, "resource": &o.Resource,
	}[name]; ok {
		return true, oneArg(d, target)
	}
	switch name {
	case "scopes":
		scopes := d.RemainingArgs()
		if len(scopes) == 0 {
			return true, d.Err("scopes needs at least one scope")
		}
		o.Scopes = append(o.Scopes, scopes...)
	case "private_networks":
		if d.NextArg() {
			return true, d.Err("private_networks takes no value")
		}
		o.PrivateNetworks = true
	default:
		return false, nil
	}
	return true, nil
}
