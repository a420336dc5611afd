package mcpauth

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

var (
	errAmbiguousPath = errors.New("path has more than one reading")
	errTokenInQuery  = errors.New("access token in the query string")
	errNoToken       = errors.New("no access token")
	errTwoTokens     = errors.New("several Authorization headers")
	errBadToken      = errors.New("access token not valid for this resource")
	errNotAdmitted   = errors.New("user is not on the allow-list any more")
	errScope         = errors.New("access token lacks a scope that this resource requires")
)

// protect lets a request through to a protected resource if its bearer token was issued for exactly
// that resource, has not expired, was not revoked, and belongs to somebody whom the allow-lists
// still admit. It touches no store.
func (h *Handler) protect(w http.ResponseWriter, r *http.Request, s *site, res *resource, path string, next caddyhttp.Handler) error {
	if sseproxy.Ambiguous(r) {
		return caddyhttp.Error(http.StatusBadRequest, errAmbiguousPath)
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		// A preflight carries no token; it is answered here and never reaches the upstream.
		oauthmeta.Preflight(w, r, "GET, POST, DELETE, OPTIONS")
		return nil
	}
	if sseproxy.TokenInQuery(r) {
		// MCP authorization, "Token Requirements": tokens do not belong in URLs, where logs keep them.
		return refuse(w, s, res, path, http.StatusBadRequest, "invalid_request", errTokenInQuery)
	}
	token, err := access.Bearer(r.Header)
	switch {
	case errors.Is(err, access.ErrRepeated):
		return refuse(w, s, res, path, http.StatusBadRequest, "invalid_request", errTwoTokens)
	case errors.Is(err, access.ErrNoToken):
		// Without credentials no error code is due (RFC 6750, section 3.1).
		return refuse(w, s, res, path, http.StatusUnauthorized, "", errNoToken)
	case err != nil:
		return refuse(w, s, res, path, http.StatusUnauthorized, "invalid_token", errBadToken)
	}

	// One allocation for everything that lives as long as the request.
	c := new(caller)
	err = s.vault.OpenAccess(token, &c.access)
	if errors.Is(err, sessions.ErrUnavailable) {
		if h.runtime.load(r.Context()) == nil {
			err = s.vault.OpenAccess(token, &c.access)
		}
	}
	switch {
	case errors.Is(err, sessions.ErrUnavailable):
		w.Header().Set("Retry-After", "5")
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	case err != nil, c.access.Resource != res.URI:
		return refuse(w, s, res, path, http.StatusUnauthorized, "invalid_token", errBadToken)
	case !s.admits(&c.access, res):
		return caddyhttp.Error(http.StatusForbidden, errNotAdmitted)
	}
	if !res.Hierarchy.Sufficient(c.access.Scope) {
		return refuseScope(w, s, res, path, c.access.Scope)
	}
	c.identify(res)
	if err := s.vouch(w, c); err != nil {
		return err
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(c.placeholder)
	}
	return s.guard.Serve(w, r, &c.identity, next)
}

// admits compares the owner of a token with the configuration as it is now. A client that acts in its own
// name is no person for the allow-lists, not even for "allow any": it is its entry that admits it.
func (s *site) admits(a *sessions.Access, res *resource) bool {
	if a.UserIssuer == s.issuer {
		return s.machines.Admits(a.ClientID, res.URI)
	}
	return s.policy.Allows(a.Email, a.Groups) && (res.Policy == nil || res.Policy.Allows(a.Email, a.Groups))
}

// caller is who makes a request.
type caller struct {
	access   sessions.Access
	identity sseproxy.Identity
}

func (c *caller) identify(res *resource) {
	a := &c.access
	c.identity = sseproxy.Identity{
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

// refuse answers with a challenge (RFC 6750, section 3). The status travels as an error, so that
// handle_errors may add a body; the challenge stays.
func refuse(w http.ResponseWriter, s *site, res *resource, path string, status int, code string, err error) error {
	return challenge(w, s, res, path, status, oauthmeta.Challenge{Scope: res.scope, Error: code}, err)
}

// refuseScope answers a good token that may too little (RFC 6750, section 3.1; MCP authorization,
// "Scope Challenge Handling"). Everything that is needed is named at once, so that the person is
// asked once.
func refuseScope(w http.ResponseWriter, s *site, res *resource, path, held string) error {
	return challenge(w, s, res, path, http.StatusForbidden, oauthmeta.Challenge{
		Scope:            res.Hierarchy.Needed(held),
		Error:            "insufficient_scope",
		ErrorDescription: "The access token lacks a scope that this resource requires",
	}, errScope)
}

func challenge(w http.ResponseWriter, s *site, res *resource, path string, status int, c oauthmeta.Challenge, err error) error {
	h := w.Header()
	oauthmeta.AllowCORS(h)
	h.Set("Cache-Control", "no-store")
	c.ResourceMetadata = oauthmeta.MetadataURL(s.metadataResource(res, path))
	h.Set("WWW-Authenticate", c.String())
	return caddyhttp.Error(status, err)
}

// metadataResource is the URL whose metadata a challenge points to: the one that was asked for, since
// some clients insist that the resource they are told is the URL they were given. Paths of unusual
// spelling get the resource's own.
func (s *site) metadataResource(res *resource, path string) string {
	if path == "/" || !strings.HasPrefix(path, res.path) || len(path) > 256 {
		return res.URI
	}
	if rest := path[len(res.path):]; rest != "" && rest[0] != '/' {
		return res.URI
	}
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '/', c == '-', c == '_', c == '.', c == '~':
		default:
			return res.URI
		}
	}
	return s.issuer + strings.TrimSuffix(path, "/")
}
