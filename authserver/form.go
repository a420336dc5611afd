package authserver

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
)

// readForm reads the body of a POST as the machine endpoints accept it. resource alone may be repeated
// (RFC 8707, section 2).
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *oauthError) {
	form, err := forms.Body(w, r, "resource")
	var refused *forms.BodyError
	if errors.As(err, &refused) {
		return nil, &oauthError{code: "invalid_request", description: refused.Text, status: refused.Status}
	}
	return form, nil
}

// readOwnForm reads the form of one of our own pages.
func (s *Server) readOwnForm(w http.ResponseWriter, r *http.Request) (url.Values, *problem) {
	form, err := s.forms.Read(w, r)
	switch {
	case err == nil:
		return form, nil
	case errors.Is(err, forms.ErrMethod):
		return nil, &problem{status: http.StatusMethodNotAllowed, text: "This address takes the form of a page only.", advice: startAgain}
	case errors.Is(err, forms.ErrEarlyData):
		return nil, &problem{status: http.StatusTooEarly, text: "Please send the form again.", advice: startAgain}
	case errors.Is(err, forms.ErrForeign):
		s.recordSampled(r, audit.Event{Type: audit.AccessDenied, Reason: "form sent from another site"})
		return nil, &foreignPost
	}
	return nil, &unreadableRequest
}

// methodAllowed answers anything but the methods given with 405.
func methodAllowed(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	writeError(w, &oauthError{
		code:        "invalid_request",
		description: "this endpoint takes " + strings.Join(methods, " or ") + " only",
		status:      http.StatusMethodNotAllowed,
	})
	return false
}
