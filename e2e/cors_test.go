package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// script is a page's script at an origin of its own. It does with the answers what the Fetch standard
// has browsers do.
type script struct {
	*oauthClient
	origin string
}

// preflight sends what a browser sends before a request with that method and those headers, and
// reports why the browser would not send the request; "" if it would.
func (s *script) preflight(method, path string, headers ...string) string {
	s.t.Helper()
	slices.Sort(headers)
	a := s.do(http.MethodOptions, path, http.Header{
		"Origin": {s.origin}, "Access-Control-Request-Method": {method},
		"Access-Control-Request-Headers": {strings.ToLower(strings.Join(headers, ","))},
	}, nil)
	if a.Status < 200 || a.Status > 299 {
		return http.StatusText(a.Status)
	}
	if reason := s.mayNotRead(a); reason != "" {
		return reason
	}
	// A GET, HEAD or POST needs no permission, and a star permits no Authorization header.
	methods, allowed := listed(a, "Access-Control-Allow-Methods"), listed(a, "Access-Control-Allow-Headers")
	if method == http.MethodDelete && !slices.Contains(methods, strings.ToLower(method)) {
		return "the method is not allowed"
	}
	for _, name := range headers {
		name = strings.ToLower(name)
		if !slices.Contains(allowed, name) && (name == "authorization" || !slices.Contains(allowed, "*")) {
			return "the header " + name + " is not allowed"
		}
	}
	return ""
}

// mayNotRead reports why the script would not get to see an answer; "" if it would.
func (s *script) mayNotRead(a answer) string {
	origins := a.Header.Values("Access-Control-Allow-Origin")
	switch {
	case len(origins) != 1:
		return "there is not one Access-Control-Allow-Origin header"
	case origins[0] != "*" && origins[0] != s.origin:
		return "the answer is for " + origins[0]
	case a.Header.Get("Access-Control-Allow-Credentials") != "":
		// Nothing here acts on a cookie, and nothing may begin to.
		return "credentials are allowed"
	}
	return ""
}

func listed(a answer, name string) []string {
	var all []string
	for _, element := range strings.Split(strings.Join(a.Header.Values(name), ","), ",") {
		all = append(all, strings.ToLower(strings.TrimSpace(element)))
	}
	return all
}

func TestScriptsMayAskBeforeTheyHaveAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &script{oauthClient: w.newOAuthClient(upstream.StreamablePath), origin: "http://localhost:6274"}
	mcp := []string{"authorization", "content-type", "accept", "mcp-protocol-version", "mcp-session-id", "mcp-method", "mcp-name", "last-event-id", "mcp-param-region"}
	for _, tc := range []struct {
		method, path string
		headers      []string
	}{
		{http.MethodGet, "/.well-known/oauth-protected-resource", []string{"mcp-protocol-version"}},
		{http.MethodGet, "/.well-known/oauth-protected-resource/mcp", []string{"mcp-protocol-version"}},
		{http.MethodGet, "/.well-known/oauth-authorization-server", []string{"mcp-protocol-version"}},
		{http.MethodGet, "/.well-known/openid-configuration", []string{"mcp-protocol-version"}},
		{http.MethodGet, "/mcp/.well-known/openid-configuration", []string{"mcp-protocol-version"}},
		{http.MethodGet, "/.well-known/oauth-protected-resource/elsewhere", []string{"mcp-protocol-version"}},
		{http.MethodPost, "/oauth2/register", []string{"content-type", "accept"}},
		{http.MethodPost, "/oauth2/token", []string{"authorization", "content-type", "accept"}},
		{http.MethodPost, "/oauth2/revoke", []string{"authorization", "content-type"}},
		{http.MethodGet, upstream.StreamablePath, mcp},
		{http.MethodPost, upstream.StreamablePath, mcp},
		{http.MethodDelete, upstream.StreamablePath, mcp},
		{http.MethodGet, upstream.SSEPath, mcp},
		{http.MethodPost, upstream.MessagePath, mcp},
	} {
		if reason := s.preflight(tc.method, tc.path, tc.headers...); reason != "" {
			t.Errorf("%s %s: %s", tc.method, tc.path, reason)
		}
	}
	if n := len(w.up.Seen()); n != 0 {
		t.Errorf("%d preflights reached the server", n)
	}
	for _, path := range []string{"/oauth2/auth", "/oauth2/consent", "/oauth2/callback"} {
		a := s.do(http.MethodGet, path, http.Header{"Origin": {s.origin}}, nil)
		if s.mayNotRead(a) == "" || s.preflight(http.MethodPost, path, "content-type") == "" {
			t.Errorf("scripts may read %s, which acts on cookies", path)
		}
	}
}

func TestScriptsMayReadWhyTheyAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &script{oauthClient: w.newOAuthClient(upstream.StreamablePath), origin: "http://localhost:6274"}
	json, form := "application/json", "application/x-www-form-urlencoded"
	for _, tc := range []struct {
		name, method, path, contentType, token, body string

		status int
	}{
		{"no token", http.MethodPost, upstream.StreamablePath, json, "", initialize, http.StatusUnauthorized},
		{"a wrong token", http.MethodPost, upstream.StreamablePath, json, "wrong", initialize, http.StatusUnauthorized},
		{"a wrong token at a stream", http.MethodGet, upstream.SSEPath, "", "wrong", "", http.StatusUnauthorized},
		{"a token in the address", http.MethodGet, upstream.SSEPath + "?access_token=x", "", "", "", http.StatusBadRequest},
		{"a document that does not exist", http.MethodGet, "/.well-known/oauth-protected-resource/elsewhere", "", "", "", http.StatusNotFound},
		{"metadata that cannot be registered", http.MethodPost, "/oauth2/register", json, "", `{"redirect_uris":[]}`, http.StatusBadRequest},
		{"metadata that are too long", http.MethodPost, "/oauth2/register", json, "", strings.Repeat(" ", 17<<10), http.StatusRequestEntityTooLarge},
		{"an unknown grant type", http.MethodPost, "/oauth2/token", form, "", "grant_type=x", http.StatusBadRequest},
		{"an unknown client", http.MethodPost, "/oauth2/token", form, "", "grant_type=refresh_token&refresh_token=x&client_id=x", http.StatusUnauthorized},
		{"another method", http.MethodGet, "/oauth2/token", "", "", "", http.StatusMethodNotAllowed},
	} {
		h := http.Header{"Origin": {s.origin}}
		if tc.contentType != "" {
			h.Set("Content-Type", tc.contentType)
		}
		if tc.token != "" {
			h.Set("Authorization", "Bearer "+tc.token)
		}
		a := s.do(tc.method, tc.path, h, strings.NewReader(tc.body))
		if a.Status != tc.status {
			t.Errorf("%s: status %d, want %d", tc.name, a.Status, tc.status)
		}
		if reason := s.mayNotRead(a); reason != "" {
			t.Errorf("%s: %s", tc.name, reason)
		}
		if a.Header.Get("WWW-Authenticate") != "" && !slices.Contains(listed(a, "Access-Control-Expose-Headers"), "www-authenticate") {
			t.Errorf("%s: a script cannot read the challenge", tc.name)
		}
	}
}
