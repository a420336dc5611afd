package authserver

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxPendingLogins bounds how many sign-ins one browser may have under way, and with it the cookie.
const maxPendingLogins = 10

// pendingLogin stands in the login cookie for one state that was sent to an identity provider.
type pendingLogin struct {
	State   string `json:"s"`
	Expires int64  `json:"e"`
}

// rememberLogin ties a state to this browser. All pending sign-ins share one cookie, so that many
// tabs do not grow the request headers without bound; the oldest gives way.
func (s *Server) rememberLogin(w http.ResponseWriter, r *http.Request, state string) error {
	pending, err := s.pendingLogins(r)
	if err != nil {
		return err
	}
	pending = append(pending, pendingLogin{
		State:   stateHash(state),
		Expires: s.Now().Add(s.Lifetimes.Login).Unix(),
	})
	if len(pending) > maxPendingLogins {
		pending = pending[len(pending)-maxPendingLogins:]
	}
	return s.setPendingLogins(w, pending)
}

// startedHere makes sure that this browser was sent to an identity provider with state. Another
// browser's callback would sign its person in to somebody else's request, or the reverse
// (RFC 9700, section 4.7).
func (s *Server) startedHere(r *http.Request, state string) *problem {
	pending, err := s.pendingLogins(r)
	if err != nil {
		trouble := s.ticketProblem(err)
		return &trouble
	}
	hash := stateHash(state)
	for _, p := range pending {
		if p.State == hash {
			return nil
		}
	}
	return &staleTicket
}

// forgetLogin removes a finished sign-in from the cookie.
func (s *Server) forgetLogin(w http.ResponseWriter, r *http.Request, state string) {
	hash := stateHash(state)
	pending, _ := s.pendingLogins(r) // it was just read
	var left []pendingLogin
	for _, p := range pending {
		if p.State != hash {
			left = append(left, p)
		}
	}
	if len(left) == 0 {
		s.Cookies.Clear(w, sessions.LoginCookieName)
		return
	}
	// Keeping a state that has been taken from the store harms nobody: it opens nothing again.
	_ = s.setPendingLogins(w, left)
}

// pendingLogins reads the login cookie. One that cannot be opened is none, except while the keys are
// out of reach: a sign-in that is under way must not look as if it had expired.
func (s *Server) pendingLogins(r *http.Request) ([]pendingLogin, error) {
	var all, live []pendingLogin
	err := s.Vault.OpenJSON(sessions.LoginCookie, s.Cookies.Get(r, sessions.LoginCookieName), &all)
	switch {
	case errors.Is(err, sessions.ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, nil
	}
	for _, p := range all {
		if s.Now().Unix() < p.Expires {
			live = append(live, p)
		}
	}
	return live, nil
}

func (s *Server) setPendingLogins(w http.ResponseWriter, pending []pendingLogin) error {
	sealed, err := s.Vault.SealJSON(sessions.LoginCookie, pending)
	if err != nil {
		return err
	}
	s.Cookies.Set(w, sessions.LoginCookieName, sealed, s.Lifetimes.Login)
	return nil
}

func stateHash(state string) string {
	sum := sha256.Sum256([]byte(state))
	return hex.EncodeToString(sum[:16])
}

// signedIn returns the session of this browser, or nil. A session whose person has since left the
// allow-list is none, and neither is one whose sign-in the identity provider has ended, or whose
// provider is not in the configuration any more: nobody vouches for that person.
//
// In a facade there are no sessions: the provider's is asked for each client, after the consent page. A
// cookie from before the site became one counts for nothing.
func (s *Server) signedIn(r *http.Request) (*sessions.Browser, *problem) {
	if s.Relay != nil {
		return nil, nil
	}
	browser, trouble := s.browserSession(r)
	if browser == nil {
		return nil, trouble
	}
	if _, configured := s.providers[browser.Provider]; !configured && browser.Provider != "" {
		return nil, nil
	}
	if browser.Upstream != (sessions.ID{}) {
		up, err := s.Vault.LoadUpstream(r.Context(), browser.User, browser.Upstream)
		switch {
		case errors.Is(err, sessions.ErrUnavailable):
			return nil, &storeDown
		case err != nil:
			return nil, nil
		}
		browser.User = up.User // as the provider described them last
	}
	person, gone := s.people.Find(browser.User.Issuer, browser.User.Subject)
	if gone {
		return nil, nil
	}
	if person != nil {
		browser.User = s.userOf(person.User) // as the configuration describes them now
	}
	if !s.Policy.Allows(browser.User.Email, joinGroups(browser.User.Groups)) {
		return nil, nil
	}
	return browser, nil
}
