package mcpauth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	ciToken     = "ci-0123456789abcdefghijklmnopqrstuvwxyz"
	backupToken = "backup-0123456789abcdefghijklmnopqrstuvwxyz"
)

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestServiceToken(t *testing.T) {
	t.Setenv("CI_TOKEN", ciToken)
	t.Setenv("BACKUP_TOKEN", backupToken)
	h := newModeHandler(t, `
		token ci {
			value {env.CI_TOKEN}
			resource /github/*
			scopes read
		}
		token backup {
			value {env.BACKUP_TOKEN}
			networks 10.0.0.0/8
			expires `+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`
		}
		resource /github/* {
			scopes read write
		}
		resource /linear {
			allow_network 10.0.0.0/8 192.0.2.0/24
		}`)
	const inside, outside = "10.0.0.7", "203.0.113.9"
	for _, tc := range []struct {
		name, path, addr string
		header           http.Header
		status           int
		challenge        string
	}{
		{"its resource", "/github/mcp", outside, bearer(ciToken), 204, ""},
		{"another resource", "/linear", "192.0.2.1", bearer(ciToken), 401, `Bearer realm="mcp", error="invalid_token"`},
		{"every resource, from its network", "/linear", inside, bearer(backupToken), 204, ""},
		{"every resource, from elsewhere", "/github/mcp", outside, bearer(backupToken), 401, `error="invalid_token"`},
		{"from where the resource is not open", "/linear", outside, bearer(backupToken), 403, ""},
		{"no token", "/github/mcp", outside, nil, 401, `Bearer realm="mcp"`},
		{"another token", "/github/mcp", outside, bearer(ciToken + "x"), 401, `error="invalid_token"`},
		{"the token in the query", "/github/mcp?access_token=" + ciToken, outside, nil, 400, `error="invalid_request"`},
		{"the token in another scheme", "/github/mcp", outside, http.Header{"Authorization": {"Basic " + ciToken}}, 401, `realm="mcp"`},
		{"the token in another header", "/github/mcp", outside, http.Header{"X-Api-Key": {ciToken}}, 401, `realm="mcp"`},
		{"two tokens", "/github/mcp", outside, http.Header{"Authorization": {"Bearer " + ciToken, "Bearer " + backupToken}}, 400, `error="invalid_request"`},
		{"the metadata", "/.well-known/oauth-protected-resource/github", outside, nil, 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, header, got := serve(t, h, requestFrom(tc.addr, "POST", "http://mcp.internal"+tc.path, tc.header))
			challenge := header.Get("WWW-Authenticate")
			if status != tc.status || !strings.Contains(challenge, tc.challenge) || (tc.challenge == "") != (challenge == "") {
				t.Errorf("status %d, challenge %q; want %d, %q", status, challenge, tc.status, tc.challenge)
			}
			if strings.Contains(challenge, "resource_metadata") {
				t.Errorf("challenge %q sends clients to look for OAuth", challenge)
			}
			if got != nil && got.Header.Get("Authorization") != "" {
				t.Error("the token went on to the upstream")
			}
		})
	}
}

func TestWhoAServiceTokenIs(t *testing.T) {
	t.Setenv("CI_TOKEN", ciToken)
	h := newModeHandler(t, "token ci {\nvalue {env.CI_TOKEN}\n}\nresource /github {\nscopes read write\n}")
	r, repl := request("POST", "http://mcp.internal/github", bearer(ciToken))
	status, _, got := serve(t, h, r)
	if status != 204 || got.Header.Get("X-Forwarded-User") != "token:ci" || got.Header.Get("X-Forwarded-Email") != "" {
		t.Fatalf("status %d, passed on with %v", status, got.Header)
	}
	for placeholder, want := range map[string]string{"id": "token:ci", "client_id": "ci", "scope": "read write", "email": ""} {
		if value, _ := repl.GetString("http.auth.user." + placeholder); value != want {
			t.Errorf("{http.auth.user.%s} is %q, want %q", placeholder, value, want)
		}
	}
}

