package mcpauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// parseAuthorizationServer reads an authorization server that somebody else runs. Syntax:
//
//	authorization_server <issuer> {
//	    audience      <audience...>
//	    allow_missing_audience
//	    jwks          <url>
//	    introspection <url> {
//	        client_id     <id>
//	        client_secret <{env.NAME} | {file./path}>
//	        bearer_token  <{env.NAME} | {file./path}>
//	    }
//	    algorithms      <algorithm...>
//	    require_at_jwt
//	    required_scopes <scope...>
//
//	    scopes_claim         <claim>
//	    subject_claim        <claim>
//	    email_claim          <claim>
//	    email_verified_claim <claim>
//	    trust_unverified_email
//	    groups_claim         <claim>
//	    client_claim         <claim>
//
//	    facade {
//	        ...
//	    }
//	}
func parseAuthorizationServer(d *caddyfile.Dispenser) (*AuthorizationServer, error) {
	a := new(AuthorizationServer)
	if !d.AllArgs(&a.Issuer) {
		return nil, d.Err("authorization_server takes its issuer, such as https://login.example.com/realms/main")
	}
	directive := *d
	texts := map[string]*string{
		"jwks": &a.JWKS, "scopes_claim": &a.ScopesClaim, "subject_claim": &a.SubjectClaim, "email_claim": &a.EmailClaim,
		"email_verified_claim": &a.EmailVerifiedClaim, "groups_claim": &a.GroupsClaim, "client_claim": &a.ClientClaim,
	}
	lists := map[string]*[]string{"audience": &a.Audiences, "algorithms": &a.Algorithms, "required_scopes": &a.RequiredScopes}
	switches := map[string]*bool{
		"allow_missing_audience": &a.AllowMissingAudience, "require_at_jwt": &a.RequireAccessTokenType,
		"trust_unverified_email": &a.TrustUnverifiedEmail,
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name, err := d.Val(), error(nil)
		if target, ok := texts[name]; ok {
			err = oneArg(d, target)
		} else if target, ok := lists[name]; ok {
			err = someArgs(d, target)
		} else if target, ok := switches[name]; ok {
			*target = true
			err = noArgs(d)
		} else if name == "introspection" {
			err = a.parseIntrospection(d)
		} else if name == "facade" {
			err = a.parseFacade(d)
		} else {
			err = d.Errf("unknown option %q; authorization_server knows: audience, allow_missing_audience, jwks, introspection, algorithms, "+
				"require_at_jwt, required_scopes, scopes_claim, subject_claim, email_claim, email_verified_claim, trust_unverified_email, "+
				"groups_claim, client_claim, facade", name)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := a.check(); err != nil {
		return nil, directive.WrapErr(err)
	}
	return a, nil
}

func (a *AuthorizationServer) parseIntrospection(d *caddyfile.Dispenser) error {
	if a.Introspection != nil {
		return d.Err("introspection is given twice")
	}
	i := new(Introspection)
	if !d.AllArgs(&i.URL) {
		return d.Err("introspection takes the address of the endpoint, and a block with client_id and client_secret")
	}
	texts := map[string]*string{"client_id": &i.ClientID, "client_secret": &i.ClientSecret, "bearer_token": &i.BearerToken}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		target, ok := texts[d.Val()]
		if !ok {
			return d.Errf("unknown option %q; introspection knows: client_id, client_secret, bearer_token", d.Val())
		}
		if err := oneArg(d, target); err != nil {
			return err
		}
	}
	a.Introspection = i
	return nil
}
