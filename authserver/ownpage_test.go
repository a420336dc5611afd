package authserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const ownPage = "/my"

func withOwnPage(c *Config) { c.OwnPage = ownPage }

// askSignIn opens the page to sign in on.
func (b *browser) askSignIn() answer {
	b.w.t.Helper()
	r := httptest.NewRequest("GET", issuer+ownPage, nil)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	rec := httptest.NewRecorder()
	b.w.AskSignIn(rec, r)
	for _, c := range rec.Result().Cookies() {
		b.cookies[c.Name] = c.Value
	}
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

// signInForOwnPage goes the whole way and returns where it led.
func (b *browser) signInForOwnPage() answer {
	b.w.t.Helper()
	state := b.choose(b.askSignIn().hidden(b.w.t), "oidc").location(b.w.t).Query().Get("state")
	return b.callback(state)
}

// session returns the session of the browser.
func (b *browser) session() *sessions.Browser {
	b.w.t.Helper()
	r := httptest.NewRequest("GET", issuer+ownPage, nil)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	session, err := b.w.Session(r)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return session
}

func TestSigningInForOnesOwnPage(t *testing.T) {
	w := newWorld(t, withOwnPage)
	b := w.newBrowser()
	before := w.store.written()
	page := b.askSignIn()
	if n := w.store.written() - before; n != 0 {
		t.Errorf("%d writes before anybody did anything", n)
	}
	if !strings.Contains(page.body, "<h1>Sign in</h1>") || !strings.Contains(page.body, "Example ID") {
		t.Errorf("status %d\n%s", page.status, page.body)
	}
	a := b.callback(b.choose(page.hidden(t), "oidc").location(t).Query().Get("state"))
	if a.status != http.StatusSeeOther || a.header.Get("Location") != ownPage {
		t.Fatalf("status %d, Location %q", a.status, a.header.Get("Location"))
	}
	session := b.session()
	if session == nil || session.User.Email != alice.Email || session.ClientAddr != "192.0.2.1" {
		t.Fatalf("session %+v", session)
	}
	past, err := w.Vault.ListSignIns(t.Context(), session.User.Key())
	if err != nil || len(past) != 1 || past[0].Provider != "oidc" || past[0].ClientName != "" || past[0].ClientAddr != "192.0.2.1" {
		t.Errorf("sign-ins %+v, %v", past, err)
	}
	if events := w.trail.of(audit.SignIn); len(events) != 1 || !events[0].Allowed || events[0].Resource != "" {
		t.Errorf("recorded %+v", events)
	}
	// Nobody has agreed to a client by that.
	if a := b.get(AuthorizePath, authorization()); !strings.Contains(a.body, "wants to use") {
		t.Errorf("status %d without a question, Location %q", a.status, a.header.Get("Location"))
	}
}

func TestSigningInForAClientIsRemembered(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	b.code()
	past, err := w.Vault.ListSignIns(t.Context(), b.session().User.Key())
	if err != nil || len(past) != 1 || past[0].ClientName != "Web client" {
		t.Errorf("sign-ins %+v, %v", past, err)
	}
}

func TestSigningInForOnesOwnPageIsNotForOthersToBegin(t *testing.T) {
	w := newWorld(t, withOwnPage)
	victim, attacker := w.newBrowser(), w.newBrowser()
	theirs := attacker.askSignIn().hidden(t)

	t.Run("with a ticket of another browser", func(t *testing.T) {
		victim.askSignIn()
		if a := victim.choose(theirs, "oidc"); a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
			t.Errorf("status %d, Location %q", a.status, a.header.Get("Location"))
		}
	})
	t.Run("with a callback of another browser", func(t *testing.T) {
		state := attacker.choose(theirs, "oidc").location(t).Query().Get("state")
		if a := victim.callback(state); a.status != http.StatusBadRequest || victim.cookies[sessionCookie] != "" {
			t.Errorf("status %d, session %q", a.status, victim.cookies[sessionCookie])
		}
		events := w.trail.of(audit.SignIn)
		if len(events) != 1 || events[0].Allowed || !strings.Contains(events[0].Reason, "did not start") {
			t.Errorf("recorded %+v", events)
		}
	})
	t.Run("from another site", func(t *testing.T) {
		own := victim.askSignIn().hidden(t)
		victim.header = http.Header{"Sec-Fetch-Site": {"cross-site"}}
		if a := victim.choose(own, "oidc"); a.status != http.StatusForbidden {
			t.Errorf("status %d", a.status)
		}
		if events := w.trail.of(audit.AccessDenied); len(events) != 1 {
			t.Errorf("recorded %+v", events)
		}
	})
	t.Run("once more with a ticket that was used", func(t *testing.T) {
		b := w.newBrowser()
		ticket := b.askSignIn().hidden(t)
		b.callback(b.choose(ticket, "oidc").location(t).Query().Get("state"))
		again := b.choose(ticket, "oidc").location(t).Query().Get("state")
		if a := b.callback(again); a.status != http.StatusBadRequest {
			t.Errorf("status %d", a.status)
		}
	})
}

