package authserver

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxUserAgent bounds what is kept of a browser's name for itself.
const maxUserAgent = 300

// Session returns the session of the browser that sent r, or nil. A session whose person has since left
// the allow-list is none. The error wraps [sessions.ErrUnavailable].
func (s *Server) Session(r *http.Request) (*sessions.Browser, error) {
	browser, trouble := s.signedIn(r)
	if trouble != nil {
		return nil, sessions.ErrUnavailable
	}
	return browser, nil
}

// AskSignIn shows a page to sign in on, which leads to Config.OwnPage. It writes nothing, and no link of
// another site does more than show it: a sign-in begins with the form of that page, which is sealed for
// this browser (RFC 9700, section 4.7). Where it ends is no parameter, so it is no open redirector
// (section 4.11.2).
func (s *Server) AskSignIn(w http.ResponseWriter, r *http.Request) {
	if trouble := s.providersReady(r.Context()); trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	id, err := s.forms.Browser(w, r)
	if err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	s.askChoice(w, r, newChoice(request{OwnPage: true}, id, s.Now().Add(s.Lifetimes.Login)), "")
}

// admitsTo checks the additional rules of what a person signs in for.
func (s *Server) admitsTo(req request, user identity.User) error {
	if req.OwnPage {
		return nil
	}
	_, err := s.admits(req.Resource, user)
	return err
}

// showOwnPage ends a sign-in that was for no client.
func (s *Server) showOwnPage(w http.ResponseWriter, r *http.Request) {
	if s.OwnPage == "" {
		s.problem(w, r, staleTicket) // it was switched off meanwhile
		return
	}
	redirect(w, r, s.OwnPage)
}

// rememberSignIn adds to what the person is told of their sign-ins. One that is missing there keeps
// nobody out.
func (s *Server) rememberSignIn(r *http.Request, browser *sessions.Browser, clientName string) {
	err := s.Vault.RecordSignIn(r.Context(), browser.User.Key(), sessions.SignIn{
		At: browser.AuthTime, Provider: browser.Provider,
		ClientAddr: browser.ClientAddr, UserAgent: browser.UserAgent, ClientName: clientName,
	})
	if err != nil {
		s.Logger.Warn("sign-in was not added to the person's list", zap.Error(err))
	}
}

func userAgent(r *http.Request) string {
	name := r.UserAgent()
	return name[:min(len(name), maxUserAgent)]
}
