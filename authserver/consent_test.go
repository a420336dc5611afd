package authserver

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	consentCookie = "__Host-" + sessions.ConsentCookieName
	loginCookie   = "__Host-" + sessions.LoginCookieName
	sessionCookie = "__Host-" + sessions.SessionCookieName
)

func TestConsentIsGivenByAPageOfThisServerOnly(t *testing.T) {
	for _, tc := range []struct {
		name   string
		header http.Header
		status int // 303: taken
	}{
		{"sent by our page", nil, 303},
		{"by an older browser", http.Header{"Sec-Fetch-Site": nil}, 303},
		{"by an older browser that names our origin", http.Header{"Sec-Fetch-Site": nil, "Origin": {issuer}}, 303},
		{"by a program without such headers", http.Header{"Sec-Fetch-Site": nil, "Origin": nil}, 303},
		{"by another site", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"by a sibling", http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		{"from the address bar", http.Header{"Sec-Fetch-Site": {"none"}}, 403},
		{"with an unknown word", http.Header{"Sec-Fetch-Site": {"Same-Origin"}}, 403},
		{"by another origin", http.Header{"Sec-Fetch-Site": nil, "Origin": {"https://evil.example"}}, 403},
		{"by an origin that begins like ours", http.Header{"Sec-Fetch-Site": nil, "Origin": {issuer + ".evil.example"}}, 403},
		{"by our origin over plain http", http.Header{"Sec-Fetch-Site": nil, "Origin": {"http://mcp.example.com"}}, 403},
		{"by our origin on another port", http.Header{"Sec-Fetch-Site": nil, "Origin": {issuer + ":8443"}}, 403},
		{"by another origin with a fitting Sec-Fetch-Site", http.Header{"Origin": {"https://evil.example"}}, 403},
		{"as plain text", http.Header{"Content-Type": {"text/plain"}}, 400},
		{"as a multipart form", http.Header{"Content-Type": {"multipart/form-data; boundary=x"}}, 400},
		{"without a type", http.Header{"Content-Type": nil}, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newWorld(t).newBrowser()
			ticket := b.ticket()
			b.header = tc.header
			a := b.decide(ticket, "allow")
			if tc.status == 303 {
				if at := a.location(t); at.Host != "idp.example" {
					t.Errorf("sent to %s", at)
				}
				return
			}
			wantPage(t, a, tc.status)
			if b.cookies[loginCookie] != "" {
				t.Error("a sign-in has begun")
			}
		})
	}
	t.Run("asked for with GET", func(t *testing.T) {
		b := newWorld(t).newBrowser()
		a := b.get(ConsentPath, url.Values{"ticket": {b.ticket()}, "decision": {"allow"}})
		wantPage(t, a, http.StatusMethodNotAllowed)
		if a.header.Get("Allow") != "POST" {
			t.Errorf("Allow %q", a.header.Get("Allow"))
		}
	})
}

