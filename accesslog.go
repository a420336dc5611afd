package mcpauth

import (
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
)

// hide keeps a request for one of the authorization server's endpoints out of the access log, where that
// would write what is worth something.
func (s *site) hide(w http.ResponseWriter, r *http.Request, endpoint http.HandlerFunc, path string) {
	if endpoint != nil && s.portal.Endpoint(path) == nil {
		hideFromAccessLog(w, r, path)
	}
}

// hideFromAccessLog keeps the requests that carry a code or end in a redirect with one out of the
// access log, which writes query strings and the Location header. The audit log has them.
func hideFromAccessLog(w http.ResponseWriter, r *http.Request, path string) {
	switch path {
	case authserver.TokenPath, authserver.RevokePath, authserver.RegisterPath,
		authserver.DeviceAuthorizationPath, authserver.IntrospectPath, authserver.JWKSPath:
		return
	case authserver.AuthorizePath:
		// It is answered with a code where consent was given before.
		if w.Header().Get("Location") == "" {
			return
		}
	}
	if r.Context().Value(caddyhttp.VarsCtxKey) != nil {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
}
