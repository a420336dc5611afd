package authserver

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// refreshed refreshes and fails the test without new tokens.
func (w *world) refreshed(token string, change ...string) tokens {
	w.t.Helper()
	got := w.refresh(token, change...)
	if got.status != 200 || got.AccessToken == "" || got.RefreshToken == "" || !w.opens(got.AccessToken) {
		w.t.Fatalf("status %d %s: %s", got.status, got.Error, got.Description)
	}
	return got
}

func TestRefreshing(t *testing.T) {
	w := newWorld(t)
	first := w.tokens("scope", "-")
	w.clock.advance(59 * time.Minute)
	second := w.refreshed(first.RefreshToken)
	if second.RefreshToken == first.RefreshToken || second.AccessToken == first.AccessToken || second.Scope != "github:read github:write" || second.ExpiresIn != 3600 {
		t.Errorf("%s", second.body)
	}
	if !w.opens(first.AccessToken) {
		t.Error("the access token from before has ended early")
	}
	t.Run("once more within the grace", func(t *testing.T) {
		w.clock.advance(time.Minute)
		again := w.refreshed(first.RefreshToken)
		w.refreshed(again.RefreshToken)
	})
	t.Run("keeps a grant alive that is used", func(t *testing.T) {
		got := w.tokens()
		for range 3 {
			w.clock.advance(29 * 24 * time.Hour)
			got = w.refreshed(got.RefreshToken)
		}
		w.clock.advance(30 * 24 * time.Hour)
		w.refresh(got.RefreshToken).wantError(t, 400, "invalid_grant")
	})
	t.Run("is recorded", func(t *testing.T) {
		events := w.trail.allowed(audit.TokenRefreshed)
		if len(events) != 6 || events[0].ClientID != "web" || events[0].Grant == "" {
			t.Errorf("recorded %v", events)
		}
	})
}

func TestReusingARefreshToken(t *testing.T) {
	for _, tc := range []struct {
		name string
		use  func(w *world, first tokens) tokens // returns the newest tokens
	}{
		{"after the grace", func(w *world, first tokens) tokens {
			newest := w.refreshed(first.RefreshToken)
			w.clock.advance(time.Minute + time.Second)
			return newest
		}},
		{"two generations old", func(w *world, first tokens) tokens {
			return w.refreshed(w.refreshed(first.RefreshToken).RefreshToken)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			first := w.tokens()
			newest := tc.use(w, first)
			w.refresh(first.RefreshToken).wantError(t, 400, "invalid_grant")
			w.refresh(newest.RefreshToken).wantError(t, 400, "invalid_grant")
			if w.opens(newest.AccessToken) || w.opens(first.AccessToken) {
				t.Error("an access token of the family still opens")
			}
			if events := w.trail.of(audit.RefreshReplayed); len(events) != 1 || events[0].Allowed || events[0].Grant == "" || events[0].Subject != "alice" {
				t.Errorf("recorded %v", events)
			}
		})
	}
}

// What another client presents harms nobody, however old it is: it proves no possession of the grant.
func TestAnotherClientsRefreshToken(t *testing.T) {
	for _, client := range []string{"other", "confidential"} {
		for _, age := range []string{"current", "previous", "stale"} {
			for _, endpoint := range []string{"refresh", "revoke"} {
				t.Run(client+" "+endpoint+" "+age, func(t *testing.T) {
					w := newWorld(t)
					first := w.tokens()
					newest, presented := first, first.RefreshToken
					if age != "current" {
						newest = w.refreshed(first.RefreshToken)
					}
					if age == "stale" {
						w.clock.advance(2 * time.Minute)
					}
					change := []string{"client_id", client}
					if client == "confidential" {
						change = append(change, "client_secret", secretOfConfidential)
					}
					if endpoint == "refresh" {
						w.refresh(presented, change...).wantError(t, 400, "invalid_grant")
					} else {
						w.revokeToken(presented, change...).wantError(t, 400, "invalid_grant")
					}
					if !w.opens(newest.AccessToken) {
						t.Error("the access token has ended")
					}
					w.refreshed(newest.RefreshToken)
				})
			}
		}
	}
}