func TestATicketIsGoodOnceInItsBrowser(t *testing.T) {
	for _, tc := range []struct {
		name   string
		ticket func(b *browser) string // and what happens before it is used
	}{
		{"none", func(b *browser) string { return "" }},
		{"nonsense", func(b *browser) string { b.ticket(); return "mcpct_nonsense" }},
		{"without a cookie", func(b *browser) string {
			ticket := b.ticket()
			delete(b.cookies, consentCookie)
			return ticket
		}},
		{"of another browser", func(b *browser) string { b.ticket(); return b.w.newBrowser().ticket() }},
		{"with another browser's cookie", func(b *browser) string {
			ticket, other := b.ticket(), b.w.newBrowser()
			other.ticket()
			b.cookies[consentCookie] = other.cookies[consentCookie]
			return ticket
		}},
		{"used before", func(b *browser) string { ticket := b.ticket(); b.decide(ticket, "allow"); return ticket }},
		{"denied before", func(b *browser) string { ticket := b.ticket(); b.decide(ticket, "deny"); return ticket }},
		{"expired", func(b *browser) string { ticket := b.ticket(); b.w.clock.advance(10 * time.Minute); return ticket }},
		{"tampered with", func(b *browser) string {
			ticket := []byte(b.ticket())
			ticket[len(ticket)/2] ^= 1
			return string(ticket)
		}},
		{"cut short", func(b *browser) string { ticket := b.ticket(); return ticket[:len(ticket)-1] }},
		{"sealed as another kind", func(b *browser) string {
			b.ticket()
			return "mcpct_" + strings.TrimPrefix(b.cookies[consentCookie], "mcpcc_")
		}},
		{"that is the browser's cookie", func(b *browser) string { b.ticket(); return b.cookies[consentCookie] }},
		{"of another issuer", func(b *browser) string {
			vault := *b.w.Vault
			vault.Tenant = "https://other.example"
			var sealed ticket
			if err := b.w.Vault.OpenJSON(sessions.ConsentTicket, b.ticket(), &sealed); err != nil {
				b.w.t.Fatal(err)
			}
			return must(vault.SealJSON(sessions.ConsentTicket, sealed))(b.w.t)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newWorld(t).newBrowser()
			ticket := tc.ticket(b)
			delete(b.cookies, loginCookie)
			wantPage(t, b.decide(ticket, "allow"), http.StatusBadRequest)
			if b.cookies[loginCookie] != "" {
				t.Error("a sign-in has begun")
			}
		})
	}
	t.Run("just before it expires", func(t *testing.T) {
		b := newWorld(t).newBrowser()
		ticket := b.ticket()
		b.w.clock.advance(10*time.Minute - time.Second)
		b.decide(ticket, "allow").location(t)
	})
	t.Run("two tabs have a ticket each", func(t *testing.T) {
		b := newWorld(t).newBrowser()
		first, second := b.ticket("state", "1"), b.ticket("state", "2")
		for want, ticket := range map[string]string{"1": first, "2": second} {
			if got := b.decide(ticket, "deny").location(t).Query().Get("state"); got != want {
				t.Errorf("state %q, want %q", got, want)
			}
		}
	})
}

func TestADecisionIsAllowDenyOrSwitch(t *testing.T) {
	w := newWorld(t)
	t.Run("deny tells the client", func(t *testing.T) {
		b := w.newBrowser()
		q := b.decide(b.ticket(), "deny").location(t).Query()
		if q.Get("error") != "access_denied" || q.Get("state") != "xyz" || q.Get("iss") != issuer || q.Has("code") {
			t.Errorf("%v", q)
		}
		if b.cookies[loginCookie] != "" {
			t.Error("a sign-in has begun")
		}
		if events := w.trail.of(audit.Consent); len(events) != 1 || events[0].Allowed {
			t.Errorf("recorded %v", events)
		}
	})
	t.Run("switch asks the provider for a choice of accounts", func(t *testing.T) {
		b := w.newBrowser()
		b.code()
		if at := b.decide(b.ticket("prompt", "consent"), "switch").location(t); at.Host != "idp.example" {
			t.Fatalf("sent to %s", at)
		}
		if a := w.idp.attempts[len(w.idp.attempts)-1]; a.Prompt != "select_account" {
			t.Errorf("prompt %q", a.Prompt)
		}
	})
	for _, decision := range []string{"", "Allow", "yes", "allow "} {
		t.Run("not "+decision, func(t *testing.T) {
			b := w.newBrowser()
			ticket := b.ticket()
			wantPage(t, b.decide(ticket, decision), http.StatusBadRequest)
			b.decide(ticket, "deny").location(t) // the ticket has not been used up
		})
	}
	t.Run("two decisions", func(t *testing.T) {
		b := w.newBrowser()
		wantPage(t, b.post(ConsentPath, url.Values{"ticket": {b.ticket()}, "decision": {"deny", "allow"}}), http.StatusBadRequest)
	})
}

// The cookie that a callback needs must not exist before somebody agreed to something.
func TestNoLoginCookieBeforeConsent(t *testing.T) {
	b := newWorld(t).newBrowser()
	a := b.get(AuthorizePath, authorization())
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name != consentCookie || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("cookie %v", c)
		}
	}
	b.decide(a.hidden(t), "allow")
	if b.cookies[loginCookie] == "" {
		t.Error("no login cookie after consent")
	}
}

