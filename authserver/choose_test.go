package authserver

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// pastChoice takes the first provider if a names several.
func (b *browser) pastChoice(a answer) answer {
	b.w.t.Helper()
	if !strings.Contains(a.body, "Choose how to sign in") {
		return a
	}
	return b.choose(a.hidden(b.w.t), b.w.Providers[0].ID())
}

func (b *browser) choose(ticket, id string) answer {
	b.w.t.Helper()
	return b.post(ChoosePath, url.Values{"ticket": {ticket}, "provider": {id}})
}

const secondCallback = CallbackPath + "/second"

// withSecond adds a provider, to which the people of corp.example belong.
func withSecond(second *provider) func(*Config) {
	return func(c *Config) {
		c.Providers = append(c.Providers, second)
		c.CallbackPaths = map[string]string{"oidc": CallbackPath, second.id: secondCallback}
		c.Domains = map[string]string{"corp.example": second.id}
	}
}

// choiceTicket consents and returns the ticket of the page that asks for a provider.
func (b *browser) choiceTicket(change ...string) string {
	b.w.t.Helper()
	a := b.decide(b.ticket(change...), "allow")
	if !strings.Contains(a.body, "Choose how to sign in") || !strings.Contains(a.body, "Example ID") || !strings.Contains(a.body, "Second") {
		b.w.t.Fatalf("status %d without a choice\n%s", a.status, a.body)
	}
	return a.hidden(b.w.t)
}

func TestPeopleSignInAtTheProviderTheyChoose(t *testing.T) {
	second := &provider{id: "second", name: "Second", user: bob}
	w := newWorld(t, withSecond(second))
	b := w.newBrowser()
	before := w.store.written()
	ticket := b.choiceTicket()
	if n := w.store.written() - before; n != 1 {
		t.Errorf("%d writes before a provider was chosen, want that of the consent ticket only", n)
	}
	state := b.choose(ticket, "second").location(t).Query().Get("state")
	if len(w.idp.attempts) != 0 || len(second.attempts) != 1 {
		t.Fatalf("%d and %d sign-ins began", len(w.idp.attempts), len(second.attempts))
	}
	if got := second.attempts[0].RedirectURI; got != issuer+secondCallback {
		t.Errorf("the provider is to answer at %s", got)
	}
	code := b.get(secondCallback, url.Values{"state": {state}, "code": {"idp-code"}}).location(t).Query().Get("code")
	if got := w.exchange(code); got.status != http.StatusOK {
		t.Errorf("status %d %s", got.status, got.Error)
	}
	if events := w.trail.of(audit.SignIn); len(events) != 1 || events[0].Subject != "bob" || events[0].Provider != "second" {
		t.Errorf("recorded %+v", events)
	}
}

func TestAnAddressSavesTheChoice(t *testing.T) {
	for _, tc := range []struct {
		name, hint, prompt string
		chosen             bool
	}{
		{"of a domain that belongs to a provider", "ann@corp.example", "", true},
		{"in another case", "ann@CORP.example", "", true},
		{"of another domain", "ann@example.com", "", false},
		{"below the domain", "ann@sub.corp.example", "", false},
		{"that ends like the domain", "ann@evilcorp.example", "", false},
		{"with two signs", "ann@corp.example@evil.example", "", false},
		{"that is the bare domain", "corp.example", "", false},
		{"of somebody who wants another account", "ann@corp.example", "select_account", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			second := &provider{id: "second", name: "Second", user: bob}
			w := newWorld(t, withSecond(second))
			b := w.newBrowser()
			a := b.decide(b.ticket("login_hint", tc.hint, "prompt", tc.prompt), "allow")
			if !tc.chosen {
				a.hidden(t)
			} else if a.location(t); second.attempts[0].LoginHint != tc.hint {
				t.Errorf("the provider was told %q", second.attempts[0].LoginHint)
			}
			if began := len(second.attempts) == 1; began != tc.chosen {
				t.Errorf("a sign-in began: %t", began)
			}
		})
	}
}

func TestAnAddressTypedOnThePageDecides(t *testing.T) {
	second := &provider{id: "second", name: "Second", user: bob}
	w := newWorld(t, withSecond(second))
	b := w.newBrowser()
	ticket := b.choiceTicket("login_hint", "ann@example.com")
	a := b.post(ChoosePath, url.Values{"ticket": {ticket}, "email": {"ann@elsewhere.example"}})
	if again := a.hidden(t); !strings.Contains(a.body, "No way to sign in belongs to this address") || again == ticket {
		t.Errorf("status %d\n%s", a.status, a.body)
	}
	b.post(ChoosePath, url.Values{"ticket": {a.hidden(t)}, "email": {"bob@corp.example"}}).location(t)
	if got := second.attempts[0].LoginHint; got != "bob@corp.example" {
		t.Errorf("the provider was told %q", got)
	}
}

