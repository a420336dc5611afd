package authserver

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

var anyRule = access.Rule{Kind: access.Any}

// ending is a provider with an address to sign out at.
type ending struct {
	*vouching
	hint, returnTo string
}

func (e *ending) EndSession(_ context.Context, hint, returnTo string) string {
	e.hint, e.returnTo = hint, returnTo
	return "https://idp.example/logout"
}

func (b *browser) logoutTicket() string {
	b.w.t.Helper()
	return b.get(LogoutPath, nil).hidden(b.w.t)
}

func (b *browser) logout(ticket string) answer {
	b.w.t.Helper()
	return b.post(LogoutPath, url.Values{"ticket": {ticket}})
}

func TestSigningOut(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	connected := w.exchange(b.code())
	cookie := b.cookies[sessionCookie]

	page := b.get(LogoutPath, nil)
	if ticket := page.hidden(t); !strings.Contains(page.body, alice.Email) || b.cookies[sessionCookie] != cookie || ticket == "" {
		t.Errorf("status %d\n%s", page.status, page.body)
	}
	a := b.logout(page.hidden(t))
	if a.status != http.StatusSeeOther || a.header.Get("Location") != LogoutPath {
		t.Errorf("status %d, Location %q", a.status, a.header.Get("Location"))
	}
	if _, err := w.Vault.LoadBrowser(t.Context(), cookie); err == nil {
		t.Error("the session goes on for whoever kept the cookie")
	}
	if b.cookies[sessionCookie] != "" {
		t.Error("the cookie is still there")
	}
	if a := b.get(LogoutPath, nil); a.status != http.StatusOK || !strings.Contains(a.body, "You are signed out") {
		t.Errorf("status %d\n%s", a.status, a.body)
	}
	if got := w.refresh(connected.RefreshToken); got.status != http.StatusOK {
		t.Errorf("the application is disconnected: %d %s", got.status, got.Error)
	}
	if events := w.trail.of(audit.SignOut); len(events) != 1 || events[0].Email != alice.Email || !events[0].Allowed {
		t.Errorf("recorded %+v", events)
	}
	if a := b.get(AuthorizePath, authorization()); !strings.Contains(a.body, "You will sign in next") {
		t.Error("the browser is still signed in")
	}
}

func TestSigningOutGoesOnToTheProvider(t *testing.T) {
	e := &ending{vouching: newVouching()}
	w := newWorld(t, func(c *Config) { c.Providers = []identity.Provider{e} })
	b := w.newBrowser()
	b.code()
	if got := b.logout(b.logoutTicket()).location(t).String(); got != "https://idp.example/logout" {
		t.Errorf("sent to %s", got)
	}
	if e.hint != "id-token" || e.returnTo != issuer+LogoutPath {
		t.Errorf("the provider is shown %q and told to return to %q", e.hint, e.returnTo)
	}
}

func TestNobodyElseSignsSomebodyOut(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		post   func(w *world, b *browser) answer
	}{
		{"a form of another site", 403, func(_ *world, b *browser) answer {
			ticket := b.logoutTicket()
			b.header = http.Header{"Sec-Fetch-Site": {"cross-site"}}
			return b.logout(ticket)
		}},
		{"a form of another origin", 403, func(_ *world, b *browser) answer {
			ticket := b.logoutTicket()
			b.header = http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": nil}
			return b.logout(ticket)
		}},
		{"no ticket", 400, func(_ *world, b *browser) answer { return b.logout("") }},
		{"the ticket of another browser", 400, func(w *world, b *browser) answer {
			other := w.newBrowser()
			other.code()
			return b.logout(other.logoutTicket())
		}},
		{"a browser that was given only the session", 400, func(w *world, b *browser) answer {
			ticket := b.logoutTicket()
			other := w.newBrowser()
			other.ticket()
			other.cookies[sessionCookie] = b.cookies[sessionCookie]
			return other.logout(ticket)
		}},
		{"the ticket of an earlier session", 400, func(_ *world, b *browser) answer {
			ticket := b.logoutTicket()
			b.callback(b.decide(b.ticket(), "switch").location(b.w.t).Query().Get("state"))
			return b.logout(ticket)
		}},
		{"a ticket that is too old", 400, func(w *world, b *browser) answer {
			ticket := b.logoutTicket()
			w.clock.advance(10 * time.Minute)
			return b.logout(ticket)
		}},
		{"a consent ticket", 400, func(_ *world, b *browser) answer { return b.logout(b.ticket()) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.newBrowser()
			b.code()
			wantPage(t, tc.post(w, b), tc.status)
			if _, err := w.Vault.LoadBrowser(t.Context(), b.cookies[sessionCookie]); err != nil {
				t.Errorf("the session ended: %v", err)
			}
		})
	}
}

func TestSigningOutNeedsTheStore(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	b.code()
	ticket := b.logoutTicket()
	w.store.fail("Delete")
	a := b.logout(ticket)
	wantPage(t, a, http.StatusServiceUnavailable)
	wantRetryAfter(t, a)
	if b.cookies[sessionCookie] == "" {
		t.Error("the cookie is gone though the session is not")
	}
	w.store.heal()
	b.logout(ticket)
	if b.cookies[sessionCookie] != "" {
		t.Error("the cookie is still there")
	}
}

func TestWhoMayNotComeInAnyMoreCanStillSignOut(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	b.code()
	w.Policy = policy(t, access.Rule{Kind: access.Domain, Value: "elsewhere.example"})
	b.logout(b.logoutTicket())
	if b.cookies[sessionCookie] != "" {
		t.Error("the cookie is still there")
	}
}

func TestSigningOutTwice(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	b.code()
	ticket := b.logoutTicket()
	b.logout(ticket)
	if a := b.logout(ticket); a.status != http.StatusSeeOther || a.header.Get("Location") != LogoutPath {
		t.Errorf("status %d, Location %q", a.status, a.header.Get("Location"))
	}
}