func TestASessionEndsWithItsProvider(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	b.code()
	w.Config.Providers = []identity.Provider{&provider{id: "other", name: "Other ID", user: alice}}
	w.Server = New(w.Config)
	page := b.get(AuthorizePath, authorization("prompt", "consent"))
	if page.hidden(t); strings.Contains(page.body, alice.Email) {
		t.Error("the page says that somebody is signed in")
	}
	if q := b.get(AuthorizePath, authorization("prompt", "none")).location(t).Query(); q.Get("error") != "login_required" {
		t.Errorf("%v", q)
	}
}

// A client that describes itself decides when its description changes. What was on the page when the person
// agreed is what it gets.
func TestAClientThatBeginsToRefreshWhileThePageIsOpenWasNotAllowedTo(t *testing.T) {
	registered := func(w *world, further ...string) {
		w.Clients = clients.New(clients.Config{Ring: w.Vault.Ring, Tenant: issuer, Now: w.clock.Now, Static: []clients.Client{
			static(t, clients.Client{ID: "web", RedirectURIs: []string{callback}, GrantTypes: append(further, clients.GrantCode)}),
			static(t, clients.Client{ID: "tv", GrantTypes: append(further, clients.GrantDeviceCode)}),
		}})
	}
	const told = "Stay signed in"
	t.Run("with a code", func(t *testing.T) {
		w := newWorld(t)
		b := w.newBrowser()
		registered(w)
		page := b.get(AuthorizePath, authorization())
		if strings.Contains(page.body, told) {
			t.Fatal("the page tells of refresh tokens")
		}
		registered(w, clients.GrantRefresh)
		at := b.callback(b.decide(page.hidden(t), "allow").location(t).Query().Get("state")).location(t)
		got := w.exchange(at.Query().Get("code"))
		if got.AccessToken == "" || got.RefreshToken != "" {
			t.Errorf("status %d %s, refresh token: %v", got.status, got.Error, got.RefreshToken != "")
		}
		again := b.get(AuthorizePath, authorization())
		if again.header.Get("Location") != "" || !strings.Contains(again.body, told) {
			t.Error("the next time the person is not asked about refresh tokens")
		}
	})
	t.Run("with a device", func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.DeviceFlow = true })
		b := w.newBrowser()
		registered(w)
		device := w.begin()
		page := b.enter(device.UserCode)
		if strings.Contains(page.body, told) {
			t.Fatal("the page tells of refresh tokens")
		}
		registered(w, clients.GrantRefresh)
		b.callback(b.decide(page.hidden(t), "allow").location(t).Query().Get("state"))
		if got := w.poll(device.DeviceCode); got.AccessToken == "" || got.RefreshToken != "" {
			t.Errorf("status %d %s, refresh token: %v", got.status, got.Error, got.RefreshToken != "")
		}
	})
}

