package authserver_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	appSecret   = "0123456789abcdef0123456789abcdef"
	toolsSecret = "fedcba9876543210fedcba9876543210"
)

func secretHash(t *testing.T, secret string) clients.SecretHash {
	t.Helper()
	h, err := clients.HashSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// introspect asks about token with the credentials of id.
func (w *consentWorld) introspect(id, secret, token string) (int, http.Header, map[string]any) {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, consentIssuer+authserver.IntrospectPath, strings.NewReader(url.Values{"token": {token}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.SetBasicAuth(id, secret)
	}
	answer := w.do(r)
	var members map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&members); err != nil {
		w.t.Fatal(err)
	}
	return answer.StatusCode, answer.Header, members
}

func (w *consentWorld) access(change func(*sessions.Access)) (sessions.Access, string) {
	w.t.Helper()
	a := sessions.Access{
		ID: sessions.NewID(), Grant: sessions.NewID(), IssuedAt: w.now.Unix(), ExpiresAt: w.now.Add(time.Hour).Unix(),
		Resource: w.scopes.URI, Scope: "read write", UserIssuer: "local", Subject: "ada", Email: "ada@example.com", ClientID: "app", ClientName: "App",
	}
	if change != nil {
		change(&a)
	}
	token, err := w.vault.IssueAccess(a)
	if err != nil {
		w.t.Fatal(err)
	}
	return a, token
}

func newIntrospectionWorld(t *testing.T) *consentWorld {
	t.Helper()
	w := newConsentWorld(t)
	w.known.Secret = secretHash(t, appSecret)
	w.cookie = ""
	return w
}

func TestIntrospectionTellsTheClientAndTheResourceServer(t *testing.T) {
	w := newIntrospectionWorld(t)
	a, token := w.access(nil)
	want := map[string]any{
		"active": true, "scope": "read write", "client_id": "app", "username": "ada@example.com", "token_type": "Bearer",
		"exp": float64(a.ExpiresAt), "iat": float64(a.IssuedAt), "sub": "ada", "aud": consentIssuer + "/tools", "iss": consentIssuer,
		"jti": a.ID.String(), "idp": "local",
	}
	for id, secret := range map[string]string{"app": appSecret, "tools-server": toolsSecret} {
		status, header, got := w.introspect(id, secret, token)
		if status != http.StatusOK || !maps.Equal(got, want) {
			t.Errorf("%s is told %d %v, want %v", id, status, got, want)
		}
		if header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may cache the answer: %v", id, header)
		}
	}
}

