package clients

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const tokenEndpoint = tenant + "/oauth2/token"

// spent remembers assertions as a store does.
type spent struct {
	mu   sync.Mutex
	ids  map[string]time.Duration
	down bool
}

func (s *spent) spend(_ context.Context, jti string, ttl time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return sessions.ErrUnavailable
	}
	if _, used := s.ids[jti]; used {
		return sessions.ErrReused
	}
	s.ids[jti] = ttl
	return nil
}

// keyClient is a client with a document, a key set and private keys.
type keyClient struct {
	*site
	id    string
	g     *Registry
	spent *spent

	keysMu sync.Mutex
	keys   []jose.JSONWebKey
}

func newKeyClient(t testing.TB, extra string) *keyClient {
	t.Helper()
	k := &keyClient{site: newSite(t), spent: &spent{ids: map[string]time.Duration{}}}
	k.id = k.URL + "/client.json"
	k.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jwks" {
			k.keysMu.Lock()
			defer k.keysMu.Unlock()
			body, _ := json.Marshal(jose.JSONWebKeySet{Keys: k.keys})
			answer(200, "application/json", string(body))(w, r)
			return
		}
		k.document(`,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"`+k.URL+`/jwks"`+extra)(w, r)
	})
	k.g = k.registry(t, func(c *Config) { c.Spend, c.TokenEndpoint = k.spent.spend, tokenEndpoint })
	return k
}

// publish makes a key and adds its public half to the key set.
func (k *keyClient) publish(t testing.TB, kid string, alg jose.SignatureAlgorithm) jose.SigningKey {
	t.Helper()
	key := newKey(t, alg)
	k.keysMu.Lock()
	defer k.keysMu.Unlock()
	k.keys = append(k.keys, jose.JSONWebKey{Key: key.Public(), KeyID: kid})
	return jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}
}

func newKey(t testing.TB, alg jose.SignatureAlgorithm) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch alg {
	case jose.RS256, jose.PS256, jose.RS384:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case jose.ES384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (k *keyClient) claims(jti string) map[string]any {
	return map[string]any{"iss": k.id, "sub": k.id, "aud": tenant, "exp": k.now().Add(time.Minute).Unix(), "jti": jti}
}

func sign(t testing.TB, key jose.SigningKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (k *keyClient) present(assertion string) error {
	_, err := k.g.Authenticate(context.Background(), Credentials{ClientID: k.id, Assertion: assertion, Method: AuthPrivateKeyJWT})
	return err
}