func TestASignedInBrowser(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	b.code()
	logins := len(w.idp.attempts)

	t.Run("gets no code without a decision", func(t *testing.T) {
		a := b.get(AuthorizePath, authorization("prompt", "consent"))
		a.hidden(t)
		if !strings.Contains(a.body, alice.Email) {
			t.Error("the page does not say who is signed in")
		}
	})
	t.Run("gets its code from the decision", func(t *testing.T) {
		at := b.decide(b.ticket("prompt", "consent"), "allow").location(t)
		if at.Query().Get("code") == "" || at.Host != "client.example" || len(w.idp.attempts) != logins {
			t.Errorf("sent to %s", at)
		}
	})
	t.Run("may deny", func(t *testing.T) {
		if q := b.decide(b.ticket("prompt", "consent"), "deny").location(t).Query(); q.Has("code") {
			t.Errorf("%v", q)
		}
	})
	t.Run("signs in again when the client asks for it", func(t *testing.T) {
		if at := b.decide(b.ticket("prompt", "login"), "allow").location(t); at.Host != "idp.example" {
			t.Errorf("sent to %s", at)
		}
		if a := w.idp.attempts[len(w.idp.attempts)-1]; a.Prompt != "login" {
			t.Errorf("prompt %q", a.Prompt)
		}
	})
	t.Run("that was signed out meanwhile signs in again", func(t *testing.T) {
		ticket, cookie := b.ticket("prompt", "consent"), b.cookies[sessionCookie]
		delete(b.cookies, sessionCookie)
		if at := b.decide(ticket, "allow").location(t); at.Host != "idp.example" {
			t.Errorf("sent to %s", at)
		}
		b.cookies[sessionCookie] = cookie
	})
	t.Run("that was signed in meanwhile, or as somebody else, signs in again", func(t *testing.T) {
		other := w.newBrowser()
		ticket := other.ticket()
		other.cookies[sessionCookie] = b.cookies[sessionCookie]
		if at := other.decide(ticket, "allow").location(t); at.Host != "idp.example" {
			t.Errorf("sent to %s", at)
		}
	})
	t.Run("whose person left the allow-list signs in again", func(t *testing.T) {
		was := w.Policy
		defer func() { w.Policy = was }()
		ticket := b.ticket()
		w.Policy = policy(t, access.Rule{Kind: access.Domain, Value: "other.example"})
		if at := b.decide(ticket, "allow").location(t); at.Host != "idp.example" {
			t.Errorf("sent to %s", at)
		}
	})
	t.Run("whose person may not use this resource gets no code", func(t *testing.T) {
		(*w.resources)[1].Policy = policy(t, access.Rule{Kind: access.Group, Value: "finance"})
		wantPage(t, b.decide(b.ticket("resource", linear), "allow"), http.StatusForbidden)
	})
	t.Run("whose session has expired signs in again", func(t *testing.T) {
		w.clock.advance(w.Lifetimes.Browser)
		if at := b.decide(b.ticket(), "allow").location(t); at.Host != "idp.example" {
			t.Errorf("sent to %s", at)
		}
	})
}

// What is configured may change between the page and the answer.
func TestADecisionIsAboutWhatStillExists(t *testing.T) {
	t.Run("a client that is gone", func(t *testing.T) {
		w := newWorld(t)
		b := w.newBrowser()
		ticket := b.ticket()
		w.Clients = clients.New(clients.Config{Ring: w.Vault.Ring, Tenant: issuer})
		wantPage(t, b.decide(ticket, "allow"), http.StatusBadRequest)
	})
	t.Run("a redirect URI that is gone", func(t *testing.T) {
		w := newWorld(t)
		b := w.newBrowser()
		ticket := b.ticket()
		w.Clients = clients.New(clients.Config{Ring: w.Vault.Ring, Tenant: issuer, Static: []clients.Client{
			static(t, clients.Client{ID: "web", RedirectURIs: []string{"https://client.example/new"}}),
		}})
		wantPage(t, b.decide(ticket, "deny"), http.StatusBadRequest)
	})
	t.Run("a resource that is gone", func(t *testing.T) {
		w := newWorld(t)
		b := w.newBrowser()
		ticket := b.ticket()
		*w.resources = (*w.resources)[1:]
		if q := b.decide(ticket, "allow").location(t).Query(); q.Get("error") != "invalid_target" {
			t.Errorf("%v", q)
		}
	})
	t.Run("a provider that is down", func(t *testing.T) {
		w := newWorld(t)
		b := w.newBrowser()
		ticket := b.ticket()
		w.idp.ready = identity.ErrUnavailable
		a := b.decide(ticket, "allow")
		wantPage(t, a, http.StatusServiceUnavailable)
		wantRetryAfter(t, a)
		w.idp.ready = nil
		b.decide(ticket, "allow").location(t) // the decision is not lost
	})
}

func wantRetryAfter(t *testing.T, a answer) {
	t.Helper()
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// People with a session but without a verified address, let in by their group, are signed in as well.
func TestTheConsentPageSaysWhoIsSignedInWithoutAnAddress(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Policy = policy(t, access.Rule{Kind: access.Group, Value: "engineering"}) })
	w.idp.user.EmailVerified = false
	b := w.newBrowser()
	b.code()
	a := b.get(AuthorizePath, authorization("prompt", "consent"))
	if a.hidden(t); !strings.Contains(a.body, "Alice") || strings.Contains(a.body, "You will sign in next") || !strings.Contains(a.body, `value="switch"`) {
		t.Errorf("the page does not name the account that Allow is for:\n%s", a.body)
	}
	if strings.Contains(a.body, alice.Email) {
		t.Error("the page shows an address that nobody verified as the account")
	}
}
