package authserver

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// ErrRefusedForm is a form that no page of ours has sent, or that cannot be read.
var ErrRefusedForm = errors.New("form refused")

// SignedIn returns the session of the browser that sent r, or nil. A session whose person has since left
// the allow-list is none, and neither is one whose sign-in the identity provider has ended. The error is
// sessions.ErrUnavailable.
func (s *Server) SignedIn(r *http.Request) (*sessions.Browser, error) {
	browser, trouble := s.signedIn(r)
	if trouble != nil {
		return nil, sessions.ErrUnavailable
	}
	return browser, nil
}

// ReadForm reads a POST of one of the site's own pages, and refuses those that other sites send. The error
// is [ErrRefusedForm].
func (s *Server) ReadForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	form, trouble := s.readOwnForm(w, r)
	if trouble != nil {
		return nil, ErrRefusedForm
	}
	return form, nil
}

// Browser returns the id of the browser that sent r, planting it when there is none. It ties tickets to a
// browser and says nothing about who uses it.
func (s *Server) Browser(w http.ResponseWriter, r *http.Request) (sessions.ID, error) {
	return s.browserID(w, r)
}

// KnownBrowser returns the id of the browser that sent r, if it has one.
func (s *Server) KnownBrowser(r *http.Request) (sessions.ID, bool) { return s.knownBrowser(r) }
