package facade

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

const (
	resource = "https://mcp.example.com/tools"
	callback = "https://mcp.example.com/oauth2/callback"
	nonce    = "nonce-of-this-sign-in"
	secret   = "s3cret"
)

// issuer is an authorization server that issues JWTs to one client.
type issuer struct {
	*httptest.Server
	t   *testing.T
	key *ecdsa.PrivateKey

	mu       sync.Mutex
	marks    bool           // its answers with iss
	access   map[string]any // changes claims of the next access tokens
	id       map[string]any // of the next ID tokens; nil: there are none
	opaque   bool
	status   int    // what the token endpoint answers with instead, and
	problem  string // the error it names
	revoking int    // what the revocation endpoint answers with
	forms    []url.Values
	revoked  []string
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &issuer{t: t, key: key, id: map[string]any{}, revoking: http.StatusOK}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	id, password, _ := r.BasicAuth()
	switch {
	case r.URL.Path == "/.well-known/openid-configuration":
		s.write(w, map[string]any{
			"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
			"revocation_endpoint": s.URL + "/revoke", "jwks_uri": s.URL + "/keys", "authorization_response_iss_parameter_supported": s.marks,
		})
	case r.URL.Path == "/keys":
		s.write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	case r.Method != http.MethodPost:
		http.NotFound(w, r)
	case id != "edge" || password != secret:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
	case r.URL.Path == "/revoke":
		s.revoked = append(s.revoked, r.PostFormValue("token"))
		w.WriteHeader(s.revoking)
	case r.URL.Path == "/token":
		_ = r.ParseForm()
		s.forms = append(s.forms, r.PostForm)
		s.token(w)
	}
}

func (s *issuer) token(w http.ResponseWriter) {
	if s.status != 0 {
		w.WriteHeader(s.status)
		s.write(w, map[string]any{"error": s.problem, "error_description": "nobody should read this"})
		return
	}
	answer := map[string]any{"access_token": "opaque", "token_type": "Bearer", "refresh_token": "refresh-" + rand.Text(), "expires_in": 1800}
	if !s.opaque {
		answer["access_token"] = s.sign(map[string]any{
			"iss": s.URL, "sub": "alice", "aud": resource, "scope": "tools:read", "email": "alice@example.com", "email_verified": true, "azp": "edge",
		}, s.access)
	}
	if s.id != nil {
		answer["id_token"] = s.sign(map[string]any{"iss": s.URL, "sub": "pairwise", "aud": "edge", "nonce": nonce}, s.id)
	}
	s.write(w, answer)
}

// sign makes a JWT of claims with changes, in which nil takes a claim away.
func (s *issuer) sign(claims, changes map[string]any) string {
	claims["iat"], claims["exp"] = time.Now().Unix(), time.Now().Add(time.Hour).Unix()
	claims["jti"] = rand.Text()
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.key}, (&jose.SignerOptions{}).WithHeader("kid", "k").WithType("JWT"))
	if err != nil {
		panic(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

func (s *issuer) write(w http.ResponseWriter, body any) { _ = json.NewEncoder(w).Encode(body) }

func (s *issuer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// gaveBack counts the tokens that were revoked.
func (s *issuer) gaveBack() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.revoked)
}

// lastForm is the last token request.
func (s *issuer) lastForm() url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forms[len(s.forms)-1]
}

// provider is the issuer's at a site with one resource; change may alter the settings.
func (s *issuer) provider(change ...func(*Settings)) *Provider {
	s.t.Helper()
	settings := Settings{Issuer: s.URL, ClientID: "edge", ClientSecret: secret, Scopes: []string{"openid", "offline_access"}}
	for _, f := range change {
		f(&settings)
	}
	client, err := New(settings)
	if err != nil {
		s.t.Fatal(err)
	}
	server, err := external.New(external.Config{Issuer: s.URL, RequiredScopes: []string{"tools:read"}})
	if err != nil {
		s.t.Fatal(err)
	}
	resources := []string{resource, "https://mcp.example.com/other"}
	return client.At(external.Servers{server}, func(want, audience string) bool {
		return slices.Contains(resources, audience) && (want == "" || want == audience)
	})
}

func attempt() identity.Attempt {
	return identity.Attempt{
		State: "state", Nonce: nonce, Verifier: strings.Repeat("v", 43), RedirectURI: callback, Resource: resource, Scope: "tools:read",
	}
}
