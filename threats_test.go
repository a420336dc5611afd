package mcpauth

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// The methods and programs that somebody might have exempted (PA-03, BF-08).
func TestNothingIsLetInForItsMethodOrItsProgram(t *testing.T) {
	h := newTestHandler(t)
	token := http.Header{"Authorization": {"Bearer " + h.token(t, testIssuer, nil)}}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY", "PURGE", "get", "X"} {
		r, _ := request(method, testIssuer+"/mcp", nil)
		if status, header, got := serve(t, h, r); status != 401 || got != nil || header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s without a token: status %d, passed on: %v", method, status, got != nil)
		}
		r, _ = request(method, testIssuer+"/mcp", token)
		if status, _, got := serve(t, h, r); status != 204 || got == nil || got.Method != method {
			t.Errorf("%s with a token: status %d", method, status)
		}
	}
	for _, agent := range []string{"", "curl/8", "Claude-User", "kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Mozilla/5.0"} {
		r, _ := request("GET", testIssuer+"/mcp", http.Header{"User-Agent": {agent}})
		if status, _, got := serve(t, h, r); status != 401 || got != nil {
			t.Errorf("%q was answered with %d", agent, status)
		}
	}
}

// A header by which some servers replace the URL or the method must not decide what is guarded (HD-08).
func TestHeadersThatReplaceTheRequestDecideNothing(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github"}}, &Resource{Paths: []string{"/linear"}})
	token := "Bearer " + h.token(t, testIssuer+"/github", nil)
	for _, name := range []string{
		"X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Override-Url", "X-Forwarded-Uri", "X-Forwarded-Path", "X-Forwarded-Prefix",
		"X-Forwarded-Host", "X-Forwarded-Method", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override", "X-Original-Method",
	} {
		for _, value := range []string{"/public", "/linear/mcp", "OPTIONS", "other.example.com"} {
			r, _ := request("POST", testIssuer+"/github/mcp", http.Header{name: {value}})
			if status, _, got := serve(t, h, r); status != 401 || got != nil {
				t.Errorf("%s: %s without a token was answered with %d", name, value, status)
			}
			r, _ = request("POST", testIssuer+"/github/mcp", http.Header{name: {value}, "Authorization": {token}})
			if status, _, got := serve(t, h, r); status != 204 || got == nil || got.URL.Path != "/github/mcp" || got.Method != "POST" {
				t.Errorf("%s: %s with a token was answered with %d", name, value, status)
			}
			r, _ = request("POST", testIssuer+"/linear/mcp", http.Header{name: {strings.Replace(value, "linear", "github", 1)}, "Authorization": {token}})
			if status, _, got := serve(t, h, r); status != 401 || got != nil {
				t.Errorf("%s: %s with a token of another resource was answered with %d", name, value, status)
			}
		}
	}
}

// What a person calls themselves at the provider is text, to Caddy's placeholders as well (HD-13).
func TestWhatAProviderSaysIsNeverExpanded(t *testing.T) {
	t.Setenv("TEST_SECRET", "expanded")
	const hostile = "{env.TEST_SECRET}{http.request.header.Authorization}"
	h := newTestHandler(t)
	r, repl := request("POST", testIssuer+"/mcp", http.Header{"Authorization": {"Bearer " + h.token(t, testIssuer, func(a *sessions.Access) {
		a.Subject, a.Name, a.Groups, a.ClientName = hostile, hostile, hostile, hostile
	})}})
	_, _, got := serve(t, h, r)
	if got == nil {
		t.Fatal("refused")
	}
	for _, name := range []string{"X-Forwarded-User", "X-Forwarded-Groups"} {
		if value := got.Header.Get(name); value != hostile {
			t.Errorf("%s is %q", name, value)
		}
	}
	for _, claim := range []string{"id", "name", "groups", "client_name"} {
		if value := repl.ReplaceAll("{http.auth.user."+claim+"}", ""); value != hostile {
			t.Errorf("%s is %q", claim, value)
		}
	}
}

// A token counts in one place only; elsewhere it is in logs, caches and forms of other sites (BF-03, CK-06).
func TestATokenCountsInItsHeaderOnly(t *testing.T) {
	h := newTestHandler(t)
	token := h.token(t, testIssuer, nil)
	for _, header := range []http.Header{
		{"Cookie": {"access_token=" + token}},
		{"Cookie": {"__Host-mcp_auth_session=" + token}},
		{"Proxy-Authorization": {"Bearer " + token}},
		{"X-Access-Token": {token}},
		{"X-Forwarded-Access-Token": {token}},
		{"X-Api-Key": {token}},
		{"X-Authorization": {"Bearer " + token}},
		{"Authorization_": {"Bearer " + token}},
		{"Sec-Websocket-Protocol": {"bearer, " + token}},
		{"Authorization": {token}},
		{"Authorization": {"Token " + token}},
		{"Authorization": {"Bearer"}},
		{"Authorization": {"Bearer " + token + " x"}},
		{"Authorization": {"Bearer " + token + ", Bearer " + token}},
	} {
		r, _ := request("POST", testIssuer+"/mcp", header)
		if status, _, got := serve(t, h, r); status != 401 || got != nil {
			t.Errorf("%v was answered with %d", header, status)
		}
	}
	for _, query := range []string{"access_token=" + token, "ACCESS_TOKEN=x", "a=b&access%5ftoken=x", "access_token[]=x"} {
		r, _ := request("POST", testIssuer+"/mcp?"+query, http.Header{"Authorization": {"Bearer " + token}})
		if status, _, got := serve(t, h, r); status != 400 || got != nil {
			t.Errorf("?%.30s beside a header was answered with %d", query, status)
		}
	}
}

