package authserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

// toPassword goes as far as the sign-in form and returns its state.
func (b *browser) toPassword() string {
	b.w.t.Helper()
	a := b.pastChoice(b.decide(b.ticket(), "allow"))
	path, query, _ := strings.Cut(a.header.Get("Location"), "?")
	if a.status != http.StatusSeeOther || path != LoginPath {
		b.w.t.Fatalf("status %d, Location %q", a.status, a.header.Get("Location"))
	}
	return b.send(httptest.NewRequest("GET", issuer+path+"?"+query, nil)).hidden(b.w.t)
}

func (b *browser) password(state, email, password string) answer {
	b.w.t.Helper()
	return b.post(LoginPath, url.Values{"state": {state}, "email": {email}, "password": {password}})
}

func TestSigningInWithAPassword(t *testing.T) {
	p := new(passwords)
	repeated := 0
	w := newWorld(t, withPasswords(p), func(c *Config) { c.OnRepeated = func(audit.Event) { repeated++ } })
	b := w.newBrowser()
	state := b.toPassword()

	t.Run("asks again after a wrong one", func(t *testing.T) {
		a := b.password(state, "alice@example.com", "hunter2")
		if a.status != http.StatusForbidden || !strings.Contains(a.body, "not right") || !strings.Contains(a.body, `value="alice@example.com"`) {
			t.Errorf("status %d\n%s", a.status, a.body)
		}
		if strings.Contains(a.body, "hunter2") {
			t.Error("the page repeats the password")
		}
		unknown := b.password(state, "nobody@example.com", "hunter2")
		if strings.ReplaceAll(unknown.body, "nobody@", "alice@") != a.body {
			t.Error("the page tells an unknown address from a wrong password")
		}
	})
	t.Run("tells to wait after many", func(t *testing.T) {
		p.limited = true
		a := b.password(state, "alice@example.com", "correct horse")
		p.limited = false
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "90" {
			t.Errorf("status %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
		}
	})
	t.Run("records each reason once a minute, and no address that was typed", func(t *testing.T) {
		for range 5 {
			b.password(state, "alice@example.com", "hunter2")
		}
		events := w.trail.of(audit.SignIn)
		if len(events) != 2 || events[0].Reason == events[1].Reason {
			t.Fatalf("recorded %v", events)
		}
		// Two before, one that had to wait, and five here: what the log is spared is still counted.
		if got := len(events) + repeated; got != 8 {
			t.Errorf("%d attempts were told of, want 8", got)
		}
		for _, e := range events {
			if e.Allowed || e.Email != "" || e.Reason == "" || e.Resource != github {
				t.Errorf("recorded %+v", e)
			}
		}
	})
	for name, send := range map[string]func() answer{
		"in another browser":        func() answer { return w.newBrowser().password(state, alice.Email, "correct horse") },
		"without a state":           func() answer { return b.password("", alice.Email, "correct horse") },
		"with another state":        func() answer { return b.password("mcpls_AAAA", alice.Email, "correct horse") },
		"with the ticket as state":  func() answer { return b.password(b.ticket(), alice.Email, "correct horse") },
		"with two passwords":        func() answer { return b.post(LoginPath, url.Values{"state": {state}, "password": {"a", "b"}}) },
		"with the form asked twice": func() answer { return b.get(LoginPath, url.Values{"state": {state, state}}) },
	} {
		t.Run("is refused "+name, func(t *testing.T) { wantPage(t, send(), http.StatusBadRequest) })
	}
	t.Run("is refused from another site", func(t *testing.T) {
		b.header = http.Header{"Sec-Fetch-Site": {"cross-site"}}
		wantPage(t, b.password(state, alice.Email, "correct horse"), http.StatusForbidden)
		b.header = nil
	})
	t.Run("goes on with the right one, once", func(t *testing.T) {
		cookie := b.cookies[loginCookie]
		if b.password(state, alice.Email, "correct horse").location(t).Query().Get("code") == "" {
			t.Error("no code")
		}
		b.cookies[loginCookie] = cookie
		wantPage(t, b.password(state, alice.Email, "correct horse"), http.StatusBadRequest)
	})
	t.Run("takes queries and forms only", func(t *testing.T) {
		for _, method := range []string{"PUT", "DELETE", "OPTIONS"} {
			wantPage(t, w.send(httptest.NewRequest(method, issuer+LoginPath, nil)), http.StatusMethodNotAllowed)
		}
	})
	t.Run("is too late after ten minutes", func(t *testing.T) {
		late := w.newBrowser()
		state := late.toPassword()
		w.clock.advance(10 * time.Minute)
		wantPage(t, late.password(state, alice.Email, "correct horse"), http.StatusBadRequest)
	})
}

// A sign-in that was begun with another provider cannot be ended with a password, nor the reverse.
func TestASignInEndsWithTheProviderThatItBeganWith(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Providers = append(c.Providers, new(passwords)) })
	b := w.newBrowser()
	wantPage(t, b.password(b.toProvider(), alice.Email, "correct horse"), http.StatusBadRequest)

	w = newWorld(t, withPasswords(new(passwords)), func(c *Config) { c.Providers = append(c.Providers, &provider{id: "oidc", user: bob}) })
	b = w.newBrowser()
	wantPage(t, b.callback(b.toPassword()), http.StatusBadRequest)
}
