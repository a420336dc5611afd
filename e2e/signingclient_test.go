package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// ChatGPT again, where it uses the method that its document prefers: it signs (RFC 7523, section 2.2).
func TestAClientThatSignsConnectsAndRefreshes(t *testing.T) {
	t.Parallel()
	key, foreign := signingKey(t), signingKey(t)
	p := readProfiles(t)["chatgpt-document"]
	document, err := os.ReadFile(filepath.Join("testdata", "documents", "chatgpt.json"))
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	unmarshal(t, document, &members)
	// A pinned document is all there is of the client, so its keys stand in it.
	delete(members, "jwks_uri")
	members["jwks"] = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}}
	members["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"}
	members["token_endpoint_auth_signing_alg"] = "ES256"
	file := filepath.Join(t.TempDir(), "client.json")
	if err := os.WriteFile(file, []byte(marshal(t, members)), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "clients {\ncimd pin "+p.ClientID+" `"+file+"`\n}")

	sign := func(q *profileRequest, key *ecdsa.PrivateKey) string {
		q.Form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
		q.Form["client_assertion"] = w.assertion(p.ClientID, key)
		return q.Form["client_assertion"]
	}
	used := sign(&p.Token, key)
	sign(&p.Refresh, key)
	w.replay(p, p.Granted)

	c := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL()}
	for _, tc := range []struct{ name, assertion string }{
		{"no assertion", ""},
		{"an assertion that was used before", used},
		{"an assertion with another key", w.assertion(p.ClientID, foreign)},
	} {
		form := make(map[string][]string)
		for name, value := range p.Refresh.Form {
			form[name] = []string{strings.ReplaceAll(value, "{client_id}", p.ClientID)}
		}
		form["client_assertion"] = []string{tc.assertion}
		c.form("/oauth2/token", form).wantOAuthError(t, tc.name, http.StatusUnauthorized, "invalid_client")
	}
}

func signingKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// assertion proves for a few minutes, once, that somebody is the client.
func (w *world) assertion(clientID string, key *ecdsa.PrivateKey) string {
	w.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	now := time.Now()
	signed, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: clientID, Subject: clientID, Audience: jwt.Audience{w.edge.URL()}, ID: rand.Text(),
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(2 * time.Minute)),
	}).Serialize()
	if err != nil {
		w.t.Fatal(err)
	}
	return signed
}