// The ID of a session opens nothing by itself, and an upgrade is no way past the token (SE-05, PA-06).
func TestNeitherASessionNorAnUpgradeStandsForAToken(t *testing.T) {
	yes := true
	h := newGuardedHandler(t, GuardOptions{Upgrades: &yes})
	for _, header := range []http.Header{
		{"Mcp-Session-Id": {"1868a90c"}},
		{"Mcp-Session-Id": {"1868a90c.SdQW9V4zEkC9-XyO79cY3g"}},
		{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
		{"Upgrade": {"h2c"}, "Connection": {"Upgrade, HTTP2-Settings"}, "Http2-Settings": {"AAMAAABkAARAAAAAAAIAAAAA"}},
	} {
		for _, path := range []string{"/mcp", "/messages?sessionId=1868a90c", "/messages?sessionId=1868a90c&mcp_session_tag=SdQW9V4zEkC9-XyO79cY3g"} {
			r, _ := request("GET", testIssuer+path, header)
			if status, _, got := serve(t, h, r); status != 401 || got != nil {
				t.Errorf("%v at %s was answered with %d", header, path, status)
			}
		}
	}
}

// The browser's endpoints are for people: no script of another site may read them or ask whether it may (CO-02).
func TestPagesOfPeopleAreForNoScript(t *testing.T) {
	h := newEdge(t).Handler
	for _, path := range []string{
		"/oauth2/auth", "/oauth2/consent", "/oauth2/choose", "/oauth2/login", "/oauth2/callback", "/oauth2/device", "/oauth2/logout", "/my", "/my/tokens",
	} {
		for _, method := range []string{"GET", "POST", "OPTIONS"} {
			for _, origin := range []string{"http://localhost:6274", "https://evil.example", "null"} {
				r, _ := request(method, testIssuer+path, http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"}})
				_, header, got := serve(t, h, r)
				for name := range header {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("%s %s for %s: %s: %q", method, path, origin, name, header[name])
					}
				}
				if got != nil {
					t.Errorf("%s %s was passed on", method, path)
				}
			}
		}
	}
}

// Every page carries the headers that keep it out of frames, caches and referrers, whatever went wrong; HSTS
// is the operator's to promise.
func TestEveryAnswerToAPersonIsAHardenedPage(t *testing.T) {
	h := newEdge(t).Handler
	for _, target := range []string{
		"/oauth2/auth", "/oauth2/auth?client_id=x&client_id=y", "/oauth2/auth?client_id=%zz", "/oauth2/consent", "/oauth2/choose", "/oauth2/login",
		"/oauth2/callback", "/oauth2/callback?error=access_denied&state=x", "/oauth2/device", "/oauth2/device?user_code=<script>", "/oauth2/logout", "/oauth2/logout?post_logout_redirect_uri=https://evil.example",
		"/my", "/my/tokens",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "HEAD"} {
			r, _ := request(method, testIssuer+target, nil)
			status, header, _ := serve(t, h, r)
			csp := header.Get("Content-Security-Policy")
			for _, rule := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
				if !strings.Contains(csp, rule) {
					t.Errorf("%s %s, status %d: Content-Security-Policy %q", method, target, status, csp)
				}
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
				"Strict-Transport-Security": "",
			} {
				if got := header.Get(name); got != want {
					t.Errorf("%s %s, status %d: %s %q, want %q", method, target, status, name, got, want)
				}
			}
		}
	}
}

// Who asks first whether to send a body is told at once that there is no need to (PA-07).
func TestNobodyWaitsForABodyThatIsNotWanted(t *testing.T) {
	h := newTestHandler(t)
	expect := http.Header{"Expect": {"100-continue"}}
	for _, tc := range []struct {
		name, path string
		header     http.Header
		close      bool
	}{
		{"a resource", "/mcp", expect, true},
		{"an endpoint", "/oauth2/token", expect, true},
		{"a resource with a token", "/mcp", http.Header{"Expect": {"100-continue"}, "Authorization": {"Bearer " + h.token(t, testIssuer, nil)}}, false},
		{"a resource, without asking", "/mcp", nil, false},
	} {
		r, _ := request("POST", testIssuer+tc.path, tc.header)
		if _, header, _ := serve(t, h, r); (header.Get("Connection") == "close") != tc.close {
			t.Errorf("%s: Connection %q", tc.name, header.Get("Connection"))
		}
	}
}

// What is far beyond any client is refused before it costs something (DO-05).
func TestRequestsFarBeyondAnyClientAreRefused(t *testing.T) {
	h := newEdge(t).Handler
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprintf("p%d=1", i)
	}
	long := strings.Repeat("s", 64<<10)
	for _, target := range []string{
		"/oauth2/auth?" + strings.Join(many, "&"),
		"/oauth2/auth?client_id=x&state=" + long,
		"/oauth2/auth?client_id=" + long,
		"/oauth2/callback?code=x&state=" + long,
	} {
		r, _ := request("GET", testIssuer+target, nil)
		if status, header, _ := serve(t, h, r); status < 400 || status >= 500 || header.Get("Location") != "" {
			t.Errorf("%.40s was answered with %d", target, status)
		}
	}
	for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/device_authorization"} {
		r, _ := request("POST", testIssuer+path+"?"+strings.Join(many, "&"), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		if status, _, _ := serve(t, h, r); status < 400 || status >= 500 {
			t.Errorf("%s was answered with %d", path, status)
		}
	}
}