func TestARefreshNarrowsAndNeverWidens(t *testing.T) {
	for _, tc := range []struct {
		name   string
		first  string // scope of the authorization request
		change []string
		scope  string
		code   string
	}{
		{"no scope", "-", nil, "github:read github:write", ""},
		{"one of two scopes", "-", []string{"scope", "github:write"}, "github:write", ""},
		{"a scope twice", "-", []string{"scope", "github:write github:write"}, "github:write", ""},
		{"the scopes and what no server knows", "-", []string{"scope", "github:read offline_access openid"}, "github:read", ""},
		{"only what no server knows", "github:read", []string{"scope", "offline_access"}, "github:read", ""},
		{"a scope that was not granted", "github:read", []string{"scope", "github:read github:write"}, "", "invalid_scope"},
		{"a scope with a quote", "-", []string{"scope", `github:read"`}, "", "invalid_scope"},
		{"its resource", "-", []string{"resource", github}, "github:read github:write", ""},
		{"a place in its resource", "-", []string{"resource", github + "/mcp"}, "github:read github:write", ""},
		{"another resource", "-", []string{"resource", linear}, "", "invalid_target"},
		{"a foreign resource", "-", []string{"resource", "https://other.example"}, "", "invalid_target"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			first := w.tokens("scope", tc.first)
			if tc.code != "" {
				w.refresh(first.RefreshToken, tc.change...).wantError(t, 400, tc.code)
				w.clock.advance(time.Hour)
				w.refreshed(first.RefreshToken) // nothing was rotated
				return
			}
			got := w.refreshed(first.RefreshToken, tc.change...)
			var a sessions.Access
			if err := w.Vault.OpenAccess(got.AccessToken, &a); err != nil || a.Scope != tc.scope || got.Scope != tc.scope || a.Resource != github {
				t.Errorf("scope %q, the token says %q for %s: %v", got.Scope, a.Scope, a.Resource, err)
			}
			if full := w.refreshed(got.RefreshToken); tc.first == "-" && full.Scope != "github:read github:write" {
				t.Errorf("the grant was narrowed to %q", full.Scope)
			}
		})
	}
}

func TestWhoLeavesTheAllowListGetsNoFurtherToken(t *testing.T) {
	for name, leave := range map[string]func(*world){
		"of the site": func(w *world) { w.Policy = policy(w.t, access.Rule{Kind: access.Email, Value: "bob@example.com"}) },
		"of the resource": func(w *world) {
			(*w.resources)[0].Policy = policy(w.t, access.Rule{Kind: access.Group, Value: "finance"})
		},
		"with their provider": func(w *world) { delete(w.providers, "oidc") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.tokens()
			leave(w)
			w.refresh(first.RefreshToken).wantError(t, 400, "invalid_grant")
			if w.opens(first.AccessToken) {
				t.Error("the access token still opens")
			}
			if events := w.trail.of(audit.TokenRefreshed); len(events) != 1 || events[0].Allowed || events[0].Reason == "" {
				t.Errorf("recorded %v", events)
			}
		})
	}
}

// A mistake in the configuration must not sign everybody out.
func TestAGrantOutlivesTheAbsenceOfItsResource(t *testing.T) {
	w := newWorld(t)
	first := w.tokens()
	all := *w.resources
	*w.resources = all[1:]
	w.refresh(first.RefreshToken).wantError(t, 400, "invalid_target")
	*w.resources = all
	w.clock.advance(time.Hour)
	w.refreshed(first.RefreshToken)
}

// A longer grace, configured meanwhile, must not let a token pass without the checks of a refresh.
func TestALongerGraceIsNoWayAroundTheChecks(t *testing.T) {
	w := newWorld(t)
	first := w.tokens("scope", "github:read")
	w.refreshed(first.RefreshToken)
	w.clock.advance(5 * time.Minute)
	w.Lifetimes.Grant.Grace = 10 * time.Minute
	got := w.refresh(first.RefreshToken, "resource", linear)
	if got.status == 200 {
		t.Errorf("a token for %s", got.body)
	}
}

func TestParallelRefreshesAllSucceed(t *testing.T) {
	w := newWorld(t)
	first := w.tokens()
	answers := make([]tokens, 50)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = w.refresh(first.RefreshToken) })
	}
	all.Wait()
	for _, got := range answers {
		if got.status != 200 || !w.opens(got.AccessToken) {
			t.Fatalf("status %d %s: %s", got.status, got.Error, got.Description)
		}
	}
	for _, got := range answers[:5] {
		w.refreshed(got.RefreshToken)
	}
}

func TestARefreshTokenThatIsNone(t *testing.T) {
	w := newWorld(t)
	got := w.tokens()
	w.refresh("").wantError(t, 400, "invalid_request")
	for _, token := range []string{"nothing", "mcprt_", strings.ToUpper(got.RefreshToken), got.RefreshToken + "A", "mcprt_" + strings.Repeat("A", 70<<10/2)} {
		w.refresh(token).wantError(t, 400, "invalid_grant")
	}
	w.refreshed(got.RefreshToken)
}

// An operator who takes refresh_token out of a client's grant types means the tokens that are out there, too.
func TestAClientThatMayNotRefreshAnyMore(t *testing.T) {
	w := newWorld(t)
	first := w.tokens()
	before := w.Clients
	w.Clients = clients.New(clients.Config{Ring: w.Vault.Ring, Tenant: issuer, Now: w.clock.Now, Static: []clients.Client{
		static(t, clients.Client{ID: "web", RedirectURIs: []string{callback}, GrantTypes: []string{"authorization_code"}}),
	}})
	w.refresh(first.RefreshToken).wantError(t, 400, "unauthorized_client")
	w.Clients = before
	w.refreshed(first.RefreshToken)
}
