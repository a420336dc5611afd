package authserver

import (
	"errors"
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// logoutTicket is the hidden field of the page that signs out. It is good for one session in one
// browser, and so for one use.
type logoutTicket struct {
	Browser sessions.ID `json:"b"`
	Session sessions.ID `json:"s"`
	Expires int64       `json:"e"`
}

// logout shows who is signed in, and takes the form that ends it. Another site can make a browser
// open the page, but not send the form.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.askLogout(w, r)
	default:
		s.endSession(w, r)
	}
}

func (s *Server) askLogout(w http.ResponseWriter, r *http.Request) {
	browser, trouble := s.browserSession(r)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	if browser == nil {
		pages.WriteMessage(w, r, http.StatusOK, pages.Message{
			Title:    "You are signed out",
			Text:     "Nobody is signed in here with this browser.",
			Advice:   "Applications that you connected stay connected until you disconnect them there.",
			SiteName: s.SiteName,
		})
		return
	}
	id, err := s.forms.Browser(w, r)
	var sealed string
	if err == nil {
		sealed, err = s.Vault.SealJSON(sessions.LogoutTicket, logoutTicket{
			Browser: id, Session: browser.ID, Expires: s.Now().Add(s.Lifetimes.Login).Unix(),
		})
	}
	if err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	pages.WriteSignOut(w, r, pages.SignOut{
		Action: LogoutPath, Ticket: sealed, Account: accountName(browser.User), SiteName: s.SiteName,
	})
}

// endSession ends the browser's session here, and then at the provider if it has an address for that
// (OpenID Connect RP-Initiated Logout 1.0, section 2).
func (s *Server) endSession(w http.ResponseWriter, r *http.Request) {
	form, trouble := s.readOwnForm(w, r)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	var t logoutTicket
	if err := s.Vault.OpenJSON(sessions.LogoutTicket, form.Get("ticket"), &t); err != nil {
		s.problem(w, r, s.ticketProblem(err))
		return
	}
	browser, trouble := s.browserSession(r)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	if browser == nil {
		redirect(w, r, LogoutPath) // signed out already, in another tab
		return
	}
	id, ok := s.forms.KnownBrowser(r)
	if !ok || id != t.Browser || browser.ID != t.Session || s.Now().Unix() >= t.Expires {
		s.problem(w, r, staleTicket)
		return
	}
	if err := s.Vault.DeleteBrowser(r.Context(), s.Cookies.Get(r, sessions.SessionCookieName)); err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	s.Cookies.Clear(w, sessions.SessionCookieName)
	s.Audit.Record(r.Context(), audit.Event{
		Type: audit.SignOut, Allowed: true, By: audit.ByPerson, Subject: browser.User.Subject, Email: browser.User.Email,
		Provider: browser.Provider, ClientAddr: s.ClientAddr(r),
	})
	target := LogoutPath
	if provider, ok := s.providers[browser.Provider].(identity.SessionEnder); ok {
		if there := provider.EndSession(r.Context(), browser.LogoutHint, s.Issuer+LogoutPath); there != "" {
			target = there
		}
	}
	redirect(w, r, target)
}

// browserSession returns the session of this browser, or nil. It counts also for somebody whom the
// allow-list does not admit any more.
func (s *Server) browserSession(r *http.Request) (*sessions.Browser, *problem) {
	cookie := s.Cookies.Get(r, sessions.SessionCookieName)
	if cookie == "" {
		return nil, nil
	}
	browser, err := s.Vault.LoadBrowser(r.Context(), cookie)
	switch {
	case errors.Is(err, sessions.ErrUnavailable):
		return nil, &storeDown
	case err != nil:
		return nil, nil
	}
	return &browser, nil
}
