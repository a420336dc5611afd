package authserver

import (
	"net/http"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// choice is the hidden field of the page that asks for an identity provider: what was consented to,
// sealed for the browser that consented. It may be posted again, by somebody who comes back to take
// another provider, until one sign-in has come of it.
type choice struct {
	ID      sessions.ID `json:"i"`
	Browser sessions.ID `json:"b"`
	Request request     `json:"r"`
	Expires int64       `json:"e"`
}

func newChoice(req request, browser sessions.ID, expires time.Time) choice {
	return choice{ID: sessions.NewID(), Browser: browser, Request: req, Expires: expires.Unix()}
}

// askChoice shows the page, with what went wrong before, if anything did.
func (s *Server) askChoice(w http.ResponseWriter, r *http.Request, c choice, wrong string) {
	sealed, err := s.Vault.SealJSON(sessions.ChoiceTicket, c)
	if err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	view := pages.Choose{Action: ChoosePath, Ticket: sealed, ByEmail: len(s.Domains) > 0, Error: wrong, SiteName: s.SiteName}
	if c.Request.OwnPage {
		view.Purpose = "See which applications are connected to your account, and disconnect them."
	}
	for _, p := range s.Providers {
		view.Providers = append(view.Providers, pages.Provider{ID: p.ID(), Name: p.Name()})
	}
	pages.WriteChoose(w, r, view)
}

// choose takes the choice of a provider, or an e-mail address that decides it.
func (s *Server) choose(w http.ResponseWriter, r *http.Request) {
	form, trouble := s.readOwnForm(w, r)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	c, err := s.openChoice(r, form.Get("ticket"))
	if err != nil {
		s.problem(w, r, s.ticketProblem(err))
		return
	}
	var provider identity.Provider
	if form.Has("provider") {
		if provider = s.providers[form.Get("provider")]; provider == nil {
			s.problem(w, r, unreadableRequest)
			return
		}
	} else {
		c.Request.LoginHint = cut(form.Get("email"), 254)
		if provider = s.providerOf(c.Request.LoginHint); provider == nil {
			s.askChoice(w, r, c, "No way to sign in belongs to this address. Choose one.")
			return
		}
	}
	if trouble = s.limitSignIns(r); trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	trouble = s.loginAt(w, r, provider, login{Request: c.Request, Browser: c.Browser, Choice: c.ID})
	switch {
	case trouble == nil:
	case *trouble == providerDown:
		s.askChoice(w, r, c, unreachable(provider))
	default:
		s.problem(w, r, *trouble)
	}
}

func unreachable(p identity.Provider) string {
	return p.Name() + " cannot be reached at the moment. Try again, or choose another."
}

// openChoice opens a ticket for the browser that it was made for.
func (s *Server) openChoice(r *http.Request, sealed string) (choice, error) {
	var c choice
	if err := s.Vault.OpenJSON(sessions.ChoiceTicket, sealed, &c); err != nil {
		return choice{}, err
	}
	if s.Now().Unix() >= c.Expires {
		return choice{}, sessions.ErrExpired
	}
	if id, ok := s.forms.KnownBrowser(r); !ok || id != c.Browser {
		return choice{}, sessions.ErrInvalid
	}
	return c, nil
}

// providerOf returns the provider at which the owner of an address signs in, or nil. It saves a
// question and decides nothing: who may come in is decided by what the provider says.
func (s *Server) providerOf(email string) identity.Provider {
	_, domain, err := identity.ParseEmail(email)
	if err != nil {
		return nil
	}
	return s.providers[s.Domains[domain]]
}
