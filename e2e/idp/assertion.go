package idp

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const (
	exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"
	assertionType = "urn:ietf:params:oauth:token-type:id-jag"
)

// sign makes a JWT of the given type with the provider's key.
func (s *storage) sign(typ string, claims map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key.private, KeyID: s.key.id}},
		(&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// IDToken is what a client gets that u has signed in to at the provider.
func (p *Provider) IDToken(u User, clientID string) (string, error) {
	now := time.Now().Unix()
	return p.storage.sign("JWT", map[string]any{
		"iss": p.Issuer(), "sub": u.Subject, "aud": clientID, "iat": now, "exp": now + 300, "email": u.Email, "email_verified": u.EmailVerified,
	})
}

// Assertion is an identity assertion (ID-JAG) about u; changes replaces claims.
func (p *Provider) Assertion(u User, audience, resource, clientID string, changes map[string]any) (string, error) {
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": p.Issuer(), "sub": u.Subject, "aud": audience, "resource": resource, "client_id": clientID, "jti": rand.Text(),
		"iat": now, "exp": now + 300, "email": u.Email, "email_verified": u.EmailVerified, "groups": u.Groups,
	}
	for name, value := range changes {
		claims[name] = value
	}
	return p.storage.sign("oauth-id-jag+jwt", claims)
}

// exchangeTokens answers the exchange of an ID token for an assertion, which the library does not know.
func (p *Provider) exchangeTokens(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/token" || r.ParseForm() != nil || r.PostForm.Get("requested_token_type") != assertionType {
			next.ServeHTTP(w, r)
			return
		}
		assertion, err := p.exchange(r.PostForm)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": assertion, "issued_token_type": assertionType, "token_type": "N_A", "expires_in": 300,
		})
	})
}

func (p *Provider) exchange(form url.Values) (string, error) {
	jws, err := jose.ParseSigned(form.Get("subject_token"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", err
	}
	payload, err := jws.Verify(&p.storage.key.private.PublicKey)
	if err != nil {
		return "", err
	}
	var idToken struct {
		Subject string `json:"sub"`
		Client  string `json:"aud"`
	}
	if err := json.Unmarshal(payload, &idToken); err != nil {
		return "", err
	}
	if form.Get("grant_type") != exchangeGrant || idToken.Client != form.Get("client_id") {
		return "", fmt.Errorf("the subject token is of another client")
	}
	for _, u := range []User{Alice, Bob, Mallory} {
		if u.Subject == idToken.Subject {
			return p.Assertion(u, form.Get("audience"), form.Get("resource"), idToken.Client, map[string]any{"scope": form.Get("scope")})
		}
	}
	return "", fmt.Errorf("nobody has the subject %s", idToken.Subject)
}
