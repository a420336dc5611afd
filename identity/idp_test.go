package identity

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/go-jose/go-jose/v4"
)

const (
	testClientID = "client-1"
	testSecret   = "s3cret/with+reserved chars"
	testCode     = "code-4711"
	testAccess   = "upstream-access-token"
	testVerifier = "verifier-verifier-verifier-verifier-verifier"
	// hostile stands in everything that the provider or the browser words; no error may repeat it.
	hostile = "<script>hostile</script>"
)

var testAttempt = Attempt{
	State: "state-1", Nonce: "nonce-1", Verifier: testVerifier, RedirectURI: "https://mcp.example.com/callback",
}

var testKey = sync.OnceValue(func() *rsa.PrivateKey { return newRSAKey() })

func newRSAKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// clock is a clock that only moves when told to.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// idp is an identity provider whose every answer a test can falsify.
type idp struct {
	*httptest.Server
	clock *clock

	mu        sync.Mutex
	discovery map[string]any
	claims    map[string]any
	userInfo  map[string]any
	keys      []jose.JSONWebKey
	sign      func(claims string) string
	handlers  map[string]http.HandlerFunc
	hits      map[string]int
	tokenForm url.Values
	basicUser string
	basicPass string
}

func newIDP(t testing.TB) *idp {
	t.Helper()
	p := &idp{clock: newClock(), handlers: map[string]http.HandlerFunc{}, hits: map[string]int{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Server.Close)
	p.discovery = map[string]any{
		"issuer":                 p.URL,
		"authorization_endpoint": p.URL + "/auth",
		"token_endpoint":         p.URL + "/token",
		"userinfo_endpoint":      p.URL + "/userinfo",
		"jwks_uri":               p.URL + "/keys",
	}
	now := p.clock.now().Unix()
	p.claims = map[string]any{
		"iss": p.URL, "aud": testClientID, "sub": "user-1", "nonce": testAttempt.Nonce,
		"iat": now, "exp": now + 3600,
		"email": "Ann@Example.com", "email_verified": true, "name": "Ann Example",
	}
	p.rollKey("key-1", testKey())
	return p
}

// rollKey makes the provider sign with key, and publish no other.
func (p *idp) rollKey(kid string, key *rsa.PrivateKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = []jose.JSONWebKey{{Key: key.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig"}}
	p.sign = signer(key, kid, "RS256")
}

func signer(key crypto.PrivateKey, kid, alg string) func(string) string {
	return func(claims string) string { return oidctest.SignIDToken(key, kid, alg, claims) }
}

// handle replaces the answer of path; nil brings the usual one back.
func (p *idp) handle(path string, h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handlers[path] = h
}

func (p *idp) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits[path]
}

const discoveryPath = "/.well-known/openid-configuration"

func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.hits[r.URL.Path]++
	h := p.handlers[r.URL.Path]
	p.mu.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case discoveryPath:
		writeJSON(w, p.discovery)
	case "/keys":
		writeJSON(w, jose.JSONWebKeySet{Keys: p.keys})
	case "/token":
		_ = r.ParseForm()
		p.tokenForm = r.PostForm
		p.basicUser, p.basicPass, _ = r.BasicAuth()
		raw, _ := json.Marshal(p.claims)
		writeJSON(w, map[string]any{"access_token": testAccess, "token_type": "Bearer", "id_token": p.sign(string(raw))})
	case "/userinfo":
		if r.Header.Get("Authorization") != "Bearer "+testAccess || p.userInfo == nil {
			http.Error(w, hostile, http.StatusUnauthorized)
			return
		}
		writeJSON(w, p.userInfo)
	default:
		http.NotFound(w, r)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// provider returns an OIDC provider for p, configured by the changes.
func (p *idp) provider(t testing.TB, changes ...func(*OIDCConfig)) *OIDC {
	t.Helper()
	config := OIDCConfig{ID: "idp", Issuer: p.URL, ClientID: testClientID, ClientSecret: testSecret, Now: p.clock.now}
	for _, change := range changes {
		change(&config)
	}
	o, err := NewOIDC(config)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func callback(changes ...string) url.Values {
	params := url.Values{"code": {testCode}, "state": {testAttempt.State}}
	for i := 0; i < len(changes); i += 2 {
		params.Add(changes[i], changes[i+1])
	}
	return params
}

// finish completes a sign-in and makes sure that an error tells no secrets and nothing foreign.
func finish(t testing.TB, o *OIDC, params url.Values) (User, error) {
	t.Helper()
	u, err := o.Finish(context.Background(), testAttempt, params)
	checkErrorText(t, err)
	if err != nil && (u.Subject != "" || u.Email != "") {
		t.Errorf("got user %+v together with error %v", u, err)
	}
	return u, err
}

func checkErrorText(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, secret := range []string{testSecret, url.QueryEscape(testSecret), testCode, testAccess, testVerifier, "nonce-1", "hostile"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error text %q holds %q", err, secret)
		}
	}
}

func with(base map[string]any, changes map[string]any) map[string]any {
	out := maps.Clone(base)
	for name, value := range changes {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = value
		}
	}
	return out
}

func mustJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}
