package authserver

import (
	"errors"
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// machine wraps what all endpoints that clients call directly have in common: browsers may read
// the answer from any origin, since nothing here acts on a cookie; only POST is taken; and early
// data, which an attacker on the network can replay, is refused (RFC 8470, section 5.2).
func (s *Server) machine(serve func(http.ResponseWriter, *http.Request) *oauthError) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if oauthmeta.Preflight(w, r, "POST") {
			return
		}
		if !methodAllowed(w, r, http.MethodPost) {
			return
		}
		if forms.EarlyData(r) {
			writeError(w, &oauthError{
				code:        "invalid_request",
				description: "send this request again after the TLS handshake",
				status:      http.StatusTooEarly,
			})
			return
		}
		if err := serve(w, r); err != nil {
			writeError(w, err)
		}
	}
}

// authenticateClient finds out which client calls (RFC 6749, section 2.3). A failure is 401, with a
// challenge for the scheme the client used.
func (s *Server) authenticateClient(w http.ResponseWriter, r *http.Request, form map[string][]string) (*clients.Client, *oauthError) {
	credentials, err := clients.ParseCredentials(r, form)
	if errors.Is(err, clients.ErrMalformed) {
		return nil, invalidRequest("authenticate the client in one way, and name one client_id")
	}
	if err == nil {
		var client *clients.Client
		client, err = s.Clients.Authenticate(clients.WithSource(r.Context(), s.ClientAddr(r)), credentials)
		if err == nil {
			return client, nil
		}
	}
	if r.Header.Get("Authorization") != "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="`+s.Issuer+`"`) // RFC 6749, section 5.2
	}
	switch {
	case errors.Is(err, clients.ErrUnavailable), errors.Is(err, sessions.ErrUnavailable):
		w.Header().Del("WWW-Authenticate")
		return nil, unavailable()
	case errors.Is(err, clients.ErrUnknown):
		s.recordSampled(r, audit.Event{Type: audit.ClientAuthentication, Reason: "unknown client"})
		return nil, invalidClient("this client is not registered here; register again")
	default:
		s.recordUnauthenticated(r, credentials.ClientID, "wrong credentials")
		return nil, invalidClient("client authentication failed")
	}
}