func TestIntrospectionOfARefreshToken(t *testing.T) {
	w := newIntrospectionWorld(t)
	policy := sessions.GrantPolicy{Sliding: time.Hour, Grace: time.Minute}
	first, err := w.vault.CreateGrant(t.Context(), sessions.Grant{User: w.user, ClientID: "app", ClientLabel: "app", Resource: w.scopes.URI, Scopes: []string{"read"}}, policy)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, got := w.introspect("app", appSecret, first); status != http.StatusOK || got["active"] != true || got["scope"] != "read" || got["token_type"] != nil {
		t.Errorf("its client is told %d %v", status, got)
	}
	if _, _, got := w.introspect("tools-server", toolsSecret, first); got["active"] != false || len(got) != 1 {
		t.Errorf("a resource server learns about a refresh token: %v", got)
	}
	second := first
	for range 2 {
		if _, second, err = w.vault.RotateGrant(t.Context(), second, policy, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, got := w.introspect("app", appSecret, first); got["active"] != false {
		t.Errorf("a token of two generations ago is active: %v", got)
	}
	if _, _, got := w.introspect("app", appSecret, second); got["active"] != true {
		t.Error("asking about an old token ended its family")
	}
}

func TestIntrospectionSaysNothingOfOtherTokens(t *testing.T) {
	for _, tc := range []struct {
		name    string
		asker   []string // which are told nothing
		change  func(*sessions.Access)
		prepare func(*consentWorld, sessions.Access)
	}{
		{"another client's token", []string{"app"}, func(a *sessions.Access) { a.ClientID = "other" }, nil},
		{"another resource's token", []string{"app", "tools-server"}, func(a *sessions.Access) { a.Resource = consentIssuer + "/other" }, nil},
		{"a resource server of another resource", []string{"tools-server"}, nil, func(w *consentWorld, _ sessions.Access) { w.asksAbout = consentIssuer + "/other" }},
		{"an expired token", []string{"app", "tools-server"}, nil, func(w *consentWorld, _ sessions.Access) { w.now = w.now.Add(time.Hour) }},
		{"a revoked token", []string{"app", "tools-server"}, nil, func(w *consentWorld, a sessions.Access) {
			if err := w.vault.Revocations.Revoke(w.t.Context(), a.ID, time.Hour); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"a token of a revoked grant", []string{"app", "tools-server"}, nil, func(w *consentWorld, a sessions.Access) {
			if err := w.vault.Revocations.Revoke(w.t.Context(), a.Grant, time.Hour); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"the token of somebody who left", []string{"app", "tools-server"}, nil, func(w *consentWorld, _ sessions.Access) {
			w.policy = access.Rule{Kind: access.Domain, Value: "other.example"}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newIntrospectionWorld(t)
			a, token := w.access(tc.change)
			if tc.prepare != nil {
				tc.prepare(w, a)
			}
			for id, secret := range map[string]string{"app": appSecret, "tools-server": toolsSecret} {
				status, _, got := w.introspect(id, secret, token)
				if told := got["active"] == true; status != http.StatusOK || told == slices.Contains(tc.asker, id) || !told && len(got) != 1 {
					t.Errorf("%s is told %d %v", id, status, got)
				}
			}
		})
	}
	w := newIntrospectionWorld(t)
	for _, token := range []string{"nonsense", "mcpat_AAAA", "mcprt_AAAA", strings.Repeat("A", 60<<10)} {
		if status, _, got := w.introspect("app", appSecret, token); status != http.StatusOK || got["active"] != false || len(got) != 1 {
			t.Errorf("%.20s: %d %v", token, status, got)
		}
	}
	if status, _, got := w.introspect("app", appSecret, ""); status != http.StatusBadRequest || got["error"] != "invalid_request" {
		t.Errorf("no token: %d %v", status, got)
	}
}

func TestIntrospectionRefusesWhoDoesNotProveWhoItIs(t *testing.T) {
	w := newIntrospectionWorld(t)
	_, token := w.access(func(a *sessions.Access) { a.ClientID = "public" })
	for _, tc := range []struct{ name, id, secret string }{
		{"nobody", "", ""},
		{"a public client", "public", ""},
		{"a public client with a secret", "public", appSecret},
		{"a client without its secret", "app", ""},
		{"a client with a wrong secret", "app", toolsSecret},
		{"a resource server without its secret", "tools-server", ""},
		{"a resource server with a client's secret", "tools-server", appSecret},
		{"an unknown id", "stranger", appSecret},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, header, got := w.introspect(tc.id, tc.secret, token)
			if status != http.StatusUnauthorized || got["error"] != "invalid_client" || got["active"] != nil {
				t.Errorf("%d %v", status, got)
			}
			if tc.secret != "" && !strings.HasPrefix(header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("WWW-Authenticate %q", header.Get("WWW-Authenticate"))
			}
		})
	}
}

// A resource server's credentials are good for questions only.
func TestAResourceServerIsNoClient(t *testing.T) {
	w := newIntrospectionWorld(t)
	for _, path := range []string{authserver.TokenPath, authserver.RevokePath} {
		r := httptest.NewRequest(http.MethodPost, consentIssuer+path, strings.NewReader("grant_type=authorization_code&code=x&token=x"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("tools-server", toolsSecret)
		if answer := w.do(r); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s answers %d", path, answer.StatusCode)
		}
	}
}