func TestServiceTokensBesideSignIn(t *testing.T) {
	t.Setenv("CI_TOKEN", ciToken)
	h := newTestHandler(t)
	token, err := (&Token{Name: "ci", Value: "{env.CI_TOKEN}"}).resolve()
	if err != nil {
		t.Fatal(err)
	}
	h.Options.tokens = []*serviceToken{token}
	if h.fixed, err = h.newSite(testIssuer); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		token  string
		status int
	}{
		"a person's token": {h.token(t, testIssuer, nil), 204},
		"a service token":  {ciToken, 204},
		"nobody's token":   {backupToken, 401},
	} {
		status, header, _ := serve(t, h, requestFrom("203.0.113.9", "POST", testIssuer+"/mcp", bearer(tc.token)))
		if status != tc.status || status == 401 && !strings.Contains(header.Get("WWW-Authenticate"), "resource_metadata=") {
			t.Errorf("%s: status %d, challenge %q", name, status, header.Get("WWW-Authenticate"))
		}
	}
}

func TestUserToken(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github"}}, &Resource{Paths: []string{"/linear"}}, &Resource{Paths: []string{"/jira"}})
	mint := func(email string) (string, sessions.PersonalToken) {
		text, token, err := h.fixed.vault.MintUserToken(t.Context(), sessions.PersonalToken{
			User: sessions.User{Issuer: "https://idp.example.com", Subject: "alice", Email: email, Groups: []string{"staff"}},
			Name: "nightly report", Resources: []string{testIssuer + "/github", testIssuer + "/linear"}, Scopes: []string{"read"},
			ExpiresAt: time.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		return text, token
	}
	check := func(what, path, token string, want int) *http.Request {
		t.Helper()
		status, _, got := serve(t, h, requestFrom("203.0.113.9", "POST", testIssuer+path, bearer(token)))
		if status != want {
			t.Errorf("%s: status %d, want %d", what, status, want)
		}
		return got
	}
	text, token := mint("alice@example.com")
	if got := check("its resource", "/github/mcp", text, 204); got != nil && got.Header.Get("X-Forwarded-User") != "alice" {
		t.Errorf("passed on with %v", got.Header)
	}
	check("its other resource", "/linear", text, 204)
	check("another resource", "/jira", text, 401)
	gone, _ := mint("alice@gone.example")
	check("a person who left the allow-list", "/github", gone, 403)
	if err := h.fixed.vault.RevokeUserToken(t.Context(), token.User.Key(), token.ID); err != nil {
		t.Fatal(err)
	}
	check("a revoked token", "/github", text, 401)
}

// testIDP is an authorization server that somebody else runs.
type testIDP struct {
	*httptest.Server
	signer jose.Signer
	down   atomic.Bool
}

func newTestIDP(t *testing.T) *testIDP {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	idp := new(testIDP)
	if idp.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": idp.URL, "jwks_uri": idp.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Use: "sig"}}})
	})
	idp.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if idp.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(idp.Close)
	return idp
}

