package authserver

import (
	"cmp"
	"errors"
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// ticket is the hidden field of the consent form: everything that consent is asked for, sealed, so
// that nothing in the form can be changed and nothing had to be written before a person decided.
type ticket struct {
	ID      sessions.ID `json:"i"`
	Browser sessions.ID `json:"b"`           // the browser that was shown the page
	Session sessions.ID `json:"s,omitempty"` // who was signed in there; zero for nobody
	Request request     `json:"r"`
	Expires int64       `json:"e"`
}

// askConsent shows the consent page, unless the person who is signed in here has answered it before.
// It comes before the identity provider is involved: a provider that answers silently would otherwise
// turn any link into a code (MCP security best practices, "Confused Deputy Problem").
func (s *Server) askConsent(w http.ResponseWriter, r *http.Request, client *clients.Client, req request) {
	if s.automatically(w, r, client, req) {
		return
	}
	browser, trouble := s.signedIn(r)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	if s.unasked(w, r, client, req, browser) {
		return
	}
	if browser == nil {
		if trouble := s.providersReady(r.Context()); trouble != nil {
			s.problem(w, r, *trouble)
			return
		}
		browser = &sessions.Browser{}
	}
	id, err := s.forms.Browser(w, r)
	if err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	sealed, err := s.Vault.SealJSON(sessions.ConsentTicket, ticket{
		ID:      sessions.NewID(),
		Browser: id,
		Session: browser.ID,
		Request: req,
		Expires: s.Now().Add(s.Lifetimes.Login).Unix(),
	})
	if err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	pages.WriteConsent(w, r, s.consentView(client, req, accountName(browser.User), sealed))
}

func (s *Server) consentView(client *clients.Client, req request, account, sealed string) pages.Consent {
	resource := s.Resources.Find(req.Resource)
	view := pages.Consent{
		Action:        ConsentPath,
		Ticket:        sealed,
		ClientName:    client.Name,
		ClientHost:    client.VerifiedHost(),
		Preregistered: client.Source == clients.Preregistered,
		ResourceName:  resource.Name,
		Resource:      resource.URI,
		OfflineAccess: req.OfflineAccess,
		Account:       account,
		SiteName:      s.SiteName,
	}
	if req.Device == nil {
		host, kind := clients.RedirectHost(req.RedirectURI)
		view.RedirectHost, view.RedirectKind = host, redirectKind(kind)
	} else {
		view.UserCode, view.DeviceAddr = req.Device.UserCode.String(), req.DeviceAddr
		view.Unproven = client.Public()
	}
	switch {
	case s.automatic != nil:
		view.Account = s.automatic.User().Email // there is no other to switch to
	case account != "":
		view.SwitchAction = ConsentPath
	}
	view.Scopes = scopeViews(resource, req.Scopes)
	for _, p := range s.Providers {
		view.ProviderNames = append(view.ProviderNames, p.Name())
	}
	return view
}

// accountName is how a signed-in person recognises their account; it is empty for nobody only. Groups
// let in people for whose address the provider does not vouch.
func accountName(u sessions.User) string { return cmp.Or(u.Email, u.Name, u.Subject) }

func redirectKind(kind clients.RedirectKind) pages.RedirectKind {
	switch kind {
	case clients.HTTPS:
		return pages.RedirectHTTPS
	case clients.Loopback:
		return pages.RedirectLoopback
	default:
		return pages.RedirectPrivateScheme
	}
}

// consent takes the decision of the consent form.
func (s *Server) consent(w http.ResponseWriter, r *http.Request) {
	form, trouble := s.readOwnForm(w, r)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	t, err := s.openTicket(r, form.Get("ticket"))
	if err != nil {
		s.problem(w, r, s.ticketProblem(err))
		return
	}
	req := t.Request
	client, trouble := s.clientOf(r, req)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	if s.Resources.Find(req.Resource) == nil {
		s.decline(w, r, req, invalidTarget("this resource is no longer served here"))
		return
	}
	decision := form.Get("decision")
	if decision != "allow" && decision != "deny" && decision != "switch" {
		s.problem(w, r, unreadableRequest)
		return
	}
	browser, trouble := s.signedIn(r)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	// The page named an account; a decision counts for that session only.
	stays := browser != nil && browser.ID == t.Session && decision == "allow" && req.Prompt == ""
	if !stays && decision != "deny" {
		if trouble := s.providersReady(r.Context()); trouble != nil {
			s.problem(w, r, *trouble)
			return
		}
	}
	if !stays {
		if trouble := s.limitSignIns(r); trouble != nil {
			s.problem(w, r, *trouble)
			return
		}
	}
	if err := s.Vault.Spend(r.Context(), "ticket", t.ID.String(), s.Lifetimes.Login); err != nil {
		s.problem(w, r, s.ticketProblem(err))
		return
	}
	if decision == "deny" {
		s.recordConsent(r, client, req, false)
		if browser != nil && browser.ID == t.Session {
			s.forget(r, client, req, browser.User)
		}
		s.decline(w, r, req, &oauthError{code: "access_denied", description: "the person declined"})
		return
	}
	s.recordConsent(r, client, req, true)
	if stays {
		s.finish(w, r, client, req, browser)
		return
	}
	if decision == "switch" {
		req.Prompt = prompts{login: req.Prompt == "login", choose: true}.upstream()
		req.LoginHint = ""
	}
	s.startLogin(w, r, req, t.Browser)
}

// openTicket opens a ticket for the browser that it was made for.
func (s *Server) openTicket(r *http.Request, sealed string) (ticket, error) {
	var t ticket
	if err := s.Vault.OpenJSON(sessions.ConsentTicket, sealed, &t); err != nil {
		return ticket{}, err
	}
	if s.Now().Unix() >= t.Expires {
		return ticket{}, sessions.ErrExpired
	}
	if id, ok := s.forms.KnownBrowser(r); !ok || id != t.Browser {
		return ticket{}, sessions.ErrInvalid
	}
	return t, nil
}

func (s *Server) ticketProblem(err error) problem {
	if errors.Is(err, sessions.ErrUnavailable) {
		return storeDown
	}
	return staleTicket
}

func (s *Server) sealingProblem(err error) problem {
	if errors.Is(err, sessions.ErrUnavailable) {
		return storeDown
	}
	return *s.internalProblem("sealing for the browser", err)
}

func (s *Server) recordConsent(r *http.Request, client *clients.Client, req request, allowed bool) {
	event := s.consentEvent(r, client, req)
	if event.Allowed = allowed; !allowed {
		event.Reason = "the person declined"
	}
	s.Audit.Record(r.Context(), event)
}
