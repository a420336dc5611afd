package mcpauth

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// protect lets a request through to a protected resource if it comes from a network that is let in and
// its bearer token was issued for exactly that resource, has not expired, was not revoked, and belongs
// to somebody whom the allow-lists still admit. It touches no store.
func (h *Handler) protect(w http.ResponseWriter, r *http.Request, s *site, res *resource, path string, next caddyhttp.Handler) error {
	c := new(caller)
	err := h.guard(w, r, s, res, path, c, next)
	if err != nil {
		h.recordDenied(r, res, c, err)
		dontWaitForBody(w, r)
	}
	return err
}

func (h *Handler) guard(w http.ResponseWriter, r *http.Request, s *site, res *resource, path string, c *caller, next caddyhttp.Handler) error {
	if refusal := sseproxy.CheckTarget(r); refusal != nil {
		return turnAwayFor(w, refusal)
	}
	if !admitsFrom(res.networks, r) {
		return turnAway(reasonNetwork, http.StatusForbidden, errNetwork)
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
	c.AllowOrigin = origin
	if s.open {
		return h.pass(w, r, s, res, path, c, next)
	}
	if sseproxy.TokenInQuery(r) {
		// MCP authorization, "Token Requirements": tokens do not belong in URLs, where logs keep them.
		return refuse(w, s, res, path, reasonTokenInQuery)
	}
	token, err := access.BearerOf(r.Header, s.maxBearer())
	switch {
	case errors.Is(err, access.ErrRepeated):
		return refuse(w, s, res, path, reasonTwoTokens)
	case errors.Is(err, access.ErrNoToken):
		return refuse(w, s, res, path, reasonNoToken)
	case err != nil:
		return h.refuseGuess(w, r, s, res, path, err)
	}

	switch err := h.authenticate(r, s, res, token, c); {
	case err == nil:
		return h.pass(w, r, s, res, path, c, next)
	case errors.Is(err, sessions.ErrUnavailable), errors.Is(err, external.ErrUnavailable):
		w.Header().Set("Retry-After", retryWhenOverloaded)
		return turnAway(reasonUnavailable, http.StatusServiceUnavailable, err)
	case errors.Is(err, sessions.ErrExpired), errors.Is(err, external.ErrExpired):
		return refuse(w, s, res, path, reasonExpired)
	case errors.Is(err, sessions.ErrRevoked):
		return refuse(w, s, res, path, reasonRevoked)
	case errors.Is(err, errAudience), errors.Is(err, external.ErrAudience):
		return refuse(w, s, res, path, reasonAudience)
	case errors.Is(err, access.ErrTokenNotHere):
		return refuse(w, s, res, path, reasonNotHere)
	case errors.Is(err, errNotAdmitted):
		return turnAway(reasonNotAdmitted, http.StatusForbidden, errNotAdmitted)
	case errors.Is(err, external.ErrScope):
		return refuseScope(w, s, res, path, neededScope(err))
	default:
		return h.refuseGuess(w, r, s, res, path, err)
	}
}

// pass hands on a request whose caller is known, or need not be.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, s *site, res *resource, path string, c *caller, next caddyhttp.Handler) error {
	if !s.open {
		if !res.Hierarchy.Sufficient(c.Scope) {
			return refuseScope(w, s, res, path, res.Hierarchy.Needed(c.Scope))
		}
		if err := h.limitRate(w, c); err != nil {
			return err
		}
	}
	if refusal := s.guard.CheckMessage(r); refusal != nil {
		return turnAwayFor(w, refusal)
	}
	if err := h.limitBody(r); err != nil {
		return err
	}
	c.Path = path
	if s.open {
		c.Resource = res.URI
		return s.guard.ServeCall(w, r, &c.Call, next)
	}
	if err := s.vouch(w, c); err != nil {
		return err
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(c.placeholder)
	}
	h.recordUse(r, s, c)
	return s.guard.ServeCall(w, r, &c.Call, s.credentialed(c, res, next))
}
