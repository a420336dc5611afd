package authserver

import (
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Every value that leaves the server has one use. Presented anywhere else it is nothing, and nothing
// happens to what it really stands for.
func TestAValueOfOneKindIsNothingElsewhere(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	dynamic := w.registration("application/json", `{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"client_secret_post"}`)
	issued := w.exchange(b.code())
	values := map[sessions.Kind]string{
		sessions.AccessToken:    issued.AccessToken,
		sessions.RefreshToken:   issued.RefreshToken,
		sessions.ClientID:       dynamic.ClientID,
		sessions.ClientSecret:   dynamic.ClientSecret,
		sessions.BrowserSession: b.cookies[sessionCookie],
		sessions.ConsentCookie:  b.cookies[consentCookie],
		sessions.ConsentTicket:  b.ticket("state", "ticket"),
	}
	pending := w.newBrowser()
	values[sessions.LoginState] = pending.toProvider("state", "pending")
	values[sessions.LoginCookie] = pending.cookies[loginCookie]
	values[sessions.AuthorizationCode] = w.newBrowser().code()

	const web = "web"
	uses := map[string]struct {
		takes sessions.Kind
		// use presents a value, and reports whether it was taken for what belongs there.
		use func(value string) bool
	}{
		"bearer token": {sessions.AccessToken, func(v string) bool { return w.opens(v) }},
		"code":         {sessions.AuthorizationCode, func(v string) bool { return w.exchange(v).Error != "invalid_grant" }},
		"refresh":      {sessions.RefreshToken, func(v string) bool { return w.refresh(v).Error != "invalid_grant" }},
		"client at the authorization endpoint": {sessions.ClientID, func(v string) bool {
			return w.newBrowser().get(AuthorizePath, authorization("client_id", v)).status != 400
		}},
		"client at the token endpoint": {sessions.ClientID, func(v string) bool {
			return w.refresh("x", "client_id", v, "client_secret", dynamic.ClientSecret).Error != "invalid_client"
		}},
		"secret": {sessions.ClientSecret, func(v string) bool {
			return w.refresh("x", "client_id", dynamic.ClientID, "client_secret", v).Error != "invalid_client"
		}},
		"ticket": {sessions.ConsentTicket, func(v string) bool { return b.decide(v, "deny").status != 400 }},
		"state": {sessions.LoginState, func(v string) bool {
			return pending.callback(v).status != 400
		}},
		"session": {sessions.BrowserSession, func(v string) bool {
			other := w.newBrowser()
			other.cookies[sessionCookie] = v
			return strings.Contains(other.get(AuthorizePath, authorization("prompt", "consent")).body, alice.Email)
		}},
		"consent cookie": {sessions.ConsentCookie, func(v string) bool {
			other := w.newBrowser()
			ticket := b.ticket("state", "cookie")
			other.cookies[consentCookie] = v
			return other.decide(ticket, "deny").status != 400
		}},
		"login cookie": {sessions.LoginCookie, func(v string) bool {
			other, mine := w.newBrowser(), w.newBrowser()
			state := mine.toProvider()
			other.cookies[loginCookie] = v
			if v == pending.cookies[loginCookie] {
				state = values[sessions.LoginState]
			}
			return other.callback(state).status != 400
		}},
	}
	for name, use := range uses {
		for kind, value := range values {
			if kind == use.takes {
				continue
			}
			for spelling, v := range map[string]string{
				"as it is":                   value,
				"with the prefix of its use": use.takes.Prefix() + strings.TrimPrefix(value, kind.Prefix()),
			} {
				if use.use(v) {
					t.Errorf("a value of kind %s was taken as %s, %s", kind.Prefix(), name, spelling)
				}
			}
		}
	}
	// Revoking what is not a token is a success that does nothing (RFC 7009, section 2.2).
	for kind, value := range values {
		if kind != sessions.AccessToken && kind != sessions.RefreshToken {
			if a := w.revokeToken(value, "client_id", web); a.status != 200 {
				t.Errorf("revoking a value of kind %s: status %d", kind.Prefix(), a.status)
			}
		}
	}
	// The other way round: each still is what it was, and so the refusals above were about the kind. The state goes
	// last, since it is used up by two of them.
	for _, name := range []string{
		"bearer token", "code", "refresh", "client at the authorization endpoint", "client at the token endpoint",
		"secret", "ticket", "session", "consent cookie", "login cookie",
	} {
		if use := uses[name]; !use.use(values[use.takes]) {
			t.Errorf("%s is not taken as what it is", name)
		}
	}
}

// The state of a client and the one for the provider never mix: a client that knows the latter could end a
// sign-in that is not its own.
func TestTheProvidersStateIsNotTheClients(t *testing.T) {
	b := newWorld(t).newBrowser()
	state := b.toProvider()
	if strings.Contains(state, "xyz") || !strings.HasPrefix(state, sessions.LoginState.Prefix()) {
		t.Errorf("state %q", state)
	}
	if q := b.callback(state).location(t).Query(); q.Get("state") != "xyz" {
		t.Errorf("%v", q)
	}
}
