package mcpauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// parseFacade reads how clients that cannot register at an authorization server get its tokens. Syntax:
//
//	facade {
//	    client_id     <id>
//	    client_secret <{env.NAME} | {file./path}>
//	    name          <text>
//	    scopes        <scope...>
//	    scope_prefix  <text>
//	    whole_scope
//	    resource_indicator
//	    auth_param    <name> <value>
//	    redirect_url  <url>
//
//	    authorization_endpoint <url>
//	    token_endpoint         <url>
//	    revocation_endpoint    <url>
//	}
func (a *AuthorizationServer) parseFacade(d *caddyfile.Dispenser) error {
	if a.Facade != nil {
		return d.Err("facade is given twice")
	}
	if err := noArgs(d); err != nil {
		return err
	}
	f := new(Facade)
	texts := map[string]*string{
		"client_id": &f.ClientID, "client_secret": &f.ClientSecret, "name": &f.Name, "scope_prefix": &f.ScopePrefix,
		"redirect_url": &f.RedirectURL, "authorization_endpoint": &f.AuthorizationEndpoint,
		"token_endpoint": &f.TokenEndpoint, "revocation_endpoint": &f.RevocationEndpoint,
	}
	switches := map[string]*bool{"whole_scope": &f.WholeScope, "resource_indicator": &f.ResourceIndicator}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name, err := d.Val(), error(nil)
		if target, ok := texts[name]; ok {
			err = oneArg(d, target)
		} else if target, ok := switches[name]; ok {
			*target = true
			err = noArgs(d)
		} else if name == "scopes" {
			err = someArgs(d, &f.Scopes)
		} else if name == "auth_param" {
			err = f.parseAuthParam(d)
		} else {
			err = d.Errf("unknown option %q; facade knows: client_id, client_secret, name, scopes, scope_prefix, whole_scope, "+
				"resource_indicator, auth_param, redirect_url, authorization_endpoint, token_endpoint, revocation_endpoint", name)
		}
		if err != nil {
			return err
		}
	}
	a.Facade = f
	return nil
}

func (f *Facade) parseAuthParam(d *caddyfile.Dispenser) error {
	var name, value string
	if !d.AllArgs(&name, &value) {
		return d.Err("auth_param takes a name and a value")
	}
	if _, twice := f.AuthParams[name]; twice {
		return d.Errf("auth_param %s is given twice", name)
	}
	if f.AuthParams == nil {
		f.AuthParams = make(map[string]string)
	}
	f.AuthParams[name] = value
	return nil
}
