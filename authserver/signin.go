package authserver

import (
	"errors"
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

// signIn decides whether the person whom a provider named may come in, begins a browser session for
// them and goes on to what they signed in for.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request, p identity.Provider, l login, user identity.User) {
	event := audit.Event{
		Type: audit.SignIn, Subject: user.Subject, Email: user.Email, Provider: p.ID(),
		Resource: l.Request.Resource, ClientAddr: s.ClientAddr(r),
	}
	rule, err := s.Policy.Check(user)
	if err == nil {
		err = s.admitsTo(l.Request, user)
	}
	if err != nil {
		event.Reason = rulesAgainst(err)
		s.Audit.Record(r.Context(), event)
		s.discard(r.Context(), user.Upstream)
		s.problem(w, r, deniedProblem(err, user))
		return
	}
	event.Allowed, event.Reason = true, rule
	s.Audit.Record(r.Context(), event)

	s.signIns.GiveBack(throttle.AddressKey(s.ClientAddr(r)))

	if l.Choice != (sessions.ID{}) {
		// One consent leads to one code, however many providers were tried.
		if err := s.Vault.Spend(r.Context(), "choice", l.Choice.String(), 2*s.Lifetimes.Login); err != nil {
			s.problem(w, r, s.ticketProblem(err))
			return
		}
	}

	if s.Relay != nil {
		s.relayed(w, r, l, user)
		return
	}

	// A new session at each sign-in: a cookie planted before never becomes a session, and the one
	// that was there ends.
	if old := s.Cookies.Get(r, sessions.SessionCookieName); old != "" {
		if err := s.Vault.DeleteBrowser(r.Context(), old); errors.Is(err, sessions.ErrUnavailable) {
			s.problem(w, r, storeDown)
			return
		}
	}
	now, person := s.Now(), s.userOf(user)
	upstream, err := s.rememberUpstream(r.Context(), p, user, person)
	if err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	browser := sessions.Browser{
		User: person, AuthTime: now, ExpiresAt: now.Add(s.Lifetimes.Browser), Provider: p.ID(),
		ClientAddr: s.ClientAddr(r), UserAgent: userAgent(r),
		Upstream: upstream, LogoutHint: user.LogoutHint,
	}
	cookie, err := s.Vault.CreateBrowser(r.Context(), browser, s.Lifetimes.Browser)
	if err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	s.Cookies.Set(w, sessions.SessionCookieName, cookie, s.Lifetimes.Browser)
	s.rememberSignIn(r, &browser, l.Request.ClientName)

	if l.Request.OwnPage {
		s.showOwnPage(w, r)
		return
	}
	client, trouble := s.clientOf(r, l.Request)
	if trouble != nil {
		s.problem(w, r, *trouble)
		return
	}
	s.finish(w, r, client, l.Request, &browser)
}

// admits checks the additional rules of a resource.
func (s *Server) admits(uri string, user identity.User) (string, error) {
	resource := s.Resources.Find(uri)
	if resource == nil {
		return "", errors.New("the resource is no longer served here")
	}
	if resource.Policy == nil {
		return "", nil
	}
	return resource.Policy.Check(user)
}

// rulesAgainst tells the audit log why somebody is not let in, in the words of the configuration.
func rulesAgainst(err error) string {
	var denied *access.Denied
	if errors.As(err, &denied) {
		return denied.Rules
	}
	return err.Error()
}

// finish answers a request that was consented to, for a person who is signed in: with a code, or by
// letting a device in.
func (s *Server) finish(w http.ResponseWriter, r *http.Request, client *clients.Client, req request, browser *sessions.Browser) {
	user := browser.User
	resource := s.Resources.Find(req.Resource)
	if resource == nil {
		s.decline(w, r, req, invalidTarget("this resource is no longer served here"))
		return
	}
	if resource.Policy != nil && !resource.Policy.Allows(user.Email, joinGroups(user.Groups)) {
		s.Audit.Record(r.Context(), audit.Event{
			Type: audit.AccessDenied, Reason: resource.Policy.Unmatched(), Subject: user.Subject, Email: user.Email,
			ClientID: client.Label(), ClientName: client.Name, Resource: resource.URI, ClientAddr: s.ClientAddr(r),
		})
		s.problem(w, r, notAllowed(user.Email))
		return
	}
	if req.Device != nil {
		s.allowDevice(w, r, client, req, browser)
		return
	}
	host, _ := clients.RedirectHost(req.RedirectURI)
	code, err := s.Vault.IssueCode(r.Context(), sessions.Code{
		ClientID:      req.ClientID,
		RedirectURI:   req.RedirectURI,
		Challenge:     req.Challenge,
		Resource:      req.Resource,
		Scopes:        req.Scopes,
		User:          user,
		ClientLabel:   client.Label(),
		ClientName:    client.Name,
		RedirectHost:  host,
		Grant:         s.grantID(browser),
		AuthTime:      browser.AuthTime,
		OfflineAccess: req.OfflineAccess && client.MayRefresh(),
		Upstream:      browser.Upstream,
		Provider:      browser.Provider,
	}, s.Lifetimes.Code)
	if err != nil {
		s.problem(w, r, s.sealingProblem(err))
		return
	}
	s.remember(r, client, req, resource, user)
	s.redirectCode(w, r, req, client.Name, code)
}

// grantID is the id of the grant that is to come of a code. What a provider issued for one grant has its id.
func (s *Server) grantID(browser *sessions.Browser) sessions.ID {
	if s.Relay != nil {
		return browser.Upstream
	}
	return sessions.NewID()
}

// deniedProblem tells a person why they may not come in, as far as they can do something about it.
func deniedProblem(err error, user identity.User) problem {
	var denied *access.Denied
	if errors.As(err, &denied) {
		switch denied.Reason {
		case access.UnverifiedEmail:
			return problem{
				status: http.StatusForbidden,
				title:  "Your e-mail address is not verified",
				text:   "You are signed in as " + quoted(user.Email) + ", but the identity provider has not verified that this address is yours.",
				advice: "Verify the address at the identity provider, then connect again.",
			}
		case access.NoEmail:
			return problem{
				status: http.StatusForbidden,
				title:  "Your account has no e-mail address",
				text:   "The identity provider did not tell an e-mail address for your account, and access here is given by address.",
				advice: "Add an e-mail address to your account at the identity provider, or ask the operator of this server.",
			}
		}
	}
	return notAllowed(user.Email)
}

func notAllowed(email string) problem {
	who := "this account"
	if email != "" {
		who = quoted(email)
	}
	return problem{
		status: http.StatusForbidden,
		title:  "This account has no access",
		text:   "You signed in as " + who + ", which is not on the list of accounts that may use this server.",
		advice: "Sign in with another account, or ask the operator of this server for access.",
	}
}

func quoted(email string) string {
	if email == "" {
		return "an account without an e-mail address"
	}
	return email
}
