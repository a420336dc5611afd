package authserver

import (
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// automatically answers an authorization request by itself, on a server in development mode. It
// reports whether it answered; if not, the consent page decides as it does elsewhere.
//
// Whoever can reach such a server is its owner, but not all that the owner's browser sends is the
// owner's wish: every website can open addresses of this computer. So two things have to come
// together before a code leaves without a click, each of which would be enough by itself as long as
// nothing else on the computer is broken:
//
//   - The code stays on this computer: the redirect is on loopback or to a private-use scheme. With an
//     https redirect a website could register itself, open this endpoint and be handed a token.
//   - No web page began the navigation. Native clients have the operating system open the browser,
//     which browsers report as "Sec-Fetch-Site: none" (Fetch Metadata, section 2.2). Pages of this
//     very computer report same-site and same-origin, and are asked about too: they may be anybody's
//     work in progress, and an address on loopback is one they could read the code at. Frames and
//     background requests are never top-level documents. A request that says nothing is asked about
//     as well: it may come from a browser too old to say it.
//
// What is left is a link that the owner opens from a mail or a chat and whose website redirects to
// this endpoint: browsers report "none" for the whole chain. It can send a code to a program on this
// computer that did not ask for one; the code is of no use there without its verifier (RFC 7636).
//
// What prompt asks for is passed over. It is about a person being there, and clients send it to every
// server alike.
func (s *Server) automatically(w http.ResponseWriter, r *http.Request, client *clients.Client, req request) bool {
	if s.automatic == nil || req.Device != nil || !staysOnDevice(req.RedirectURI) || !openedByPerson(r) {
		return false
	}
	user := s.automatic.User()
	if _, err := s.Policy.Check(user); err != nil {
		return false // the sign-in tells why
	}
	if forms.EarlyData(r) {
		s.problem(w, r, problem{status: http.StatusTooEarly, text: "Please reload this page."})
		return true
	}
	event := s.consentEvent(r, client, req)
	event.Allowed, event.Reason = true, "development mode"
	event.Subject, event.Email = user.Subject, user.VerifiedEmail()
	s.Audit.Record(r.Context(), event)
	s.finish(w, r, client, req, &sessions.Browser{User: s.userOf(user), AuthTime: s.Now(), Provider: s.automatic.ID()})
	return true
}

// staysOnDevice reports whether only programs on the person's own computer get what is sent there.
func staysOnDevice(redirectURI string) bool {
	switch _, kind := clients.RedirectHost(redirectURI); kind {
	case clients.Loopback, clients.PrivateScheme:
		return true
	}
	return false
}

// openedByPerson reports whether the request is the navigation of a browser tab that no web page
// began. Pages that are loaded in advance, in case somebody wants to see them, are none yet.
func openedByPerson(r *http.Request) bool {
	h := r.Header
	says := func(name, value string) bool { return len(h[name]) == 1 && h[name][0] == value }
	return r.Method == http.MethodGet &&
		says("Sec-Fetch-Site", "none") && says("Sec-Fetch-Mode", "navigate") && says("Sec-Fetch-Dest", "document") &&
		len(h["Sec-Purpose"]) == 0 && len(h["Purpose"]) == 0 && len(h["Origin"]) == 0
}
