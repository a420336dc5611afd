package mcpauth

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
)

// The access log writes query strings and the Location header, and a code or state in either is worth
// something to whoever reads it.
func TestCodesStayOutOfTheAccessLog(t *testing.T) {
	e := newEdge(t)
	e.code() // so that the authorization endpoint sends the code at once
	authorization := "/oauth2/auth?response_type=code&client_id=" + e.clientID + "&redirect_uri=" + testCallback +
		"&code_challenge_method=S256&code_challenge=" + testChallenge
	for _, tc := range []struct {
		name, method, target string
		skipped              bool
	}{
		{"an authorization request that is answered with a code", "GET", authorization, true},
		{"one that is answered with a page", "GET", authorization + "&prompt=consent", false},
		{"one that is refused", "GET", "/oauth2/auth?client_id=nobody", false},
		{"a callback", "GET", "/oauth2/callback?code=x&state=y", true},
		{"a decision", "POST", "/oauth2/consent", true},
		{"a password", "POST", "/oauth2/login", true},
		{"a token request", "POST", "/oauth2/token", false},
		{"a registration", "POST", "/oauth2/register", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, testIssuer+tc.target, nil)
			for name, value := range e.cookies {
				r.AddCookie(&http.Cookie{Name: name, Value: value})
			}
			w := httptest.NewRecorder()
			r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil)
			if err := e.ServeHTTP(w, r, nil); err != nil {
				t.Fatal(err)
			}
			if skipped, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool); skipped != tc.skipped {
				t.Errorf("status %d, Location %q: skipped %t, want %t", w.Code, w.Header().Get("Location"), skipped, tc.skipped)
			}
		})
	}
}

// What is refused before an endpoint sees it carries the same codes, and the server's log of errors has the
// whole address too.
func TestCodesStayOutOfTheLogsWhereTheyAreRefused(t *testing.T) {
	inside, err := access.NewNetworks([]string{"10.0.0.0/8"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		change func(*Handler, *http.Request)
		status int
	}{
		{"in early data", func(_ *Handler, r *http.Request) { r.TLS = &tls.ConnectionState{ServerName: "mcp.example.com"} }, http.StatusTooEarly},
		{"from elsewhere", func(h *Handler, _ *http.Request) { h.fixed.networks = inside }, http.StatusForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEdge(t)
			r := requestFrom("203.0.113.9", "GET", testIssuer+"/oauth2/callback?code=x&state=y", nil)
			tc.change(e.Handler, r)
			w := httptest.NewRecorder()
			err := e.ServeHTTP(w, r, nil)
			var failed caddyhttp.HandlerError
			if errors.As(err, &failed) {
				w.Code = failed.StatusCode
			}
			if w.Code != tc.status || tc.status == http.StatusTooEarly && err != nil {
				t.Errorf("status %d, %v", w.Code, err)
			}
			if skipped, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool); !skipped {
				t.Error("the access log has the code")
			}
		})
	}
}
