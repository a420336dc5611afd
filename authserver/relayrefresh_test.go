package authserver

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func TestAFacadesRefreshTokensAreExchangedAtTheProviderOnce(t *testing.T) {
	w, p := newFacade(t)
	first := w.relayedTokens("scope", "-")
	w.clock.advance(10 * time.Minute)
	second := w.refresh(first.RefreshToken)
	if second.status != 200 || second.AccessToken != "provider-access-2" || second.ExpiresIn != 3600 || second.Scope != "github:read github:write" ||
		strings.Contains(second.body, "provider-refresh") {
		t.Fatalf("status %d: %s", second.status, second.body)
	}
	w.clock.advance(30 * time.Second)
	// A parallel process, or one whose answer was lost: the same tokens, with what is left of their life.
	again := w.refresh(first.RefreshToken, "scope", "github:read")
	if again.AccessToken != second.AccessToken || again.ExpiresIn != 3570 || p.issues() != 2 {
		t.Errorf("status %d: %s", again.status, again.body)
	}
	w.clock.advance(time.Second)
	if third := w.refresh(again.RefreshToken); third.AccessToken != "provider-access-3" {
		t.Errorf("status %d: %s", third.status, third.body)
	}
	// Its successor was used, and the grace is over: somebody has a copy.
	w.clock.advance(2 * time.Minute)
	w.refresh(first.RefreshToken).wantError(t, 400, "invalid_grant")
	for _, token := range []string{"provider-access-1", "provider-access-2", "provider-access-3"} {
		if w.accepts(token) {
			t.Errorf("%s is still accepted", token)
		}
	}
	if !p.took("provider-refresh-3") {
		t.Error("the provider was not told")
	}
	if events := w.trail.of(audit.RefreshReplayed); len(events) != 1 {
		t.Errorf("recorded %v", events)
	}
}

// Of parallel refreshes on several replicas one asks; a provider that rotates takes a second one for a thief.
func TestParallelRefreshesOfAFacadeOnTwoReplicas(t *testing.T) {
	w, p := newFacade(t)
	token := w.relayedTokens().RefreshToken
	w.clock.advance(time.Second)
	hold := make(chan struct{})
	p.set(func() { p.refreshing = hold })
	other := &world{Server: New(w.Config), t: t, clock: w.clock, store: w.store, trail: w.trail, idp: w.idp}
	answers := make([]tokens, 6)
	var all, begun sync.WaitGroup
	begun.Add(len(answers))
	for i := range answers {
		at := []*world{w, other}[i%2]
		all.Go(func() { begun.Done(); answers[i] = at.refresh(token) })
	}
	begun.Wait()
	close(hold)
	all.Wait()
	for _, got := range answers {
		if got.status != 200 || got.AccessToken != "provider-access-2" {
			t.Errorf("status %d: %s", got.status, got.body)
		}
	}
	if n := p.issues(); n != 2 {
		t.Errorf("the provider issued %d access tokens", n)
	}
}

func TestARefreshOfAFacadeThatFails(t *testing.T) {
	for _, tc := range []struct {
		name   string
		fail   func(*world, *issuing)
		status int
		code   string
		lost   bool // the grant has ended
	}{
		{"the provider is down", func(_ *world, p *issuing) { p.err = identity.ErrUnavailable }, 503, "temporarily_unavailable", false},
		{"the provider does not know our own client any more", func(_ *world, p *issuing) { p.err = identity.ErrRefused }, 503, "temporarily_unavailable", false},
		{"the provider's token would be refused", func(_ *world, p *issuing) { p.unfit = true }, 400, "invalid_grant", false},
		{"the provider's token is good for more than was agreed to", func(_ *world, p *issuing) { p.scope = "github:read github:write" }, 400, "invalid_grant", false},
		{"the provider says no", func(_ *world, p *issuing) { p.err = identity.ErrDenied }, 400, "invalid_grant", true},
		{"the token is about somebody else", func(_ *world, p *issuing) { p.user = bob }, 400, "invalid_grant", true},
		{"the person may not come in any more", func(w *world, _ *issuing) {
			w.Policy = policy(w.t, access.Rule{Kind: access.Domain, Value: "other.example"})
		}, 400, "invalid_grant", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, p := newFacade(t)
			got, before := w.relayedTokens(), w.Policy
			w.clock.advance(time.Second)
			p.set(func() { tc.fail(w, p) })
			refused := w.refresh(got.RefreshToken)
			refused.wantError(t, tc.status, tc.code)
			if tc.status == 503 {
				wantRetryAfter(t, refused.answer)
			}
			if w.accepts(got.AccessToken) == tc.lost {
				t.Errorf("the access token from before is accepted: %t", !tc.lost)
			}
			p.set(func() { p.err, p.unfit, p.scope, p.user = nil, false, "", alice })
			w.Policy = before
			w.clock.advance(time.Second)
			if again := w.refresh(got.RefreshToken); (again.status == 200) == tc.lost {
				t.Errorf("afterwards: status %d %s", again.status, again.body)
			}
		})
	}
}

func TestARefreshTokenOfAFacadeIsForOneClientAndResource(t *testing.T) {
	w, p := newFacade(t)
	got := w.relayedTokens()
	w.refresh(got.RefreshToken, "client_id", "other").wantError(t, 400, "invalid_grant")
	w.refresh(got.RefreshToken, "resource", linear).wantError(t, 400, "invalid_target")
	w.refresh(got.AccessToken).wantError(t, 400, "invalid_grant")
	w.refresh("provider-refresh-1").wantError(t, 400, "invalid_grant")
	if p.issues() != 1 {
		t.Error("the provider was asked")
	}
	if a := w.refresh(got.RefreshToken); a.status != 200 {
		t.Errorf("afterwards: status %d", a.status)
	}
}

// Every access token that may be good is known, so that it can be ended; a client that asks for ever more gets
// the newest again.
func TestAClientThatRefreshesAllTheTime(t *testing.T) {
	w, p := newFacade(t)
	got := w.relayedTokens()
	first := got.AccessToken
	for range maxRelayed + 10 {
		w.clock.advance(time.Second)
		if got = w.refresh(got.RefreshToken); got.status != 200 {
			t.Fatalf("status %d: %s", got.status, got.body)
		}
	}
	if n := p.issues(); n != maxRelayed {
		t.Errorf("the provider issued %d access tokens", n)
	}
	if a := w.revokeToken(got.RefreshToken); a.status != 200 {
		t.Fatalf("status %d", a.status)
	}
	if w.accepts(first) || w.accepts(got.AccessToken) {
		t.Error("an access token outlived its grant")
	}
}
