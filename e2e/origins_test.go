package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
)

func TestPagesThatMayUseAResource(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false, "origins loopback https://app.example.com")
	token, c, _ := w.token(idp.Alice)
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	with := func(h http.Header, more ...string) http.Header {
		h = h.Clone()
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return h
	}
	const app, inspector, evil = "https://app.example.com", "http://localhost:6274", "https://evil.example"
	for _, tc := range []struct {
		name, method, path string
		header             http.Header
		status             int
		allow              string // Access-Control-Allow-Origin
	}{
		{"a page that is listed", "GET", "/tools/raw/echo", with(bearer, "Origin", app), 200, app},
		{"the Inspector", "GET", "/tools/raw/echo", with(bearer, "Origin", inspector), 200, inspector},
		{"another page", "GET", "/tools/raw/echo", with(bearer, "Origin", evil), 403, ""},
		{"another page that looks like it", "GET", "/tools/raw/echo", with(bearer, "Origin", app+".evil.example"), 403, ""},
		{"a page without an origin of its own", "GET", "/tools/raw/echo", with(bearer, "Origin", "null"), 403, ""},
		{"a listed page without a token", "GET", "/tools/raw/echo", http.Header{"Origin": {app}}, 401, app},
		{"a listed page with a session of somebody else", "DELETE", "/tools/mcp", with(bearer, "Origin", app, "Mcp-Session-Id", "x"), 404, app},
		{"a listed page's preflight", "OPTIONS", "/tools/raw/echo", http.Header{"Origin": {app}, "Access-Control-Request-Method": {"POST"}}, 204, app},
		{"another page's preflight", "OPTIONS", "/tools/raw/echo", http.Header{"Origin": {evil}, "Access-Control-Request-Method": {"POST"}}, 403, ""},
		{"any page that reads metadata", "GET", "/.well-known/oauth-protected-resource/tools", http.Header{"Origin": {evil}}, 200, "*"},
		{"any page that asks for a token", "POST", "/oauth2/token", http.Header{"Origin": {evil}}, 400, "*"},
		{"a page that opens the authorization endpoint", "GET", "/oauth2/auth", http.Header{"Origin": {app}}, 400, ""},
		{"a page that opens the callback", "GET", "/oauth2/callback", http.Header{"Origin": {app}}, 400, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := c.do(tc.method, tc.path, tc.header, nil)
			if a.Status != tc.status {
				t.Errorf("status %d, want %d", a.Status, tc.status)
			}
			if allow := strings.Join(a.Header.Values("Access-Control-Allow-Origin"), "|"); allow != tc.allow || a.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("Access-Control-Allow-Origin %q, -Credentials %q; want %q", allow, a.Header.Get("Access-Control-Allow-Credentials"), tc.allow)
			}
			if tc.allow != "" && tc.allow != "*" {
				exposed := a.Header.Values("Access-Control-Expose-Headers")
				if len(exposed) != 1 || !strings.Contains(exposed[0], "WWW-Authenticate") || !strings.Contains(exposed[0], "Mcp-Session-Id") {
					t.Errorf("exposed: %q", exposed)
				}
				if !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Origin") {
					t.Errorf("Vary: %q", a.Header.Values("Vary"))
				}
			}
		})
	}
	if n := w.edge.Metric(`caddy_mcp_auth_requests_refused_total{reason="origin"}`); n != 4 {
		t.Errorf("%v refused pages were counted, want 4", n)
	}
}

func TestLimitsOfWhatOneAddressMaySend(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false, "max_bad_tokens 5", "max_body 2KiB")
	token, c, tokens := w.token(idp.Alice)
	ask := func(token string) answer { return c.mcp("/tools/mcp", token) }
	limited := 0
	for range 20 {
		switch a := ask("a-guess"); a.Status {
		case http.StatusTooManyRequests:
			if a.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			limited++
		case http.StatusUnauthorized:
		default:
			t.Fatalf("a guess was answered with %d", a.Status)
		}
	}
	if limited < 10 {
		t.Errorf("%d of 20 guesses were told to wait", limited)
	}
	if a := ask(token); a.Status != http.StatusOK {
		t.Errorf("a good token from the same address was answered with %d", a.Status)
	}
	renewed := c.refresh(tokens.RefreshToken)
	if a := c.revoke(renewed.RefreshToken); a.Status != http.StatusOK {
		t.Fatalf("revoking was answered with %d", a.Status)
	}
	ask(renewed.AccessToken).wantRefused(t, "a revoked token from the same address")

	token, c, _ = w.token(idp.Alice)
	long := `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", 4<<10) + `"}}`
	header := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if a := c.do("POST", "/tools/mcp", header, strings.NewReader(long)); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long message was answered with %d", a.Status)
	}
	if a := c.do("POST", "/tools/mcp", header, struct{ *strings.Reader }{strings.NewReader(long)}); a.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long message of unknown length was answered with %d", a.Status)
	}
	header.Set("Content-Type", "image/png")
	if a := c.do("POST", "/tools/raw/echo", header, strings.NewReader(long)); a.Status != http.StatusOK {
		t.Errorf("an upload was answered with %d", a.Status)
	}
	edge.Eventually(t, "the refusals are counted", 5*time.Second, func() bool {
		return w.edge.Metric(`caddy_mcp_auth_requests_refused_total{reason="body_too_large"}`) == 2 &&
			w.edge.Metric(`caddy_mcp_auth_requests_refused_total{reason="too_many_bad_tokens"}`) == float64(limited)
	})
}