func TestSigningInForOnesOwnPageFails(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*world)
		status int
		text   string
	}{
		"for somebody who is not on the allow-list": {func(w *world) {
			w.Policy = policy(w.t, access.Rule{Kind: access.Domain, Value: "other.example"})
		}, http.StatusForbidden, "has no access"},
		"when the person declines at the provider": {func(w *world) { w.idp.finish = identity.ErrDenied }, http.StatusForbidden, "You are not signed in"},
		"when the page was switched off":           {func(w *world) { w.OwnPage = "" }, http.StatusBadRequest, "has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withOwnPage)
			b := w.newBrowser()
			state := b.choose(b.askSignIn().hidden(t), "oidc").location(t).Query().Get("state")
			tc.change(w)
			a := b.callback(state)
			if a.status != tc.status || !strings.Contains(a.body, tc.text) || a.header.Get("Location") != "" {
				t.Errorf("status %d, Location %q\n%s", a.status, a.header.Get("Location"), a.body)
			}
		})
	}
	w := newWorld(t, withOwnPage)
	w.idp.ready = identity.ErrUnavailable
	if a := w.newBrowser().askSignIn(); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("without a provider: status %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
}

func TestSigningInForOnesOwnPageWithAPassword(t *testing.T) {
	w := newWorld(t, withOwnPage, withPasswords(new(passwords)))
	b := w.newBrowser()
	a := b.choose(b.askSignIn().hidden(t), "local")
	state := strings.TrimPrefix(a.header.Get("Location"), LoginPath+"?state=")
	if page := b.get(LoginPath, url.Values{"state": {state}}); page.status != http.StatusOK || strings.Contains(page.body, "to continue to") {
		t.Errorf("status %d\n%s", page.status, page.body)
	}
	a = b.post(LoginPath, url.Values{"state": {state}, "email": {alice.Email}, "password": {"correct horse"}})
	if a.status != http.StatusSeeOther || a.header.Get("Location") != ownPage {
		t.Errorf("status %d, Location %q", a.status, a.header.Get("Location"))
	}
}

func TestASessionOfALeaverIsNone(t *testing.T) {
	w := newWorld(t, withOwnPage)
	b := w.newBrowser()
	b.signInForOwnPage()
	w.Policy = policy(t, access.Rule{Kind: access.Domain, Value: "other.example"})
	if session := b.session(); session != nil {
		t.Errorf("session %+v", session)
	}
	w.store.fail()
	r := httptest.NewRequest("GET", issuer+ownPage, nil)
	r.AddCookie(&http.Cookie{Name: sessionCookie, Value: b.cookies[sessionCookie]})
	if _, err := w.Session(r); err == nil {
		t.Error("no error while the store is down")
	}
}

// What cannot be refreshed ends with its token; until then its person must be able to end it.
func TestAGrantWithoutRefreshTokenIsListedAsLongAsItsToken(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	got := w.exchange(b.code("client_id", "short"), "client_id", "short")
	if got.AccessToken == "" || got.RefreshToken != "" {
		t.Fatalf("tokens %+v", got)
	}
	user := b.session().User.Key()
	grants, err := w.Vault.ListGrants(t.Context(), user)
	if err != nil || len(grants) != 1 || grants[0].ClientLabel != "short" {
		t.Fatalf("grants %+v, %v", grants, err)
	}
	if err := w.Vault.RevokeGrant(t.Context(), user, grants[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Vault.OpenAccess(got.AccessToken, new(sessions.Access)); err == nil {
		t.Error("the token outlives its grant")
	}
	again := b.decide(b.ticket("client_id", "short"), "allow").location(t).Query().Get("code")
	if got := w.exchange(again, "client_id", "short"); got.AccessToken == "" {
		t.Fatalf("tokens %+v", got)
	}
	w.clock.advance(w.Lifetimes.Access + time.Second)
	if grants, err := w.Vault.ListGrants(t.Context(), user); err != nil || len(grants) != 0 {
		t.Errorf("after its token there is %+v, %v", grants, err)
	}
}
