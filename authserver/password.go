package authserver

import (
	"errors"
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
)

// passwordLogin is the sign-in form of a provider that checks passwords itself.
func (s *Server) passwordLogin(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		params, err := forms.Parse(r.URL.RawQuery)
		if err != nil || forms.Repeated(params) {
			s.problem(w, r, unreadableRequest)
			return
		}
		l, _, trouble := s.pendingPassword(r, params.Get("state"))
		if trouble != nil {
			s.problem(w, r, *trouble)
			return
		}
		pages.WriteSignIn(w, r, http.StatusOK, s.signInView(r, l, params.Get("state"), l.Request.LoginHint))
	default:
		s.checkPassword(w, r)
	}
}

func (s *Server) checkPassword(w http.ResponseWriter, r *http.Request) {
	form, trouble := s.readOwnForm(w, r)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	state := form.Get("state")
	l, provider, trouble := s.pendingPassword(r, state)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	email := form.Get("email")
	user, err := provider.Check(r.Context(), s.ClientAddr(r), email, form.Get("password"))
	var limited *identity.RateLimitedError
	switch {
	case errors.As(err, &limited):
		s.recordPassword(r, l, "too many attempts")
		view := s.signInView(r, l, state, email)
		view.Error = "Too many attempts."
		view.RetryAfter = limited.RetryAfter
		pages.WriteSignIn(w, r, http.StatusTooManyRequests, view)
	case errors.Is(err, identity.ErrCredentials):
		s.recordPassword(r, l, "wrong e-mail address or password")
		view := s.signInView(r, l, state, email)
		view.Error = "The e-mail address or the password is not right."
		pages.WriteSignIn(w, r, http.StatusForbidden, view)
	case err != nil:
		s.problem(w, r, *s.internalProblem("checking a password", err))
	default:
		// Taken only now: a typing error must not end the sign-in.
		if _, err := s.logins.Take(r.Context(), state); err != nil {
			s.problem(w, r, s.ticketProblem(err))
			return
		}
		s.forgetLogin(w, r, state)
		s.signIn(w, r, provider, l, user)
	}
}

// pendingPassword loads a sign-in that this browser started with a password provider.
func (s *Server) pendingPassword(r *http.Request, state string) (login, identity.Password, *problem) {
	if trouble := s.startedHere(r, state); trouble != nil {
		return login{}, nil, trouble
	}
	l, err := s.logins.Load(r.Context(), state)
	if err != nil {
		trouble := s.ticketProblem(err)
		return login{}, nil, &trouble
	}
	provider, ok := s.providers[l.Provider].(identity.Password)
	if !ok {
		return login{}, nil, &staleTicket
	}
	return l, provider, nil
}

func (s *Server) signInView(r *http.Request, l login, state, email string) pages.SignIn {
	view := pages.SignIn{Action: LoginPath, State: state, Email: cut(email, 254), SiteName: s.SiteName}
	if l.Request.OwnPage {
		return view
	}
	if client, err := s.Clients.Lookup(r.Context(), l.Request.ClientID); err == nil {
		view.ClientName = client.Name
	}
	return view
}

// recordPassword records a failed attempt without the address that was typed: people type their
// password there. Of many from one network address the first in each minute is recorded.
func (s *Server) recordPassword(r *http.Request, l login, reason string) {
	s.recordSampled(r, audit.Event{Type: audit.SignIn, Reason: reason, Provider: l.Provider, Resource: l.Request.Resource})
}
