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
	s.sendBack(w, r, req.RedirectURI, target, clientName)
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
	s.sendBack(w, r, redirectURI, s.authorizationResponse(redirectURI, state, values), "")
}

// sendBack hands the browser back to the client. A redirect to another program leaves the tab as it
// was, empty or with a form that has been used up; a page can say that this is over.
func (s *Server) sendBack(w http.ResponseWriter, r *http.Request, redirectURI, target, clientName string) {
	if _, kind := clients.RedirectHost(redirectURI); kind != clients.PrivateScheme {
		redirect(w, r, target)
		return
	}
	pages.WriteLeaving(w, r, pages.Leaving{Target: target, ClientName: clientName, SiteName: s.SiteName})
}

// decline tells whoever made a request that nothing comes of it: a client by redirect, a device when it
// polls next.
func (s *Server) decline(w http.ResponseWriter, r *http.Request, req request, e *oauthError) {
	if req.Device != nil {
		s.denyDevice(w, r, req)
		return
	}
	s.redirectError(w, r, req.RedirectURI, req.State, e)
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
