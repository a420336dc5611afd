package mcpauth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const testIssuer = "https://mcp.example.com"

// newTestHandler makes a handler of testIssuer on a memory store, with one local user.
func newTestHandler(tb testing.TB, resources ...*Resource) *Handler {
	tb.Helper()
	local, err := identity.NewLocal("local", "this server", "local", []identity.LocalUser{
		{Email: "alice@example.com", Hash: "$2a$04$O9HJpFTcqDZYbZ8jQ0yfDuyyGJnWKnMVKCBfzvXs2ncrFZoo1TRXq"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	policy, err := access.NewPolicy([]access.Rule{{Kind: "domain", Value: "example.com"}})
	if err != nil {
		tb.Fatal(err)
	}
	rt, err := newRuntime(MemoryStore{}, nil, zap.NewNop())
	if err != nil {
		tb.Fatal(err)
	}
	if err := rt.load(context.Background()); err != nil {
		tb.Fatal(err)
	}
	h := &Handler{Resources: resources, runtime: rt, logger: zap.NewNop(), audit: audit.Discard{}}
	h.providers = []identity.Provider{local}
	h.policy = policy
	if h.lifetimes, err = h.Options.lifetimes(); err != nil {
		tb.Fatal(err)
	}
	if h.guarding, err = h.Options.settings(); err != nil {
		tb.Fatal(err)
	}
	if h.clients, err = resolveClients(nil, nil); err != nil {
		tb.Fatal(err)
	}
	for _, r := range resources {
		if err := r.load(); err != nil {
			tb.Fatal(err)
		}
	}
	if h.fixed, err = h.newSite(testIssuer); err != nil {
		tb.Fatal(err)
	}
	return h
}

// token issues an access token of alice for a resource; change may alter it.
func (h *Handler) token(tb testing.TB, resource string, change func(*sessions.Access)) string {
	tb.Helper()
	now := time.Now()
	a := sessions.Access{
		ID: sessions.NewID(), Grant: sessions.NewID(), IssuedAt: now.Unix(), ExpiresAt: now.Add(time.Hour).Unix(),
		Resource: resource, Scope: "tools:read", UserIssuer: "https://idp.example.com", Subject: "10769150350006150715113082367",
		Email: "alice@example.com", Name: "Alice", Groups: "engineering,staff", ClientID: "dcr-0123456789abcdef", ClientName: "Claude Code",
	}
	if change != nil {
		change(&a)
	}
	token, err := h.fixed.vault.IssueAccess(a)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// request prepares a request as Caddy's server does.
func request(method, target string, header http.Header) (*http.Request, *caddy.Replacer) {
	r := httptest.NewRequest(method, target, nil)
	for name, values := range header {
		r.Header[name] = values
	}
	repl := caddy.NewReplacer()
	r = caddyhttp.PrepareRequest(r, repl, httptest.NewRecorder(), nil)
	return r, repl
}

// upstream is a next handler that remembers what reached it.
type upstream struct{ got *http.Request }

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	u.got = r
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// serve returns the status that the request ends with and the answer's header.
func serve(t *testing.T, h *Handler, r *http.Request) (int, http.Header, *http.Request) {
	t.Helper()
	w, next := httptest.NewRecorder(), new(upstream)
	err := h.ServeHTTP(w, r, next)
	var failed caddyhttp.HandlerError
	switch {
	case errors.As(err, &failed):
		return failed.StatusCode, w.Header(), next.got
	case err != nil:
		t.Fatalf("serving: %v", err)
	}
	return w.Code, w.Header(), next.got
}

func TestProtect(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github/*"}, Scopes: []string{"tools:read", "tools:write"}}, &Resource{Paths: []string{"/linear"}})
	github := testIssuer + "/github"
	other := newTestHandler(t, &Resource{Paths: []string{"/github"}})
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	revoked := sessions.NewID()
	if err := h.runtime.revocations.Revoke(context.Background(), revoked, time.Hour); err != nil {
		t.Fatal(err)
	}
	const challenge = `Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/github/mcp", scope="tools:read tools:write"`
	for _, tc := range []struct {
		name      string
		path      string
		header    http.Header
		status    int
		challenge string // a part of it
	}{
		{"the right token", "/github/mcp", bearer(h.token(t, github, nil)), 204, ""},
		{"any case of the scheme", "/github/mcp", http.Header{"Authorization": {"bEARER " + h.token(t, github, nil)}}, 204, ""},
		{"no token", "/github/mcp", nil, 401, challenge},
		{"another scheme", "/github/mcp", http.Header{"Authorization": {"Basic YWxpY2U6c2VjcmV0"}}, 401, challenge},
		{"nonsense", "/github/mcp", bearer("nonsense"), 401, `error="invalid_token"`},
		{"two tokens", "/github/mcp", http.Header{"Authorization": {"Bearer a", "Bearer b"}}, 400, `error="invalid_request"`},
		{"a token of another resource", "/linear", bearer(h.token(t, github, nil)), 401, `error="invalid_token"`},
		{"a token of another issuer's keys", "/github/mcp", bearer(other.token(t, github, nil)), 401, `error="invalid_token"`},
		{"an expired token", "/github/mcp", bearer(h.token(t, github, func(a *sessions.Access) { a.IssuedAt -= 7200; a.ExpiresAt = a.IssuedAt + 3600 })), 401, `error="invalid_token"`},
		{"a token of a revoked grant", "/github/mcp", bearer(h.token(t, github, func(a *sessions.Access) { a.Grant = revoked })), 401, `error="invalid_token"`},
		{"a revoked token", "/github/mcp", bearer(h.token(t, github, func(a *sessions.Access) { a.ID = revoked })), 401, `error="invalid_token"`},
		{"a person who left the allow-list", "/github/mcp", bearer(h.token(t, github, func(a *sessions.Access) { a.Email = "alice@gone.example" })), 403, ""},
		{"a token in the query", "/github/mcp?access_token=x", bearer(h.token(t, github, nil)), 400, `error="invalid_request"`},
		{"a token in the query alone", "/github/mcp?access_token=" + h.token(t, github, nil), nil, 400, `error="invalid_request"`},
		{"another spelling of the path", "/GitHub/mcp", nil, 401, "Bearer "},
		{"a dot segment on the way into the resource", "/public/../github/mcp", nil, 400, ""},
		{"an encoded slash in the resource", "/github%2Fmcp", bearer(h.token(t, github, nil)), 400, ""},
		{"a path outside of every resource", "/public", nil, 204, ""},
		{"a sibling with the same beginning", "/githubber", nil, 204, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, _ := request("POST", testIssuer+tc.path, tc.header)
			status, header, got := serve(t, h, r)
			if status != tc.status {
				t.Fatalf("status %d, want %d", status, tc.status)
			}
			if (status == 204) != (got != nil) {
				t.Errorf("request passed on: %t", got != nil)
			}
			if challenge := header.Get("WWW-Authenticate"); !strings.Contains(challenge, tc.challenge) || (tc.challenge == "") != (challenge == "") {
				t.Errorf("challenge %q, want %q", challenge, tc.challenge)
			}
			if tc.challenge != "" && !strings.Contains(tc.challenge, "error=") && strings.Contains(header.Get("WWW-Authenticate"), "error=") {
				t.Errorf("challenge %q names an error although no token was sent (RFC 6750, section 3.1)", header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestTheUpstreamLearnsWhoCallsFromTheTokenOnly(t *testing.T) {
	h := newTestHandler(t)
	r, repl := request("POST", testIssuer+"/mcp", http.Header{
		"Authorization":      {"Bearer " + h.token(t, testIssuer, nil)},
		"X-Forwarded-User":   {"mallory"},
		"X_forwarded_user":   {"mallory"},
		"X-Forwarded-Groups": {"admin"},
		"Connection":         {"close, X-Forwarded-User"},
		"Cookie":             {"theirs=1; __Host-mcp_auth_session=ours"},
		"Last-Event-Id":      {"7"},
	})
	status, _, got := serve(t, h, r)
	if status != 204 {
		t.Fatalf("status %d", status)
	}
	for name, want := range map[string]string{
		"X-Forwarded-User": "10769150350006150715113082367", "X-Forwarded-Email": "alice@example.com", "X-Forwarded-Groups": "engineering,staff",
		"Authorization": "", "Cookie": "theirs=1", "Last-Event-Id": "7", "Connection": "",
	} {
		if values := got.Header.Values(name); strings.Join(values, "|") != want {
			t.Errorf("%s: %q, want %q", name, values, want)
		}
	}
	if got.Header["X_forwarded_user"] != nil {
		t.Error("another spelling of an identity header went through")
	}
	for placeholder, want := range map[string]string{
		"id": "10769150350006150715113082367", "email": "alice@example.com", "name": "Alice", "groups": "engineering,staff",
		"issuer": "https://idp.example.com", "client_id": "dcr-0123456789abcdef", "client_name": "Claude Code",
		"scope": "tools:read", "resource": testIssuer,
	} {
		if value, _ := repl.GetString("http.auth.user." + placeholder); value != want {
			t.Errorf("{http.auth.user.%s} is %q, want %q", placeholder, value, want)
		}
	}
}

// A request that no resource claims must not be able to say who it is either.
func TestForgedIdentityIsRemovedOutsideOfResources(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github"}})
	r, _ := request("GET", testIssuer+"/public", http.Header{"X-Forwarded-User": {"mallory"}, "Authorization": {"Basic kept"}})
	if _, _, got := serve(t, h, r); got == nil || got.Header.Get("X-Forwarded-User") != "" || got.Header.Get("Authorization") != "Basic kept" {
		t.Errorf("passed on: %v", got)
	}
}

func TestOurTokensStayOutOfOtherPaths(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github"}})
	r, _ := request("GET", testIssuer+"/public", http.Header{"Authorization": {"Bearer " + h.token(t, testIssuer+"/github", nil)}})
	if _, _, got := serve(t, h, r); got == nil || got.Header.Get("Authorization") != "" {
		t.Errorf("passed on: %v", got)
	}
	r, _ = request("GET", testIssuer+"/public", http.Header{"Authorization": {"Bearer theirs"}})
	if _, _, got := serve(t, h, r); got == nil || got.Header.Get("Authorization") != "Bearer theirs" {
		t.Errorf("passed on: %v", got)
	}
}

func TestPreflightsAreAnsweredAtTheEdge(t *testing.T) {
	h := newTestHandler(t)
	for _, path := range []string{"/mcp", "/oauth2/token", "/oauth2/register", "/.well-known/oauth-authorization-server"} {
		r, _ := request("OPTIONS", testIssuer+path, http.Header{"Origin": {"http://localhost:6274"}, "Access-Control-Request-Method": {"POST"}})
		status, header, got := serve(t, h, r)
		if status != 204 || got != nil {
			t.Errorf("%s: status %d, passed on: %t", path, status, got != nil)
		}
		want := "*" // what is read without a token is for everybody
		if path == "/mcp" {
			want = "http://localhost:6274"
		}
		if header.Get("Access-Control-Allow-Origin") != want || header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", path, header)
		}
	}
}

// Rewriting for the upstream must not change which resource a token has to be for.
func TestTheResourceIsTheOneAskedFor(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github"}}, &Resource{Paths: []string{"/linear"}})
	r, _ := request("POST", testIssuer+"/github/mcp", http.Header{"Authorization": {"Bearer " + h.token(t, testIssuer+"/github", nil)}})
	r.URL.Path = "/linear/mcp"
	if status, _, _ := serve(t, h, r); status != 204 {
		t.Errorf("status %d", status)
	}
}
