package authserver

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
)

// redirectCode ends the browser leg: the code goes back to the client.
func (s *Server) redirectCode(w http.ResponseWriter, r *http.Request, req request, clientName, code string) {
	target := s.authorizationResponse(req.RedirectURI, req.State, url.Values{"code": {code}})
	if _, kind := clients.RedirectHost(req.RedirectURI); kind == clients.PrivateScheme {
		// A redirect to another program leaves an empty tab behind; a page can say that it is done.
		pages.WriteLeaving(w, r, pages.Leaving{Target: target, ClientName: clientName, SiteName: s.SiteName})
		return
	}
	redirect(w, r, target)
}

// redirectError tells a client whose redirect URI has been checked why it gets no code
// (RFC 6749, section 4.1.2.1).
func (s *Server) redirectError(w http.ResponseWriter, r *http.Request, redirectURI, state string, e *oauthError) {
	values := url.Values{"error": {e.code}}
	if e.description != "" {
		values.Set("error_description", e.description)
	}
	if len(state) > maxState {
		state = ""
	}
	redirect(w, r, s.authorizationResponse(redirectURI, state, values))
}

// authorizationResponse adds the parameters to a redirect URI, whose own query stays as it is. The
// issuer goes along in success and error alike, against mix-up (RFC 9207, section 2).
func (s *Server) authorizationResponse(redirectURI, state string, values url.Values) string {
	values.Set("iss", s.Issuer)
	if state != "" {
		values.Set("state", state)
	}
	separator := "?"
	if strings.Contains(redirectURI, "?") {
		separator = "&"
	}
	// Some clients decode percent-encoding only, not the plus sign of forms.
	return redirectURI + separator + strings.ReplaceAll(values.Encode(), "+", "%20")
}

// redirect sends the browser on. 303 makes it a GET whatever the request was, so that a form with
// credentials is never posted again elsewhere (RFC 9700, section 4.12).
func redirect(w http.ResponseWriter, _ *http.Request, target string) {
	h := w.Header()
	h.Set("Location", target)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}
