package mcpauth

import (
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// caller is who makes a request, and everything else that lives as long as the request: one allocation.
type caller struct {
	access sessions.Access
	call   sseproxy.Call

	// By what name the token is listed, if it is of no grant: a service token or one that a person made.
	credential string
	made       bool // by a person
}

func (c *caller) identify(res *resource) {
	a := &c.access
	c.call.Identity = sseproxy.Identity{
		Subject:    a.Subject,
		Email:      a.Email,
		Groups:     a.Groups,
		ClientID:   a.ClientID,
		ClientName: a.ClientName,
		Scope:      a.Scope,
		UserIssuer: a.UserIssuer,
		Grant:      a.Grant,
		Token:      a.ID,
		ExpiresAt:  time.Unix(a.ExpiresAt, 0),
		Resource:   res.URI,
	}
}

// placeholder resolves the placeholders under which Caddy's own authentication handlers tell who is
// calling, so that access logs and later directives find them where they look.
func (c *caller) placeholder(key string) (any, bool) {
	name, ok := strings.CutPrefix(key, "http.auth.user.")
	if !ok {
		return nil, false
	}
	a := &c.access
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
