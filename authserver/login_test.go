package authserver

import (
	"net/http"
	"net/url"
	"testing"
)

// Whoever answers the consent page and goes no further leaves records behind, and needs no account for it.
func TestSignInsThatNobodyFinishesAreLimitedPerAddress(t *testing.T) {
	address := "192.0.2.1"
	w := newWorld(t, func(c *Config) {
		c.ClientAddr = func(*http.Request) string { return address }
		c.Providers = append(c.Providers, &provider{id: "other", name: "Other ID", user: alice})
	})
	b := w.newBrowser()
	choice := b.decide(b.ticket(), "allow").hidden(t)
	choose := func() answer { return b.post(ChoosePath, url.Values{"ticket": {choice}, "provider": {"oidc"}}) }
	for n := 1; n < signInBurst; n++ {
		switch n % 3 {
		case 0:
			b.decide(b.ticket(), "allow").hidden(t)
		case 1:
			b.decide(b.ticket(), "deny").location(t)
		default:
			choose().location(t)
		}
	}
	ticket, written := b.ticket(), w.store.written()
	for _, a := range []answer{b.decide(ticket, "allow"), choose()} {
		wantPage(t, a, http.StatusTooManyRequests)
		wantRetryAfter(t, a)
	}
	if w.store.written() != written {
		t.Errorf("%d writes beyond the limit", w.store.written()-written)
	}

	address = "192.0.2.2"
	b.decide(ticket, "deny").location(t) // neither the decision nor the page is lost
	address = "192.0.2.1"
	w.clock.advance(signInEvery)
	for range 3 { // who finishes is none that counts
		b.callback(choose().location(t).Query().Get("state")).location(t)
		choice = w.newChoice(t, b, &address)
	}
}

// newChoice comes to the page that asks for a provider, from an address that is not limited.
func (w *world) newChoice(t *testing.T, b *browser, address *string) string {
	t.Helper()
	here := *address
	defer func() { *address = here }()
	*address = "192.0.2.3"
	return b.decide(b.ticket("prompt", "login"), "allow").hidden(t)
}
