package mcpauth

import (
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// caller is who makes a request, and everything else that lives as long as the request: one allocation.
type caller struct {
	sseproxy.Call

	// The token is of no grant: it is a service token or one that a person made, listed as ClientID.
	listed bool
}

// credential is by what name the token is listed, if it is of no grant.
func (c *caller) credential() string {
	if c.listed {
		return c.ClientID
	}
	return ""
}

// placeholder resolves the placeholders under which Caddy's own authentication handlers tell who is
// calling, so that access logs and later directives find them where they look.
func (c *caller) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, "http.auth.user.")
	if !ok {
		return nil, false
	}
	a := &c.Access
	switch name {
	case "id":
		return a.Subject, true
	case "email":
		return a.Email, true
	case "name":
		return a.Name, true
	case "groups":
		return a.Groups, true
	case "issuer":
		return a.UserIssuer, true
	case "client_id":
		return a.ClientID, true
	case "client_name":
		return a.ClientName, true
	case "scope":
		return a.Scope, true
	case "resource":
		return a.Resource, true
	}
	return nil, false
}
