package mcpauth

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// Resource is a protected resource: one MCP server behind the site.
type Resource struct {
	// Its paths. The first one is the resource identifier (with the issuer before it); each covers
	// itself and everything below. A legacy HTTP+SSE server lists its message path too.
	Paths []string `json:"paths,omitempty"`

	// What people call it; shown on the consent page. Default: none.
	Name string `json:"name,omitempty"`

	// The scopes that exist here. Clients ask for them, people consent to them, tokens carry them.
	// Default: none.
	Scopes []string `json:"scopes,omitempty"`

	// The scopes that a client is told to ask for first, and that it gets when it asks for none.
	// They hold those that are required. Default: all scopes.
	ChallengeScope []string `json:"challenge_scope,omitempty"`

	// The scopes without which nothing here can be used. A token that lacks one is answered with a
	// challenge that names them all, upon which clients ask the person for more. Default: none.
	RequiredScope []string `json:"required_scope,omitempty"`

	// Which scopes each scope includes, directly; what those include follows. Default: none.
	Implies map[string][]string `json:"implies,omitempty"`

	// Who may use this resource, in addition to the site's own rules. Default: whoever
	// those let in.
	Allow *Allow `json:"allow,omitempty"`

	// From where requests for this resource are taken, in addition to what the site says.
	Networks

	// Put a credential of each person on the requests that reach the upstream. Default: none.
	Credentials *Credentials `json:"credentials,omitempty"`

	policy   *access.Policy
	scopes   *access.Scopes
	networks *access.Networks
}

// load checks what can be checked without the issuer.
func (r *Resource) load() error {
	if r == nil || len(r.Paths) == 0 {
		return fmt.Errorf("resource without a path; write, for example, resource /github/*")
	}
	for i, scope := range r.Scopes {
		if slices.Contains(r.Scopes[:i], scope) {
			return fmt.Errorf("resource %s: the scope %s is given twice", r.Paths[0], scope)
		}
		if !validScopeToken(scope) {
			return fmt.Errorf("resource %s: %q is not a scope: use letters, digits and punctuation without quotes, backslashes and spaces", r.Paths[0], scope)
		}
		if scope == "offline_access" {
			return fmt.Errorf("resource %s: offline_access is no scope of a resource; clients get refresh tokens without it", r.Paths[0])
		}
	}
	var err error
	if r.policy, err = r.Allow.policy(); err != nil {
		return fmt.Errorf("resource %s: %w", r.Paths[0], err)
	}
	if err := r.loadScopes(); err != nil {
		return fmt.Errorf("resource %s: %w", r.Paths[0], err)
	}
	if r.networks, err = r.Networks.resolve(); err != nil {
		return fmt.Errorf("resource %s: %w", r.Paths[0], err)
	}
	return nil
}

