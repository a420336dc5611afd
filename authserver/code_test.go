package authserver

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// opens reports whether an access token still opens.
func (w *world) opens(token string) bool {
	var a sessions.Access
	return w.Vault.OpenAccess(token, &a) == nil
}

func TestExchangingACode(t *testing.T) {
	w := newWorld(t)
	got := w.exchange(w.newBrowser().code("scope", "github:write offline_access"))
	if got.status != http.StatusOK || got.TokenType != "Bearer" || got.ExpiresIn != 3600 || got.Scope != "github:write" || got.RefreshToken == "" {
		t.Fatalf("status %d: %s", got.status, got.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "no-store", "Pragma": "no-cache",
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "",
	} {
		if value := got.header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	var a sessions.Access
	if err := w.Vault.OpenAccess(got.AccessToken, &a); err != nil {
		t.Fatal(err)
	}
	now := w.clock.Now().Unix()
	want := sessions.Access{
		ID: a.ID, Grant: a.Grant, IssuedAt: now, ExpiresAt: now + 3600, Resource: github, Scope: "github:write",
		UserIssuer: "https://idp.example", Subject: "alice", Email: "alice@example.com", Name: "Alice", Groups: "engineering",
		ClientID: "web", ClientName: "Web client",
	}
	if a != want || a.ID == a.Grant || a.Grant == (sessions.ID{}) {
		t.Errorf("the token says %+v, want %+v", a, want)
	}
	if events := w.trail.of(audit.TokenIssued); len(events) != 1 || !events[0].Allowed || events[0].Grant != a.Grant.String() {
		t.Errorf("recorded %v", events)
	}
	t.Run("by a client without refresh tokens", func(t *testing.T) {
		if got := w.exchange(w.newBrowser().code("client_id", "short"), "client_id", "short"); got.status != 200 || got.RefreshToken != "" {
			t.Errorf("status %d: %s", got.status, got.body)
		}
	})
}

// Refused before the code is used up, so that the client can correct itself and try again.
func TestAnExchangeThatCanBeCorrected(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		name   string
		status int
		code   string
		form   string // added to the form
		change []string
	}{
		{"for a foreign resource", 400, "invalid_target", "", []string{"resource", "https://other.example"}},
		{"for another resource of ours", 400, "invalid_target", "", []string{"resource", linear}},
		{"for two resources", 400, "invalid_target", "&resource=" + url.QueryEscape(linear), []string{"resource", github}},
		{"with a parameter twice", 400, "invalid_request", "&code_verifier=" + verifier, nil},
		{"without a grant type", 400, "invalid_request", "", []string{"grant_type", "-"}},
		{"with an unknown grant type", 400, "unsupported_grant_type", "", []string{"grant_type", "password"}},
		{"without a client", 401, "invalid_client", "", []string{"client_id", "-"}},
		{"by an unknown client", 401, "invalid_client", "", []string{"client_id", "nobody"}},
		{"by a confidential client without its secret", 401, "invalid_client", "", []string{"client_id", "confidential"}},
		{"by a public client with a secret", 401, "invalid_client", "", []string{"client_secret", "guessed"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code := w.newBrowser().code()
			form := with(url.Values{
				"grant_type": {"authorization_code"}, "client_id": {"web"}, "code": {code}, "code_verifier": {verifier},
			}, tc.change...).Encode() + tc.form
			r := httptest.NewRequest("POST", issuer+TokenPath, strings.NewReader(form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w.decode(w.send(r)).wantError(t, tc.status, tc.code)
			if got := w.exchange(code, "resource", github+"/", "redirect_uri", "-"); got.status != http.StatusOK {
				t.Errorf("afterwards: status %d %s", got.status, got.Description)
			}
		})
	}
}

func TestAnExchangeThatUsesTheCodeUp(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change []string
	}{
		{"another client", []string{"client_id", "other"}},
		{"another redirect URI", []string{"redirect_uri", callback + "/"}},
		{"no verifier", []string{"code_verifier", "-"}},
		{"another verifier", []string{"code_verifier", strings.Repeat("a", 43)}},
		{"the challenge as verifier", []string{"code_verifier", challenge}},
		{"a short verifier", []string{"code_verifier", verifier[:42]}},
		{"an endless verifier", []string{"code_verifier", strings.Repeat("a", 129)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			code := w.newBrowser().code()
			w.exchange(code, tc.change...).wantError(t, 400, "invalid_grant")
			w.exchange(code).wantError(t, 400, "invalid_grant")
		})
	}
	for _, tc := range []struct {
		name string
		code func(w *world, code string) string
	}{
		{"a code that is nothing", func(*world, string) string { return "nothing" }},
		{"a code of the identity provider", func(*world, string) string { return "idp-code" }},
		{"a code that was altered", func(_ *world, code string) string { return code[:len(code)-2] + "AA" }},
		{"a code that has expired", func(w *world, code string) string { w.clock.advance(time.Minute); return code }},
		{"a code long forgotten", func(w *world, code string) string { w.clock.advance(time.Hour); return code }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.exchange(tc.code(w, w.newBrowser().code())).wantError(t, 400, "invalid_grant")
		})
	}
	t.Run("no code", func(t *testing.T) { newWorld(t).exchange("").wantError(t, 400, "invalid_request") })
	t.Run("a person who left the allow-list meanwhile", func(t *testing.T) {
		w := newWorld(t)
		code := w.newBrowser().code()
		w.Policy = policy(t, access.Rule{Kind: access.Domain, Value: "other.example"})
		w.exchange(code).wantError(t, 400, "invalid_grant")
	})
	t.Run("a resource that is gone", func(t *testing.T) {
		w := newWorld(t)
		code := w.newBrowser().code()
		*w.resources = (*w.resources)[1:]
		w.exchange(code).wantError(t, 400, "invalid_grant")
	})
}

// Whoever could have redeemed the code, and presents it again, ends the grant; anybody else must not be
// able to (RFC 6749, section 4.1.2).
func TestReplayingACode(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change []string
		ends   bool
	}{
		{"by the right client", nil, true},
		{"by the right client for another resource", []string{"resource", linear}, true},
		{"by another client", []string{"client_id", "other"}, false},
		{"with another verifier", []string{"code_verifier", strings.Repeat("a", 43)}, false},
		{"without a verifier", []string{"code_verifier", "-"}, false},
		{"with another redirect URI", []string{"redirect_uri", "https://other.example/cb"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			code := w.newBrowser().code()
			got := w.exchange(code)
			w.exchange(code, tc.change...).wantError(t, 400, "invalid_grant")
			if w.opens(got.AccessToken) == tc.ends {
				t.Errorf("the access token opens: %t", !tc.ends)
			}
			if again := w.refresh(got.RefreshToken); (again.status == 200) == tc.ends {
				t.Errorf("refreshing: status %d", again.status)
			}
			if events := w.trail.of(audit.CodeReplayed); (len(events) == 1) != tc.ends {
				t.Errorf("recorded %v", events)
			}
		})
	}
	t.Run("after the code's own time", func(t *testing.T) {
		w := newWorld(t)
		code := w.newBrowser().code()
		got := w.exchange(code)
		w.clock.advance(9 * time.Minute)
		w.exchange(code).wantError(t, 400, "invalid_grant")
		if w.opens(got.AccessToken) {
			t.Error("the access token opens")
		}
	})
}

// Of many who exchange one code at a time at most one gets tokens; the others are told so and not that
// the server failed.
func TestParallelExchanges(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		name   string
		change []string
	}{{"with refresh tokens", nil}, {"without", []string{"client_id", "short"}}} {
		t.Run(tc.name, func(t *testing.T) {
			for range 20 {
				code := w.newBrowser().code(tc.change...)
				answers := make([]tokens, 50)
				var all sync.WaitGroup
				for i := range answers {
					all.Go(func() { answers[i] = w.exchange(code, tc.change...) })
				}
				all.Wait()
				winners := 0
				for _, got := range answers {
					switch {
					case got.status == http.StatusOK:
						winners++
					case got.status != http.StatusBadRequest || got.Error != "invalid_grant":
						t.Fatalf("status %d %s: %s", got.status, got.Error, got.Description)
					}
				}
				if winners > 1 {
					t.Fatalf("%d got tokens", winners)
				}
				for _, got := range answers {
					if got.AccessToken != "" && w.opens(got.AccessToken) {
						t.Fatal("the winner's token outlives the replays")
					}
				}
			}
		})
	}
}
