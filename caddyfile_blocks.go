package mcpauth

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// parseAllow reads one allow rule. Syntax:
//
//	allow domain <domain...>
//	allow email  <address...>
//	allow group  <group...>
//	allow any
func parseAllow(d *caddyfile.Dispenser, allow *Allow) error {
	const usage = "write allow domain|email|group <value...>, or allow any"
	if !d.NextArg() {
		return d.Err("allow needs to say who; " + usage)
	}
	kind := d.Val()
	values := d.RemainingArgs()
	var target *[]string
	switch kind {
	case "domain":
		target = &allow.Domains
	case "email":
		target = &allow.Emails
	case "group":
		target = &allow.Groups
	case "any":
		if len(values) > 0 {
			return d.Err(`"allow any" lets everyone in and takes no value; ` + usage)
		}
		allow.Any = true
		return nil
	default:
		return d.Errf("allow %s: unknown rule; %s", kind, usage)
	}
	if len(values) == 0 {
		return d.Errf("allow %s needs a value; %s", kind, usage)
	}
	*target = append(*target, values...)
	if _, err := allow.policy(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// parseResource reads one resource. Syntax:
//
//	resource <path> [<more paths...>] {
//	    name            <text>
//	    scopes          <scope...>
//	    challenge_scope <scope...>
//	    required_scope  <scope...>
//	    implies         <scope> <included scope...>
//	    allow           ...
//	    allow_network   <network...>
//	    deny_network    <network...>
//	    credentials     ...
//	}
func parseResource(d *caddyfile.Dispenser) (*Resource, error) {
	resource := &Resource{Paths: d.RemainingArgs()}
	if len(resource.Paths) == 0 {
		return nil, d.Err("resource needs a path, such as /github/*")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "name":
			if err := oneArg(d, &resource.Name); err != nil {
				return nil, err
			}
		case "allow":
			if resource.Allow == nil {
				resource.Allow = new(Allow)
			}
			if err := parseAllow(d, resource.Allow); err != nil {
				return nil, err
			}
		case "allow_network", "deny_network":
			if _, err := resource.Networks.unmarshalOption(d); err != nil {
				return nil, err
			}
		case "credentials":
			if resource.Credentials != nil {
				return nil, d.Err("credentials is given twice")
			}
			var err error
			if resource.Credentials, err = parseCredentials(d); err != nil {
				return nil, err
			}
		default:
			known, err := resource.parseScopeOption(d)
			if err != nil {
				return nil, err
			}
			if !known {
				return nil, d.Errf("unknown option %q; resource knows: name, scopes, challenge_scope, required_scope, implies, allow, "+
					"allow_network, deny_network, credentials", d.Val())
			}
		}
	}
	if err := resource.load(); err != nil {
		return nil, d.WrapErr(err)
	}
	return resource, nil
}

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	oidc <issuer> {
//	    client_id      <id>
//	    client_secret  <{env.NAME} | {file./path}>
//	    scopes         <scope...>
//	    redirect_url   <url>
//	    groups_claim   <claim>
//	    email_claim    <claim>
//	    hosted_domain  <domain...>
//	    domains        <domain...>
//	    auth_param     <name> <value>
//	    algorithms     <algorithm...>
//	    trust_unverified_email
//	    recheck        off
//	    id             <id>
//	    name           <text>
//	}
func (o *OIDC) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the provider's name
	directive := *d
	if !d.AllArgs(&o.Issuer) {
		return d.Err("oidc takes the provider's issuer, such as https://accounts.google.com")
	}
	texts := map[string]*string{
		"client_id": &o.ClientID, "client_secret": &o.ClientSecret, "redirect_url": &o.RedirectURL,
		"groups_claim": &o.GroupsClaim, "email_claim": &o.EmailClaim, "id": &o.ID, "name": &o.Name,
	}
	lists := map[string]*[]string{
		"scopes": &o.Scopes, "hosted_domain": &o.HostedDomains, "algorithms": &o.Algorithms, "domains": &o.Domains,
	}
	for d.NextBlock(0) {
		name := d.Val()
		if target, ok := texts[name]; ok {
			if err := oneArg(d, target); err != nil {
				return err
			}
			continue
		}
		if target, ok := lists[name]; ok {
			if err := someArgs(d, target); err != nil {
				return err
			}
			continue
		}
		switch name {
		case "auth_param":
			var key, value string
			if !d.AllArgs(&key, &value) {
				return d.Err("auth_param takes a name and a value")
			}
			if o.AuthParams == nil {
				o.AuthParams = make(map[string]string)
			}
			o.AuthParams[key] = value
		case "trust_unverified_email":
			o.TrustUnverifiedEmail = true
			if err := noArgs(d); err != nil {
				return err
			}
		case "recheck":
			if err := parseRecheck(d, &o.DisableRecheck); err != nil {
				return err
			}
		default:
			return d.Errf("unknown option %q; oidc knows: client_id, client_secret, scopes, redirect_url, groups_claim, email_claim, "+
				"hosted_domain, domains, auth_param, algorithms, trust_unverified_email, recheck, id, name", name)
		}
	}
	if o.ClientID == "" {
		return d.Errf("oidc %s: client_id is missing; write the client id that the provider gave out", o.Issuer)
	}
	if err := checkRedirectURL(o.RedirectURL); err != nil {
		return directive.WrapErr(err)
	}
	if !strings.Contains(o.Issuer, "{") {
		// Mistakes show with their line here; placeholders are resolved later.
		if _, err := o.build(o.Issuer, o.ClientID, ""); err != nil {
			return directive.WrapErr(err)
		}
	}
	return nil
}

// UnmarshalCaddyfile sets up the provider from Caddyfile tokens. Syntax:
//
//	local {
//	    user <email> <hash> {
//	        name   <text>
//	        groups <group...>
//	    }
//	    name <text>
//	    id   <id>
//	}
//
// The hash is what `caddy hash-password` prints.
func (l *Local) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the provider's name
	if d.NextArg() {
		return d.Err(`local takes no value; write "user <email> <hash>" inside its block`)
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "user":
			user, err := parseLocalUser(d)
			if err != nil {
				return err
			}
			l.Users = append(l.Users, user)
		case "name":
			if err := oneArg(d, &l.Name); err != nil {
				return err
			}
		case "id":
			if err := oneArg(d, &l.ID); err != nil {
				return err
			}
		default:
			return d.Errf("unknown option %q; local knows: user, name, id", d.Val())
		}
	}
	if len(l.Users) == 0 {
		return d.Err(`local has no user; write "user <email> <hash>", with a hash from "caddy hash-password"`)
	}
	return nil
}

