package authserver

import (
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// callback receives the browser back from an identity provider (OpenID Connect Core, section
// 3.1.2.5). The sign-in is taken from the store before the provider is asked anything, so a second
// use of the same callback finds nothing.
func (s *Server) callback(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		s.problem(w, r, problem{status: http.StatusMethodNotAllowed, text: "This address takes a redirect of the identity provider only.", advice: startAgain})
		return
	}
	if forms.EarlyData(r) {
		s.problem(w, r, problem{status: http.StatusTooEarly, text: "Please reload this page."})
		return
	}
	params, err := forms.Parse(r.URL.RawQuery)
	if err != nil || forms.Repeated(params) {
		s.problem(w, r, unreadableRequest)
		return
	}
	state := params.Get("state")
	if trouble := s.startedHere(r, state); trouble != nil {
		if trouble == &staleTicket {
			s.recordSampled(r, audit.Event{Type: audit.SignIn, Reason: "callback of a sign-in that this browser did not start"})
		}
		s.problem(w, r, *trouble)
		return
	}
	l, err := s.logins.Take(r.Context(), state)
	if err != nil {
		s.problem(w, r, s.ticketProblem(err))
		return
	}
	provider, ok := s.providers[l.Provider].(identity.Redirecting)
	if !ok || s.callbackPath(provider) != r.URL.Path {
		// The configuration changed meanwhile, or an answer came in at another provider's address
		// (mix-up; RFC 9700, section 4.4).
		s.problem(w, r, staleTicket)
		return
	}
	s.forgetLogin(w, r, state)

	user, err := provider.Finish(r.Context(), s.attempt(provider, l, state), params)
	if err != nil {
		s.signInFailed(w, r, provider, l, err)
		return
	}
	s.signIn(w, r, provider, l, user)
}

// signInFailed answers for a provider that did not say who the person is.
func (s *Server) signInFailed(w http.ResponseWriter, r *http.Request, p identity.Provider, l login, err error) {
	event := audit.Event{Type: audit.SignIn, Provider: p.ID(), Resource: l.Request.Resource, ClientAddr: s.ClientAddr(r)}
	switch {
	case errors.Is(err, identity.ErrDenied):
		event.Reason = "the provider or the person declined"
		s.Audit.Record(r.Context(), event)
		if l.Request.OwnPage {
			s.problem(w, r, notSignedIn)
			return
		}
		if _, trouble := s.clientOf(r, l.Request); trouble != nil {
			s.problem(w, r, *trouble)
			return
		}
		s.decline(w, r, l.Request, &oauthError{code: "access_denied", description: "the identity provider did not sign the person in"})
	case errors.Is(err, identity.ErrUnavailable):
		event.Reason = "the provider cannot be reached"
		s.Audit.Record(r.Context(), event)
		s.problem(w, r, s.providerProblem(p, err))
	case errors.As(err, new(*UnfitError)):
		s.problem(w, r, *s.unfitProblem(r, l.Request, err))
	default:
		id := errorID()
		s.Logger.Warn("sign-in refused", zap.String("error_id", id), providerField(p), errField(err))
		event.Reason = "the provider's answer did not pass verification"
		s.Audit.Record(r.Context(), event)
		s.problem(w, r, problem{
			status: http.StatusForbidden,
			title:  "Sign-in failed",
			text:   "The answer of the identity provider did not pass verification.",
			advice: startAgain + " If it happens again, tell the operator the error id below.",
			id:     id,
		})
	}
}

func providerField(p identity.Provider) zap.Field { return zap.String("provider", p.ID()) }

func errField(err error) zap.Field { return zap.Error(err) }