// validScopeToken is scope-token of RFC 6749, section 3.3.
func validScopeToken(scope string) bool {
	for i := range len(scope) {
		if c := scope[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return scope != ""
}

// resource is a protected resource of one issuer, with everything prepared that a request needs.
type resource struct {
	authserver.Resource
	path     string // of the identifier, without a trailing slash; "" is the whole site
	scope    string // what a challenge asks for first
	networks *access.Networks

	credentials *credentials.Guard // nil: the upstream wants none of each person
}

// resourceSet is the protected resources of one issuer. It implements authserver.Resources.
type resourceSet struct {
	issuer string
	all    []*resource
	paths  *sseproxy.Paths[*resource]

	authorizationServers []string // whose tokens are good here
}

// newResourceSet prepares the resources. Without any the whole site is one (RFC 9728, section 1.2:
// a resource identifier is a URL; here the issuer's own).
func newResourceSet(issuer string, configured []*Resource) (*resourceSet, error) {
	set := &resourceSet{issuer: issuer, paths: sseproxy.NewPaths[*resource](), authorizationServers: []string{issuer}}
	if len(configured) == 0 {
		configured = []*Resource{{Paths: []string{"/"}}}
	}
	for _, c := range configured {
		if err := clearOfEndpoints(c.Paths); err != nil {
			return nil, err
		}
		path := strings.TrimSuffix(strings.TrimSuffix(c.Paths[0], "*"), "/")
		r := &resource{
			Resource: authserver.Resource{
				URI: issuer + path, Name: c.Name, Scopes: c.Scopes, DefaultScopes: c.challengeScope(),
				Hierarchy: c.scopes, Policy: c.policy,
			},
			path:     path,
			scope:    strings.Join(c.challengeScope(), " "),
			networks: c.networks,
		}
		for _, p := range c.Paths {
			if err := set.paths.Add(p, r); err != nil {
				return nil, err
			}
		}
		set.all = append(set.all, r)
	}
	return set, nil
}

// clearOfEndpoints refuses resource paths that would cover endpoints of ours and not the whole site:
// whoever writes that expects something else from it.
func clearOfEndpoints(patterns []string) error {
	for _, pattern := range patterns {
		first, _, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
		if first = strings.ToLower(first); first == "oauth2" || first == ".well-known" {
			return fmt.Errorf("resource %s: mcp_auth answers below /oauth2/ and /.well-known/ itself; serve the MCP server at another path", pattern)
		}
	}
	return nil
}

// Find implements authserver.Resources. Clients name the URL that they were given, which may lie
// below the resource; it is the resource that the token is for.
func (s *resourceSet) Find(indicator string) *authserver.Resource {
	canonical, err := oauthmeta.Canonical(indicator)
	if err != nil {
		return nil
	}
	path, ok := strings.CutPrefix(canonical, s.issuer)
	if !ok || path != "" && path[0] != '/' {
		return nil
	}
	if path == "" {
		path = "/"
	}
	if r, ok := s.paths.Match(path); ok {
		return &r.Resource
	}
	return nil
}

// holds reports whether address lies in r. Clients that were given an address below a resource have
// it written into their tokens.
func (s *resourceSet) holds(r *resource, address string) bool {
	return address == r.URI || s.Find(address) == &r.Resource
}

// at returns the resource that was configured with path as its first one, or nil.
func (s *resourceSet) at(path string) *resource {
	path = strings.TrimSuffix(strings.TrimSuffix(path, "*"), "/")
	for _, r := range s.all {
		if r.path == path {
			return r
		}
	}
	return nil
}

// Default implements authserver.Resources.
func (s *resourceSet) Default() *authserver.Resource {
	if len(s.all) == 1 {
		return &s.all[0].Resource
	}
	return nil
}

// All implements authserver.Resources.
func (s *resourceSet) All() []*authserver.Resource {
	all := make([]*authserver.Resource, 0, len(s.all))
	for _, r := range s.all {
		all = append(all, &r.Resource)
	}
	return all
}

// metadata returns the protected resource metadata for base, the path at which a client looked:
// the resource it names has to be the one the client derived the address from (RFC 9728, section
// 3.3). Nil means there is none.
func (s *resourceSet) metadata(base string) *oauthmeta.ProtectedResource {
	// base is decoded, and a resource identifier is a URI.
	uri, found := s.issuer+(&url.URL{Path: base}).EscapedPath(), (*resource)(nil)
	switch {
	case base != "":
		if r, ok := s.paths.Match(base); ok {
			found = r
		}
	case len(s.all) == 1:
		found, uri = s.all[0], s.all[0].URI
	}
	document := &oauthmeta.ProtectedResource{
		Resource:               uri,
		AuthorizationServers:   s.authorizationServers,
		BearerMethodsSupported: []string{"header"},
	}
	switch {
	case found != nil:
		document.ScopesSupported, document.ResourceName = found.Scopes, found.Name
	case base != "":
		return nil
	}
	return document
}

// Interface guards
var _ authserver.Resources = (*resourceSet)(nil)