func parseLocalUser(d *caddyfile.Dispenser) (LocalUser, error) {
	var user LocalUser
	if !d.AllArgs(&user.Email, &user.Hash) {
		return user, d.Err(`user takes an e-mail address and a hash from "caddy hash-password"`)
	}
	if !strings.Contains(user.Hash, "{") {
		if _, err := identity.NewLocal("local", "", "local", []identity.LocalUser{{Email: user.Email, Hash: user.Hash}}); err != nil {
			return user, d.WrapErr(err)
		}
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch d.Val() {
		case "name":
			if err := oneArg(d, &user.Name); err != nil {
				return user, err
			}
		case "groups":
			if err := someArgs(d, &user.Groups); err != nil {
				return user, err
			}
			for _, group := range user.Groups {
				if !identity.ValidGroup(group) {
					return user, d.Errf("groups %q: a group is 1 to 256 printable ASCII characters without a comma", group)
				}
			}
		default:
			return user, d.Errf("unknown option %q; user knows: name, groups", d.Val())
		}
	}
	return user, nil
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store caddy
func (s *CaddyStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return onlyName(d) }

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store memory
func (s *MemoryStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return onlyName(d) }

func onlyName(d *caddyfile.Dispenser) error {
	d.Next() // consume the store's name
	if name := d.Val(); d.NextArg() || d.NextBlock(0) {
		return d.Errf("store %s takes no options", name)
	}
	return nil
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*OIDC)(nil)
	_ caddyfile.Unmarshaler = (*Local)(nil)
	_ caddyfile.Unmarshaler = (*CaddyStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
)
