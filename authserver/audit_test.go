package authserver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// last returns the last event.
func (l *trail) last(t *testing.T) audit.Event {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) == 0 {
		t.Fatal("nothing was recorded")
	}
	return l.events[len(l.events)-1]
}

func TestRefusalsAreRecorded(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(*world)
		want audit.Event
	}{
		"of a code that was never issued": {func(w *world) { w.exchange("mcpac_no") },
			audit.Event{Type: audit.TokenIssued, Reason: "invalid_grant: the code is not valid, or has expired", ClientID: "web"}},
		"of a wrong verifier": {func(w *world) { w.exchange(w.newBrowser().code(), "code_verifier", strings.Repeat("x", 43)) },
			audit.Event{Type: audit.TokenIssued, Reason: "invalid_grant: code_verifier does not match the code_challenge", ClientID: "web"}},
		"of a refresh token that was never issued": {func(w *world) { w.refresh("mcprt_no") },
			audit.Event{Type: audit.TokenRefreshed, Reason: "invalid_grant: the refresh token is not valid, has expired or was revoked", ClientID: "web"}},
		"of a client that is not known": {func(w *world) { w.exchange("x", "client_id", "stranger") },
			audit.Event{Type: audit.ClientAuthentication, Reason: "unknown client"}},
		"of a wrong client secret": {func(w *world) { w.exchange("x", "client_id", "confidential", "client_secret", "guess") },
			audit.Event{Type: audit.ClientAuthentication, Reason: "wrong credentials", ClientID: "confidential"}},
		"of a redirect URI": {func(w *world) {
			w.newBrowser().get(AuthorizePath, authorization("redirect_uri", "https://evil.example/"))
		},
			audit.Event{Type: audit.Consent, Reason: "redirect URI is not registered", ClientID: "web"}},
		"of a registration": {func(w *world) { w.registration("application/json", `{"redirect_uris":[]}`) },
			audit.Event{Type: audit.Registration, Reason: "invalid_redirect_uri"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.do(w)
			got := w.trail.last(t)
			if got.Type != tc.want.Type || got.Allowed || got.Reason != tc.want.Reason || got.ClientID != tc.want.ClientID || got.ClientAddr != "192.0.2.1" {
				t.Errorf("recorded %+v, want %+v", got, tc.want)
			}
			n := len(w.trail.of(got.Type))
			tc.do(w)
			if got := len(w.trail.of(got.Type)); got != n {
				t.Errorf("%d events after the same once more, want %d", got, n)
			}
			w.clock.advance(time.Minute)
			tc.do(w)
			if got := len(w.trail.of(got.Type)); got != n+1 {
				t.Errorf("%d events a minute later, want %d", got, n+1)
			}
		})
	}
}

func TestReplaysAreRecordedOnce(t *testing.T) {
	w := newWorld(t)
	code := w.newBrowser().code()
	w.exchange(code)
	w.exchange(code).wantError(t, http.StatusBadRequest, "invalid_grant")
	if got := w.trail.last(t); got.Type != audit.CodeReplayed || got.Subject != alice.Subject {
		t.Errorf("recorded %+v", got)
	}
	if n := len(w.trail.of(audit.TokenIssued)); n != 1 {
		t.Errorf("%d events for the issue, want that of the token only", n)
	}
}

func TestRevocationsSayWhoRevoked(t *testing.T) {
	w := newWorld(t)
	w.revokeToken(w.tokens().RefreshToken)
	if got := w.trail.last(t); got.Type != audit.Revocation || got.By != audit.ByClient || !got.Allowed {
		t.Errorf("recorded %+v", got)
	}
	w.revokeToken(w.tokens().AccessToken)
	if got := w.trail.last(t); got.Type != audit.Revocation || got.By != audit.ByClient || got.Reason != "access token" {
		t.Errorf("recorded %+v", got)
	}

	first := w.tokens()
	w.refresh(first.RefreshToken)
	w.clock.advance(w.Lifetimes.Grant.Grace + time.Second)
	w.revokeToken(first.RefreshToken)
	if got := w.trail.last(t); got.Type != audit.Revocation || got.By != audit.ByClient || got.Subject != alice.Subject {
		t.Errorf("recorded %+v", got)
	}

	left := w.tokens()
	w.Policy = policy(t, access.Rule{Kind: access.Domain, Value: "other.example"})
	w.refresh(left.RefreshToken).wantError(t, http.StatusBadRequest, "invalid_grant")
	if got := w.trail.last(t); got.Type != audit.Revocation || got.By != audit.ByOperator {
		t.Errorf("recorded %+v", got)
	}
	if err := w.Vault.OpenAccess(left.AccessToken, new(sessions.Access)); err == nil {
		t.Error("the token opens after its grant was ended")
	}
}