func TestAChoiceBelongsToTheBrowserThatConsented(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		choose func(b *browser, ticket string) answer
	}{
		{"another browser", 400, func(b *browser, ticket string) answer {
			other := b.w.newBrowser()
			other.choiceTicket()
			return other.choose(ticket, "second")
		}},
		{"a browser without cookies", 400, func(b *browser, ticket string) answer { return b.w.newBrowser().choose(ticket, "second") }},
		{"too late", 400, func(b *browser, ticket string) answer {
			b.w.clock.advance(10 * time.Minute)
			return b.choose(ticket, "second")
		}},
		{"a changed ticket", 400, func(b *browser, ticket string) answer { return b.choose(ticket[:len(ticket)-1], "second") }},
		{"no ticket", 400, func(b *browser, _ string) answer { return b.choose("", "second") }},
		{"a consent ticket", 400, func(b *browser, _ string) answer { return b.choose(b.ticket(), "second") }},
		{"a provider that is not there", 400, func(b *browser, ticket string) answer { return b.choose(ticket, "third") }},
		{"an empty provider", 400, func(b *browser, ticket string) answer { return b.choose(ticket, "") }},
		{"two providers", 400, func(b *browser, ticket string) answer {
			return b.post(ChoosePath, url.Values{"ticket": {ticket}, "provider": {"oidc", "second"}})
		}},
		{"a form of another site", 403, func(b *browser, ticket string) answer {
			b.header = http.Header{"Sec-Fetch-Site": {"cross-site"}}
			return b.choose(ticket, "second")
		}},
		{"a link", 405, func(b *browser, ticket string) answer {
			return b.get(ChoosePath, url.Values{"ticket": {ticket}, "provider": {"second"}})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			second := &provider{id: "second", name: "Second", user: bob}
			w := newWorld(t, withSecond(second))
			b := w.newBrowser()
			wantPage(t, tc.choose(b, b.choiceTicket()), tc.status)
			if len(w.idp.attempts)+len(second.attempts) != 0 {
				t.Error("a sign-in began")
			}
		})
	}
}

func TestAChoiceTicketConsentsToNothing(t *testing.T) {
	w := newWorld(t, withSecond(&provider{id: "second", name: "Second", user: bob}))
	b := w.newBrowser()
	wantPage(t, b.decide(b.choiceTicket(), "allow"), http.StatusBadRequest)
}

// Somebody who took the wrong provider goes back and takes another; one consent is still worth one code.
func TestAChoiceCanBeMadeAgainUntilSomebodySignedIn(t *testing.T) {
	second := &provider{id: "second", name: "Second", user: bob}
	w := newWorld(t, withSecond(second))
	b := w.newBrowser()
	ticket := b.choiceTicket()
	first := b.choose(ticket, "oidc").location(t).Query().Get("state")
	other := b.choose(ticket, "second").location(t).Query().Get("state")
	if got := b.get(secondCallback, url.Values{"state": {other}, "code": {"idp-code"}}).location(t).Query().Get("code"); got == "" {
		t.Fatal("no code for the second choice")
	}
	wantPage(t, b.callback(first), http.StatusBadRequest)
}

func TestAProviderThatIsDownKeepsNobodyFromAnother(t *testing.T) {
	down := identity.ErrUnavailable
	t.Run("on the page", func(t *testing.T) {
		second := &provider{id: "second", name: "Second", user: bob}
		w := newWorld(t, withSecond(second))
		w.idp.ready = down
		b := w.newBrowser()
		ticket := b.choiceTicket()
		before := w.store.written()
		a := b.choose(ticket, "oidc")
		if !strings.Contains(a.body, "Example ID cannot be reached at the moment") {
			t.Errorf("status %d\n%s", a.status, a.body)
		}
		if n := w.store.written() - before; n != 0 {
			t.Errorf("%d writes for a provider that is down", n)
		}
		b.choose(a.hidden(t), "second").location(t)
	})
	t.Run("that an address belongs to", func(t *testing.T) {
		second := &provider{id: "second", name: "Second", ready: down}
		w := newWorld(t, withSecond(second))
		b := w.newBrowser()
		a := b.decide(b.ticket("login_hint", "ann@corp.example"), "allow")
		if !strings.Contains(a.body, "Second cannot be reached at the moment") {
			t.Errorf("status %d\n%s", a.status, a.body)
		}
		b.choose(a.hidden(t), "oidc").location(t)
	})
	t.Run("unless all are", func(t *testing.T) {
		w := newWorld(t, withSecond(&provider{id: "second", name: "Second", ready: down}))
		w.idp.ready = down
		a := w.newBrowser().get(AuthorizePath, authorization())
		wantPage(t, a, http.StatusServiceUnavailable)
		wantRetryAfter(t, a)
	})
}

func TestAnAnswerOfOneProviderIsNeverTakenForAnothers(t *testing.T) {
	second := &provider{id: "second", name: "Second", user: bob}
	w := newWorld(t, withSecond(second))
	b := w.newBrowser()
	state := b.choose(b.choiceTicket(), "second").location(t).Query().Get("state")
	wantPage(t, b.callback(state), http.StatusBadRequest)
	wantPage(t, b.get(secondCallback, url.Values{"state": {state}, "code": {"idp-code"}}), http.StatusBadRequest)
	if len(w.idp.finished)+len(second.finished) != 0 {
		t.Error("a provider was asked")
	}
	if _, signedIn := b.cookies["__Host-"+sessions.SessionCookieName]; signedIn {
		t.Error("somebody is signed in")
	}
}
