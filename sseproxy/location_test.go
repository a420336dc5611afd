package sseproxy

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// redirecting is a next handler that is a function.
type redirecting func(http.ResponseWriter, *http.Request)

func (f redirecting) ServeHTTP(w http.ResponseWriter, r *http.Request) error { f(w, r); return nil }

func TestRedirectsLeadBackThroughTheEdge(t *testing.T) {
	for _, tc := range []struct{ name, requested, forwarded, location, want string }{
		{"a path", "/mcp", "/mcp", "/mcp/", "/mcp/"},
		{"a path below a prefix that was taken off", "/github/mcp", "/mcp", "/mcp/", "/github/mcp/"},
		{"the upstream's loopback address", "/mcp", "/mcp", "http://127.0.0.1:3000/mcp/?a=b", "/mcp/?a=b"},
		{"the upstream's name in a container network", "/mcp", "/mcp", "http://github-mcp:8080/mcp/", "/mcp/"},
		{"the upstream's private address below a prefix", "/github/mcp", "/mcp", "http://10.0.0.7/mcp/", "/github/mcp/"},
		{"the site's own name with the wrong scheme", "/mcp", "/mcp", "http://mcp.example.com/mcp/", "/mcp/"},
		{"a public site", "/mcp", "/mcp", "https://docs.example.com/mcp", "https://docs.example.com/mcp"},
		{"a public address", "/mcp", "/mcp", "https://203.0.113.7/mcp", "https://203.0.113.7/mcp"},
		{"a relative reference", "/mcp", "/mcp", "mcp/", "mcp/"},
		{"nonsense", "/mcp", "/mcp", "http://[", "http://["},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "https://mcp.example.com"+tc.requested, nil)
			w := httptest.NewRecorder()
			next := redirecting(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", tc.location)
				w.WriteHeader(http.StatusTemporaryRedirect)
			})
			r.URL.Path = tc.forwarded // as handle_path does
			call := &Call{Identity: Identity{Access: sessions.Access{Subject: "alice"}}, Path: tc.requested}
			if err := New(Config{}).ServeCall(w, r, call, next); err != nil {
				t.Fatal(err)
			}
			if got := w.Header().Get("Location"); got != tc.want {
				t.Errorf("Location %q, want %q", got, tc.want)
			}
		})
	}
}
