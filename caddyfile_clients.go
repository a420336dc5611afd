package mcpauth

import (
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
)

// parseClients reads how clients may become known. Syntax:
//
//	clients {
//	    cimd allow|deny <host...>
//	    cimd pin        <url> <file>
//	    cimd allow_loopback
//	    cimd off
//
//	    registration off
//	    registration token         <{env.NAME} | {file./path}>
//	    registration redirect_host <host...>
//
//	    scheme <scheme...>
//	}
func parseClients(d *caddyfile.Dispenser, c *Clients) error {
	if d.NextArg() {
		return d.Err("clients takes a block: clients { cimd ..., registration ..., scheme ... }")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "cimd":
			if c.MetadataDocuments == nil {
				c.MetadataDocuments = new(MetadataDocuments)
			}
			err = parseMetadataDocuments(d, c.MetadataDocuments)
		case "registration":
			if c.Registration == nil {
				c.Registration = new(Registration)
			}
			err = parseRegistration(d, c.Registration)
		case "scheme":
			if err = someArgs(d, &c.PrivateSchemes); err != nil {
				break
			}
			if wrong := checkSchemes(c.PrivateSchemes); wrong != nil {
				err = d.WrapErr(wrong)
			}
		default:
			return d.Errf("unknown option %q; clients knows: cimd, registration, scheme", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parseMetadataDocuments(d *caddyfile.Dispenser, m *MetadataDocuments) error {
	const usage = "write cimd allow <host...>, cimd deny <host...>, cimd pin <url> <file>, cimd allow_loopback, or cimd off"
	if !d.NextArg() {
		return d.Err("cimd needs to say what; " + usage)
	}
	switch what := d.Val(); what {
	case "allow":
		return someArgs(d, &m.Allow)
	case "deny":
		return someArgs(d, &m.Deny)
	case "pin":
		var url, file string
		if !d.AllArgs(&url, &file) {
			return d.Err("cimd pin takes the client id, a URL, and the file with the document")
		}
		if m.Pinned == nil {
			m.Pinned = make(map[string]string)
		}
		m.Pinned[url] = file
		return nil
	case "allow_loopback":
		m.AllowLoopback = true
		return noArgs(d)
	case "off":
		m.Disabled = true
		return noArgs(d)
	default:
		return d.Errf("cimd %s is unknown; %s", what, usage)
	}
}

func parseRegistration(d *caddyfile.Dispenser, r *Registration) error {
	const usage = "write registration off, registration token <{env.NAME}>, or registration redirect_host <host...>"
	if !d.NextArg() {
		return d.Err("registration needs to say what; " + usage)
	}
	switch what := d.Val(); what {
	case "off":
		r.Disabled = true
		return noArgs(d)
	case "token":
		if err := someArgs(d, &r.InitialAccessTokens); err != nil {
			return err
		}
		if err := r.checkTokens(); err != nil {
			return d.WrapErr(err)
		}
		return nil
	case "redirect_host":
		return someArgs(d, &r.RedirectHosts)
	default:
		return d.Errf("registration %s is unknown; %s", what, usage)
	}
}

// parseClient reads a client that the operator registered. Syntax:
//
//	client <id> {
//	    name         <text>
//	    secret       <{env.NAME} | {file./path}>
//	    jwks         <{file./path}>
//	    redirect_uri <uri...>
//	    grant_types  <authorization_code | refresh_token | device_code | client_credentials | jwt_bearer ...>
//	    scopes       <scope...>
//	    resource     <path...>
//	}
//
// scopes and resource limit the tokens that the client gets in its own name, with client_credentials.
func parseClient(d *caddyfile.Dispenser) (*Client, error) {
	client := new(Client)
	if !d.AllArgs(&client.ID) {
		return nil, d.Err("client takes one client id")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "name":
			err = oneArg(d, &client.Name)
		case "secret":
			err = oneArg(d, &client.Secret)
		case "jwks":
			err = oneArg(d, &client.KeySet)
		case "redirect_uri":
			err = someArgs(d, &client.RedirectURIs)
		case "grant_types":
			err = parseGrantTypes(d, &client.GrantTypes)
		case "scopes":
			err = someArgs(d, &client.Scopes)
		case "resource":
			err = someArgs(d, &client.Resources)
		default:
			return nil, d.Errf("unknown option %q; client knows: name, secret, jwks, redirect_uri, grant_types, scopes, resource", d.Val())
		}
		if err != nil {
			return nil, err
		}
	}
	if len(client.RedirectURIs) == 0 && (len(client.GrantTypes) == 0 || slices.Contains(client.GrantTypes, clients.GrantCode)) {
		return nil, d.Errf("client %s has no redirect_uri: nowhere to answer it", client.ID)
	}
	return client, nil
}

func parseGrantTypes(d *caddyfile.Dispenser, target *[]string) error {
	if err := someArgs(d, target); err != nil {
		return err
	}
	for _, word := range *target {
		if _, err := clients.ParseGrantType(word); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

// parseOff reads an option that can only be switched off.
func parseOff(d *caddyfile.Dispenser) error {
	var value string
	if name := d.Val(); !d.AllArgs(&value) || value != "off" {
		return d.Errf("%s is on unless you write %s off", name, name)
	}
	return nil
}
