package authserver

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

func TestRevoking(t *testing.T) {
	for _, tc := range []struct {
		name            string
		token           func(tokens) string
		hint            string
		access, refresh bool // what works afterwards
	}{
		{"an access token ends it alone", func(g tokens) string { return g.AccessToken }, "access_token", false, true},
		{"a refresh token ends the grant", func(g tokens) string { return g.RefreshToken }, "refresh_token", false, false},
		{"a wrong hint changes nothing", func(g tokens) string { return g.RefreshToken }, "access_token", false, false},
		{"an unknown hint changes nothing", func(g tokens) string { return g.AccessToken }, "id_token", false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			got := w.tokens()
			for range 2 { // the second time there is nothing left to do, which is as good
				a := w.revokeToken(tc.token(got), "token_type_hint", tc.hint)
				if a.status != 200 || a.body != "" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "*" {
					t.Fatalf("status %d: %s", a.status, a.body)
				}
			}
			if w.opens(got.AccessToken) != tc.access {
				t.Errorf("the access token opens: %t", !tc.access)
			}
			if again := w.refresh(got.RefreshToken); (again.status == 200) != tc.refresh {
				t.Errorf("refreshing: status %d", again.status)
			}
			if events := w.trail.of(audit.Revocation); len(events) != 1 || !events[0].Allowed || events[0].Subject != "alice" || events[0].ClientID != "web" {
				t.Errorf("recorded %v", events)
			}
		})
	}
	t.Run("with a refresh token of before ends the grant", func(t *testing.T) {
		w := newWorld(t)
		first := w.tokens()
		newest := w.refreshed(first.RefreshToken)
		w.clock.advance(2 * time.Minute)
		if a := w.revokeToken(first.RefreshToken); a.status != 200 {
			t.Fatalf("status %d", a.status)
		}
		w.refresh(newest.RefreshToken).wantError(t, 400, "invalid_grant")
		if events := w.trail.of(audit.Revocation); len(events) != 1 {
			t.Errorf("recorded %v", events)
		}
	})
	t.Run("is for the client that the token was issued to", func(t *testing.T) {
		w := newWorld(t)
		got := w.tokens()
		for _, token := range []string{got.AccessToken, got.RefreshToken} {
			w.revokeToken(token, "client_id", "other").wantError(t, 400, "invalid_grant")
			w.revokeToken(token, "client_id", "confidential", "client_secret", secretOfConfidential).wantError(t, 400, "invalid_grant")
			w.revokeToken(token, "client_id", w.registered("none")).wantError(t, 400, "invalid_grant")
			w.revokeToken(token, "client_id", "nobody").wantError(t, 401, "invalid_client")
			w.revokeToken(token, "client_id", "-").wantError(t, 401, "invalid_client")
			w.revokeToken(token, "client_secret", "guessed").wantError(t, 401, "invalid_client")
		}
		if !w.opens(got.AccessToken) {
			t.Error("the access token has ended")
		}
		w.refreshed(got.RefreshToken)
	})
	t.Run("what is no token is a success", func(t *testing.T) { // RFC 7009, section 2.2
		w := newWorld(t)
		got := w.tokens()
		w.clock.advance(2 * time.Hour)
		for _, token := range []string{"nothing", "mcpat_", "mcprt_AAAA", "mcpac_AAAA", got.AccessToken, strings.Repeat("A", 60<<10)} {
			if a := w.revokeToken(token); a.status != 200 {
				t.Errorf("status %d %s for %.20q", a.status, a.Error, token)
			}
		}
		w.refreshed(got.RefreshToken)
	})
	t.Run("needs a token", func(t *testing.T) { newWorld(t).revokeToken("").wantError(t, 400, "invalid_request") })
}
