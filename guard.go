package mcpauth

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// protect lets a request through to a protected resource if its bearer token was issued for exactly
// that resource, has not expired, was not revoked, and belongs to somebody whom the allow-lists
// still admit. It touches no store.
func (h *Handler) protect(w http.ResponseWriter, r *http.Request, s *site, res *resource, path string, next caddyhttp.Handler) error {
	c := new(caller)
	err := h.guard(w, r, s, res, path, c, next)
	if err != nil {
		h.recordDenied(r, res, &c.access, err)
	}
	return err
}

func (h *Handler) guard(w http.ResponseWriter, r *http.Request, s *site, res *resource, path string, c *caller, next caddyhttp.Handler) error {
	if refusal := sseproxy.CheckTarget(r); refusal != nil {
		return turnAwayFor(w, refusal)
	}
	origin, err := s.origins.Check(r.Header)
	if err != nil {
		// MCP 2025-11-25, "Security Warning": an Origin that is not valid MUST be answered with 403.
		oauthmeta.VaryByOrigin(w.Header())
		return turnAway(reasonOrigin, http.StatusForbidden, err)
	}
	if origin != "" {
		// A page has to be able to read refusals too, or it could not find out how to sign in.
		oauthmeta.AllowOrigin(w.Header(), origin)
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		// A preflight carries no token; it is answered here and never reaches the upstream.
		oauthmeta.WritePreflight(w, resourceMethods)
		return nil
	}
	if sseproxy.TokenInQuery(r) {
		// MCP authorization, "Token Requirements": tokens do not belong in URLs, where logs keep them.
		return refuse(w, s, res, path, reasonTokenInQuery)
	}
	token, err := access.Bearer(r.Header)
	switch {
	case errors.Is(err, access.ErrRepeated):
		return refuse(w, s, res, path, reasonTwoTokens)
	case errors.Is(err, access.ErrNoToken):
		return refuse(w, s, res, path, reasonNoToken)
	case err != nil:
		return h.refuseGuess(w, r, s, res, path)
	}

	err = s.vault.OpenAccess(token, &c.access)
	if errors.Is(err, sessions.ErrUnavailable) {
		if h.runtime.load(r.Context()) == nil {
			err = s.vault.OpenAccess(token, &c.access)
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, sessions.ErrUnavailable):
		w.Header().Set("Retry-After", retryWhenOverloaded)
		return turnAway(reasonUnavailable, http.StatusServiceUnavailable, err)
	case errors.Is(err, sessions.ErrExpired):
		return refuse(w, s, res, path, reasonExpired)
	case errors.Is(err, sessions.ErrRevoked):
		return refuse(w, s, res, path, reasonRevoked)
	default:
		return h.refuseGuess(w, r, s, res, path)
	}
	switch {
	case c.access.Resource != res.URI:
		return refuse(w, s, res, path, reasonAudience)
	case !s.admits(&c.access, res):
		return turnAway(reasonNotAdmitted, http.StatusForbidden, errNotAdmitted)
	}
	if !res.Hierarchy.Sufficient(c.access.Scope) {
		return refuseScope(w, s, res, path, c.access.Scope)
	}
	if refusal := s.guard.CheckMessage(r); refusal != nil {
		return turnAwayFor(w, refusal)
	}
	if err := h.limitBody(r); err != nil {
		return err
	}
	c.identify(res)
	c.call.AllowOrigin, c.call.Path = origin, path
	if err := s.vouch(w, c); err != nil {
		return err
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(c.placeholder)
	}
	return s.guard.ServeCall(w, r, &c.call, next)
}

// admits compares the owner of a token with the configuration as it is now. A client that acts in its own
// name is no person for the allow-lists, not even for "allow any": it is its entry that admits it.
func (s *site) admits(a *sessions.Access, res *resource) bool {
	if a.UserIssuer == s.issuer {
		return s.machines.Admits(a.ClientID, res.URI)
	}
	return s.policy.Allows(a.Email, a.Groups) && (res.Policy == nil || res.Policy.Allows(a.Email, a.Groups))
}
