package mcpauth

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func TestATokenWithTooLittleScope(t *testing.T) {
	h := newTestHandler(t, &Resource{
		Paths: []string{"/github"}, Scopes: []string{"read", "write", "admin", "audit"}, ChallengeScope: []string{"read", "audit"},
		RequiredScope: []string{"read", "audit"}, Implies: map[string][]string{"write": {"read"}, "admin": {"write"}},
	})
	const metadata = `resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/github/mcp"`
	for _, tc := range []struct {
		name, scope string
		status      int
		challenge   string
	}{
		{"all that is required", "read audit", 204, ""},
		{"more than is required", "read write audit", 204, ""},
		{"one implied over another", "admin audit", 204, ""},
		{"one of two", "write", 403, `Bearer error="insufficient_scope", error_description="The access token lacks a scope that this resource requires", ` + metadata + `, scope="read audit write"`},
		{"nothing", "", 403, `Bearer error="insufficient_scope", error_description="The access token lacks a scope that this resource requires", ` + metadata + `, scope="read audit"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			token := h.token(t, testIssuer+"/github", func(a *sessions.Access) { a.Scope = tc.scope })
			r, _ := request("POST", testIssuer+"/github/mcp", http.Header{"Authorization": {"Bearer " + token}, "Origin": {"http://localhost:6274"}})
			status, header, got := serve(t, h, r)
			if status != tc.status || (got != nil) != (tc.status == 204) || header.Get("WWW-Authenticate") != tc.challenge {
				t.Errorf("status %d, passed on %t, challenge\n%s, want %d\n%s", status, got != nil, header.Get("WWW-Authenticate"), tc.status, tc.challenge)
			}
			if status == 403 && (header.Get("Access-Control-Allow-Origin") != "http://localhost:6274" || header.Get("Cache-Control") != "no-store") {
				t.Errorf("a browser client cannot read the challenge: %v", header)
			}
		})
	}
	r, _ := request("POST", testIssuer+"/github/mcp", nil)
	if _, header, _ := serve(t, h, r); header.Get("WWW-Authenticate") != "Bearer "+metadata+`, scope="read audit"` {
		t.Errorf("without a token: %s", header.Get("WWW-Authenticate"))
	}
}

// newAssertingHandler signs who calls.
func newAssertingHandler(tb testing.TB) *Handler {
	tb.Helper()
	h := newTestHandler(tb, &Resource{Paths: []string{"/github"}}, &Resource{Paths: []string{"/linear"}})
	h.IdentityAssertion = new(IdentityAssertion)
	var err error
	if h.fixed, err = h.newSite(testIssuer); err != nil {
		tb.Fatal(err)
	}
	return h
}

func TestTheUpstreamCanVerifyWhoCalls(t *testing.T) {
	h := newAssertingHandler(t)
	token := h.token(t, testIssuer+"/github", nil)
	var seen []string
	for range 3 {
		r, _ := request("POST", testIssuer+"/github/mcp", http.Header{
			"Authorization": {"Bearer " + token}, "X-Mcp-Identity": {"forged"}, "X_mcp_identity": {"forged"}, "Connection": {"x-mcp-identity"},
		})
		status, _, got := serve(t, h, r)
		if status != 204 || len(got.Header["X-Mcp-Identity"]) != 1 || got.Header["X_mcp_identity"] != nil {
			t.Fatalf("status %d, passed on with %v", status, got.Header)
		}
		seen = append(seen, got.Header.Get("X-Mcp-Identity"))
	}
	if seen[0] != seen[1] || seen[1] != seen[2] {
		t.Error("each request has an assertion of its own")
	}

	w := httptest.NewRecorder()
	r, _ := request("GET", testIssuer+"/oauth2/jwks", nil)
	if err := h.ServeHTTP(w, r, new(upstream)); err != nil {
		t.Fatal(err)
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal(w.Body.Bytes(), &keys); err != nil || len(keys.Keys) != 1 {
		t.Fatalf("keys: %s, %v", w.Body, err)
	}
	parsed, err := jwt.ParseSigned(seen[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(keys.Keys[0].Key, &claims); err != nil {
		t.Fatal(err)
	}
	expected := jwt.Expected{Issuer: testIssuer, AnyAudience: jwt.Audience{testIssuer + "/github"}, Subject: "10769150350006150715113082367", Time: time.Now()}
	if err := claims.ValidateWithLeeway(expected, time.Second); err != nil {
		t.Error(err)
	}
	if document := string(h.fixed.metadata); !json.Valid(h.fixed.metadata) || !strings.Contains(document, `"jwks_uri":"https://mcp.example.com/oauth2/jwks"`) {
		t.Errorf("metadata: %s", document)
	}
}

func TestOutsideOfResourcesNobodyIsVouchedFor(t *testing.T) {
	h := newAssertingHandler(t)
	r, _ := request("GET", testIssuer+"/public", http.Header{"X-Mcp-Identity": {"forged"}})
	if _, _, got := serve(t, h, r); got == nil || got.Header["X-Mcp-Identity"] != nil {
		t.Errorf("passed on: %v", got)
	}
}

// Clients that read the OpenID document insist on the address of a key set, so there is always one.
func TestWithoutAssertionsTheKeySetIsEmpty(t *testing.T) {
	h := newTestHandler(t)
	r, _ := request("GET", testIssuer+"/oauth2/jwks", nil)
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, r, new(upstream)); err != nil {
		t.Fatal(err)
	}
	if w.Code != 200 || w.Body.String() != `{"keys":[]}` {
		t.Errorf("status %d, body %s", w.Code, w.Body)
	}
	if !strings.Contains(string(h.fixed.openID), `"jwks_uri":"https://mcp.example.com/oauth2/jwks"`) {
		t.Errorf("OpenID document: %s", h.fixed.openID)
	}
}

func TestProvisionChecksWhoMayIntrospect(t *testing.T) {
	t.Setenv("SECRET", "0123456789abcdef0123456789abcdef")
	t.Setenv("SHORT", "secret")
	ask := func(id, secret, resource string) *IntrospectionClient {
		return &IntrospectionClient{ID: id, Secret: secret, Resource: resource}
	}
	for _, tc := range []struct {
		name string
		all  []*IntrospectionClient
		want string
	}{
		{"a path as it is configured", []*IntrospectionClient{ask("a", "{env.SECRET}", "/github/*")}, ""},
		{"a path without the star", []*IntrospectionClient{ask("a", "{env.SECRET}", "/github")}, ""},
		{"no secret", []*IntrospectionClient{ask("a", "", "/github")}, "has no secret"},
		{"an unset variable", []*IntrospectionClient{ask("a", "{env.UNSET}", "/github")}, "{env.UNSET}"},
		{"a short secret", []*IntrospectionClient{ask("a", "{env.SHORT}", "/github")}, "shorter than 32"},
		{"an unknown resource", []*IntrospectionClient{ask("a", "{env.SECRET}", "/gitlab")}, "there is no such resource; there are: /github/, /linear/"},
		{"no resource where there are several", []*IntrospectionClient{ask("a", "{env.SECRET}", "")}, "there are several resources"},
		{"an id twice", []*IntrospectionClient{ask("a", "{env.SECRET}", "/github"), ask("a", "{env.SECRET}", "/linear")}, "configured twice"},
		{"the id of a client", []*IntrospectionClient{ask("known", "{env.SECRET}", "/github")}, "has the id of a client"},
		{"an id like those that are issued", []*IntrospectionClient{ask("mcpid_x", "{env.SECRET}", "/github")}, "registered themselves"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newTestHandler(t, &Resource{Paths: []string{"/github/*"}}, &Resource{Paths: []string{"/linear"}})
			h.IntrospectionClients, h.KnownClients = tc.all, []*Client{{ID: "known"}}
			err := h.checkIntrospectionClients()
			if err == nil {
				_, err = h.newSite(testIssuer)
			}
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "0123456789abcdef") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}
