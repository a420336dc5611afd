package authserver

import (
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

func TestRevokingAtAFacade(t *testing.T) {
	for _, tc := range []struct {
		name    string
		token   func(tokens) string
		back    []string // what the provider was told
		refresh bool     // works afterwards
	}{
		{"a refresh token ends the grant, there too", func(g tokens) string { return g.RefreshToken }, []string{"provider-refresh-1", "provider-access-1"}, false},
		{"an access token ends it alone, there too", func(g tokens) string { return g.AccessToken }, []string{"provider-access-1"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, p := newFacade(t)
			got, bystander := w.relayedTokens(), w.relayedTokens()
			for range 2 {
				if a := w.revokeToken(tc.token(got)); a.status != 200 || a.body != "" {
					t.Fatalf("status %d: %s", a.status, a.body)
				}
			}
			if w.accepts(got.AccessToken) || !p.took(tc.back...) || len(p.revoked) > 2 {
				t.Errorf("the provider was told of %q", p.revoked)
			}
			w.clock.advance(time.Second)
			if again := w.refresh(got.RefreshToken); (again.status == 200) != tc.refresh {
				t.Errorf("refreshing: status %d", again.status)
			}
			if !w.accepts(bystander.AccessToken) || w.refresh(bystander.RefreshToken).status != 200 {
				t.Error("another grant of the same person has ended")
			}
			if events := w.trail.of(audit.Revocation); len(events) != 1 || !events[0].Allowed || events[0].Subject != "alice" || events[0].ClientID != "web" {
				t.Errorf("recorded %v", events)
			}
		})
	}
	t.Run("is for the client that the tokens were issued to", func(t *testing.T) {
		w, p := newFacade(t)
		got := w.relayedTokens()
		for _, token := range []string{got.AccessToken, got.RefreshToken} {
			w.revokeToken(token, "client_id", "other").wantError(t, 400, "invalid_grant")
			w.revokeToken(token, "client_id", "nobody").wantError(t, 401, "invalid_client")
		}
		if a := w.revokeToken("provider-refresh-1"); a.status != 200 { // it is none of ours
			t.Errorf("status %d", a.status)
		}
		p.set(func() { p.owners["issued-to-another-application"] = "alice" })
		if a := w.revokeToken("issued-to-another-application"); a.status != 200 {
			t.Errorf("status %d", a.status)
		}
		if len(p.revoked) != 0 || !w.accepts(got.AccessToken) {
			t.Errorf("the provider was told of %q", p.revoked)
		}
	})
}

// Here all is over at once, whatever becomes of the provider. The client is told to come back until the provider
// has heard of it, and the token that is dead here is still good for that.
func TestRevokingWhileTheProviderOfAFacadeIsDown(t *testing.T) {
	w, p := newFacade(t)
	got := w.relayedTokens()
	p.set(func() { p.down = true })
	for range 2 {
		a := w.revokeToken(got.RefreshToken)
		a.wantError(t, 503, "temporarily_unavailable")
		wantRetryAfter(t, a.answer)
		if w.accepts(got.AccessToken) {
			t.Error("the access token is accepted")
		}
		w.refresh(got.RefreshToken).wantError(t, 400, "invalid_grant")
	}
	p.set(func() { p.down = false })
	w.revokeToken(got.RefreshToken, "client_id", "other").wantError(t, 400, "invalid_grant")
	if len(p.revoked) != 0 {
		t.Errorf("another client's word counted: %q", p.revoked)
	}
	if a := w.revokeToken(got.RefreshToken); a.status != 200 || !p.took("provider-refresh-1", "provider-access-1") {
		t.Errorf("status %d; the provider was told of %q", a.status, p.revoked)
	}
	if a := w.revokeToken(got.RefreshToken); a.status != 200 || len(p.revoked) != 2 {
		t.Errorf("once more: status %d; the provider was told of %q", a.status, p.revoked)
	}
}
