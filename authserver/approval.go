package authserver

import (
	"errors"
	"net/http"
	"slices"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// unasked answers an authorization request without a page, if the person has said before what the
// page would ask, or if the client wants no page to be shown. It reports whether it answered. browser
// is who is signed in here, or nil: nobody else's consent counts, however silently an identity
// provider would sign somebody in (MCP security best practices, "Confused Deputy Problem").
func (s *Server) unasked(w http.ResponseWriter, r *http.Request, client *clients.Client, req request, browser *sessions.Browser) bool {
	approved, err := s.approved(r, client, req, browser)
	switch {
	case errors.Is(err, sessions.ErrUnavailable):
		s.problem(w, r, storeDown)
		return true
	case err != nil:
		s.problem(w, r, *s.internalProblem("loading an approval", err))
		return true
	case approved && forms.EarlyData(r):
		// Whoever records the request could send it again (RFC 8470, section 5.2).
		s.problem(w, r, problem{status: http.StatusTooEarly, text: "Please reload this page."})
		return true
	case approved && r.Method != http.MethodHead: // HEAD is safe, and a code is written down
		event := s.consentEvent(r, client, req)
		event.Allowed, event.Reason = true, "given before"
		event.Subject, event.Email = browser.User.Subject, browser.User.Email
		s.Audit.Record(r.Context(), event)
		req.approved = true
		s.finish(w, r, client, req, browser)
		return true
	case req.prompts.none:
		s.redirectError(w, r, req.RedirectURI, req.State, s.whyAsk(req, browser))
		return true
	}
	return false
}

// whyAsk is the answer to prompt=none where a page would be needed (OpenID Connect Core, section
// 3.1.2.6).
func (s *Server) whyAsk(req request, browser *sessions.Browser) *oauthError {
	switch {
	case browser == nil, req.prompts.login:
		return &oauthError{code: "login_required", description: "nobody has signed in in this browser, or not recently enough"}
	case !s.stillAdmitted(browser.User, s.Resources.Find(req.Resource)):
		return &oauthError{code: "interaction_required", description: "the account that is signed in may not use this resource"}
	}
	return &oauthError{code: "consent_required", description: "the person has not agreed to this before"}
}

// approved reports whether the person at this browser has agreed to all of the request before.
func (s *Server) approved(r *http.Request, client *clients.Client, req request, browser *sessions.Browser) (bool, error) {
	if browser == nil || req.prompts.asks() || !s.rememberable(req) {
		return false, nil
	}
	resource := s.Resources.Find(req.Resource)
	if !s.stillAdmitted(browser.User, resource) {
		return false, nil
	}
	wanted := approvalOf(client, req, resource)
	given, err := s.Vault.LoadApproval(r.Context(), browser.User.Key(), wanted)
	if errors.Is(err, sessions.ErrNotFound) {
		return false, nil
	}
	return err == nil && covers(given, wanted), err
}

// rememberable reports whether a consent to this request counts for the next time. Any program on
// the person's device can present a known client_id, listen on a port or claim a scheme, and anybody can
// send a code around, so behind those the person has to be the one who starts it, each time (RFC 8252,
// section 8.6; RFC 8628, section 5.4). In development mode a website is asked about each time, too: no
// sign-in stands between it and a token.
func (s *Server) rememberable(req request) bool {
	_, kind := clients.RedirectHost(req.RedirectURI)
	return req.Device == nil && kind == clients.HTTPS && s.automatic == nil
}

func approvalOf(client *clients.Client, req request, resource *Resource) sessions.Approval {
	host, _ := clients.RedirectHost(req.RedirectURI)
	return sessions.Approval{
		ClientID: client.ID, ClientLabel: client.Label(), ClientName: client.Name,
		RedirectURI: req.RedirectURI, RedirectHost: host, Resource: resource.URI,
		// What a scope includes is written down as it is today: the operator may widen it.
		Scopes: resource.effective(req.Scopes), OfflineAccess: req.OfflineAccess,
	}
}

// covers reports whether what was agreed to holds all that is wanted now. A client that calls itself
// something else is one that the person has not seen.
func covers(given, wanted sessions.Approval) bool {
	switch {
	case given.ClientName != wanted.ClientName:
		return false
	case wanted.OfflineAccess && !given.OfflineAccess:
		return false
	case len(given.Scopes) == 0 != (len(wanted.Scopes) == 0):
		// No scopes at all is the whole resource, not the smallest part of it.
		return false
	}
	return !slices.ContainsFunc(wanted.Scopes, func(scope string) bool { return !slices.Contains(given.Scopes, scope) })
}

// remember writes down that a person agreed. If that fails they are asked again, no more. A client
// that took another name while the page was open is not the one that they agreed to.
func (s *Server) remember(r *http.Request, client *clients.Client, req request, resource *Resource, user sessions.User) {
	if req.approved || !s.rememberable(req) || client.Name != req.ClientName {
		return
	}
	if err := s.Vault.Approve(r.Context(), user.Key(), approvalOf(client, req, resource)); err != nil {
		s.Logger.Warn("consent was not remembered; the person will be asked again", errField(err))
	}
}

// forget takes an earlier consent back, when its person declines.
func (s *Server) forget(r *http.Request, client *clients.Client, req request, user sessions.User) {
	if req.Device != nil {
		return // it says nothing about the client elsewhere
	}
	resource := s.Resources.Find(req.Resource)
	if err := s.Vault.Withdraw(r.Context(), user.Key(), approvalOf(client, req, resource).ID()); err != nil {
		s.Logger.Warn("an earlier consent was not withdrawn", errField(err))
	}
}

func (s *Server) consentEvent(r *http.Request, client *clients.Client, req request) audit.Event {
	return audit.Event{
		Type: audit.Consent, ClientID: client.Label(), ClientName: client.Name,
		Resource: req.Resource, ClientAddr: s.ClientAddr(r),
	}
}