func (idp *testIDP) token(t *testing.T, changes map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": idp.URL, "sub": "alice", "aud": testIssuer + "/github", "exp": time.Now().Add(time.Hour).Unix(),
		"email": "alice@example.com", "email_verified": true, "scope": "mcp:use read", "client_id": "client-1",
	}
	maps.Copy(claims, changes)
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := idp.signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestExternalAuthorizationServer(t *testing.T) {
	t.Setenv("CI_TOKEN", ciToken)
	idp := newTestIDP(t)
	h := newModeHandler(t, `
		issuer `+testIssuer+`
		authorization_server `+idp.URL+` {
			required_scopes mcp:use
		}
		token ci {
			value {env.CI_TOKEN}
		}
		allow domain example.com
		resource /github/*
		resource /linear {
			allow group staff
		}`)
	own := newTestHandler(t)
	type m = map[string]any
	for _, tc := range []struct {
		name, path, token string
		status            int
		challenge         string
	}{
		{"a token for the resource", "/github/mcp", idp.token(t, nil), 204, ""},
		{"a token for an address in the resource", "/github/mcp", idp.token(t, m{"aud": testIssuer + "/github/mcp"}), 204, ""},
		{"a token for the resource with a slash", "/github/mcp", idp.token(t, m{"aud": testIssuer + "/github/"}), 204, ""},
		{"a token for another resource", "/linear", idp.token(t, nil), 401, `error="invalid_token"`},
		{"a token for the site", "/github", idp.token(t, m{"aud": testIssuer}), 401, `error="invalid_token"`},
		{"a token for a sibling", "/github", idp.token(t, m{"aud": testIssuer + "/githubber"}), 401, `error="invalid_token"`},
		{"a token for another site", "/github", idp.token(t, m{"aud": "https://mcp.example.com.evil.example/github"}), 401, `error="invalid_token"`},
		{"an unverified address", "/github", idp.token(t, m{"email_verified": false}), 403, ""},
		{"another domain", "/github", idp.token(t, m{"email": "alice@other.example"}), 403, ""},
		{"a resource with rules of its own", "/linear", idp.token(t, m{"aud": testIssuer + "/linear", "groups": []string{"staff"}}), 204, ""},
		{"a resource whose rules do not fit", "/linear", idp.token(t, m{"aud": testIssuer + "/linear"}), 403, ""},
		{"too few scopes", "/github", idp.token(t, m{"scope": "read"}), 403, `error="insufficient_scope"`},
		{"a long token", "/github", idp.token(t, m{"x": strings.Repeat("x", 5000)}), 204, ""},
		{"no token", "/github/mcp", "", 401, `Bearer resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/github/mcp", scope="mcp:use"`},
		{"a service token", "/github", ciToken, 204, ""},
		{"a token that we issued", "/github", own.token(t, testIssuer+"/github", nil), 401, `error="invalid_token"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := bearer(tc.token)
			if tc.token == "" {
				header = nil
			}
			status, answer, got := serve(t, h, requestFrom("203.0.113.9", "POST", testIssuer+tc.path, header))
			challenge := answer.Get("WWW-Authenticate")
			if status != tc.status || !strings.Contains(challenge, tc.challenge) || (tc.challenge == "") != (challenge == "") {
				t.Fatalf("status %d, challenge %q; want %d, %q", status, challenge, tc.status, tc.challenge)
			}
			if got != nil && (got.Header.Get("Authorization") != "" || got.Header.Get("X-Forwarded-User") == "") {
				t.Errorf("passed on with %v", got.Header)
			}
		})
	}
}

func TestExternalMetadata(t *testing.T) {
	idp := newTestIDP(t)
	h := newModeHandler(t, "issuer "+testIssuer+"\nauthorization_server "+idp.URL+" {\nrequired_scopes mcp:use\n}\nallow any\nresource /github/*")
	get := func(path string) (int, map[string]any) {
		t.Helper()
		w := httptest.NewRecorder()
		if err := h.ServeHTTP(w, requestFrom("203.0.113.9", "GET", testIssuer+path, nil), new(upstream)); err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
			t.Errorf("%s: the answer is no JSON: %v", path, err)
		}
		return w.Code, document
	}
	status, document := get("/.well-known/oauth-protected-resource/github/mcp")
	servers, _ := document["authorization_servers"].([]any)
	scopes, _ := document["scopes_supported"].([]any)
	if status != 200 || document["resource"] != testIssuer+"/github/mcp" || len(servers) != 1 || servers[0] != idp.URL || len(scopes) != 1 || scopes[0] != "mcp:use" {
		t.Errorf("status %d, document %v", status, document)
	}
	for _, path := range []string{
		"/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/github", "/.well-known/openid-configuration",
		"/github/.well-known/openid-configuration",
	} {
		if status, document := get(path); status != 404 || document["error"] != "not_found" {
			t.Errorf("%s: status %d, %v", path, status, document)
		}
	}
}

func TestWhileTheAuthorizationServerIsDown(t *testing.T) {
	idp := newTestIDP(t)
	idp.down.Store(true)
	h := newModeHandler(t, "issuer "+testIssuer+"\nauthorization_server "+idp.URL+"\nallow any")
	token := idp.token(t, map[string]any{"aud": testIssuer})
	status, header, got := serve(t, h, requestFrom("203.0.113.9", "POST", testIssuer+"/mcp", bearer(token)))
	if status != 503 || header.Get("Retry-After") == "" || got != nil {
		t.Errorf("status %d, Retry-After %q, passed on: %t", status, header.Get("Retry-After"), got != nil)
	}
}
