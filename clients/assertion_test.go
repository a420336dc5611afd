package clients

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestAssertionsOfEveryAlgorithm(t *testing.T) {
	k := newKeyClient(t, "")
	for _, alg := range assertionAlgorithms {
		key := k.publish(t, string(alg), alg)
		k.advance(keyRefresh) // the set is fetched again for a key that is new
		if err := k.present(sign(t, key, k.claims("with "+string(alg)))); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.ES384, jose.RS384} {
		key := k.publish(t, string(alg), alg)
		k.advance(keyRefresh)
		if err := k.present(sign(t, key, k.claims("with "+string(alg)))); !errors.Is(err, ErrAuthentication) {
			t.Errorf("%s: %v", alg, err)
		}
	}
	if len(AssertionAlgorithms()) != len(assertionAlgorithms) {
		t.Error("not every algorithm is announced")
	}
}

func TestAssertionClaims(t *testing.T) {
	k := newKeyClient(t, "")
	key := k.publish(t, "1", jose.ES256)
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, tc := range []struct {
		name   string
		change map[string]any // nil deletes
		ok     bool
	}{
		{"as it should be", nil, true},
		{"for the token endpoint", map[string]any{"aud": tokenEndpoint}, true},
		{"for both names of this server", map[string]any{"aud": []string{tenant, tokenEndpoint}}, true},
		{"that expired within the skew", map[string]any{"exp": at(-30 * time.Second)}, true},
		{"with five minutes to live", map[string]any{"exp": at(5 * time.Minute)}, true},
		{"issued now", map[string]any{"iat": at(0), "nbf": at(0)}, true},
		{"of another issuer", map[string]any{"iss": "https://evil.example/c"}, false},
		{"without an issuer", map[string]any{"iss": nil}, false},
		{"about another client", map[string]any{"sub": "https://evil.example/c"}, false},
		{"without a subject", map[string]any{"sub": nil}, false},
		{"for another server", map[string]any{"aud": "https://other.example"}, false},
		{"for this and another server", map[string]any{"aud": []string{tenant, "https://other.example"}}, false},
		{"for this server with a slash", map[string]any{"aud": tenant + "/"}, false},
		{"for nobody", map[string]any{"aud": nil}, false},
		{"for an empty list", map[string]any{"aud": []string{}}, false},
		{"for an empty name", map[string]any{"aud": ""}, false},
		{"that expired", map[string]any{"exp": at(-time.Minute)}, false},
		{"that never expires", map[string]any{"exp": nil}, false},
		{"that lives for an hour", map[string]any{"exp": at(time.Hour)}, false},
		{"with an expiry beyond all time", map[string]any{"exp": float64(1e300)}, false},
		{"that is not valid yet", map[string]any{"nbf": at(2 * time.Minute)}, false},
		{"from the future", map[string]any{"iat": at(2 * time.Minute)}, false},
		{"without a jti", map[string]any{"jti": nil}, false},
		{"with an empty jti", map[string]any{"jti": ""}, false},
		{"with a huge jti", map[string]any{"jti": strings.Repeat("j", 300)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			claims := k.claims(tc.name)
			for name, value := range tc.change {
				claims[name] = value
				if value == nil {
					delete(claims, name)
				}
			}
			before := len(k.spent.ids)
			err := k.present(sign(t, key, claims))
			if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrAuthentication) {
				t.Errorf("%v", err)
			}
			if n := len(k.spent.ids) - before; (n == 1) != tc.ok {
				t.Errorf("%d assertions were marked as used", n)
			}
		})
	}
	for _, ttl := range k.spent.ids {
		if ttl <= 0 || ttl > maxAssertionLife+2*clockSkew {
			t.Errorf("an assertion is remembered for %v", ttl)
		}
	}
}

func TestAssertionSignatures(t *testing.T) {
	k := newKeyClient(t, "")
	key := k.publish(t, "1", jose.ES256)
	k.publish(t, "2", jose.ES256)
	good := sign(t, key, k.claims("good"))
	parts := strings.Split(good, ".")
	stranger := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: newKey(t, jose.ES256), KeyID: "1"}}
	symmetric := jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: []byte(strings.Repeat("k", 32)), KeyID: "1"}}
	wrongKid := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key.Key.(jose.JSONWebKey).Key, KeyID: "2"}}
	for name, assertion := range map[string]string{
		"nothing but dots":           "..",
		"words":                      "not a token",
		"by a stranger":              sign(t, stranger, k.claims("stranger")),
		"by a shared secret":         sign(t, symmetric, k.claims("symmetric")),
		"by a key of another id":     sign(t, wrongKid, k.claims("kid")),
		"without a signature":        parts[0] + "." + parts[1] + ".",
		"without an algorithm":       "eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"with a changed body":        parts[0] + "." + parts[1][:len(parts[1])-4] + "AAAA." + parts[2],
		"with something after it":    good + ".x",
		"that is huge":               strings.Repeat("a", maxAssertion+1),
		"in the general JSON format": `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`,
	} {
		if err := k.present(assertion); !errors.Is(err, ErrAuthentication) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := k.present(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
	noKid := jose.SigningKey{Algorithm: jose.ES256, Key: key.Key.(jose.JSONWebKey).Key}
	if err := k.present(sign(t, noKid, k.claims("without kid"))); err != nil {
		t.Errorf("without a key id: %v", err)
	}
}

func TestAssertionIsUsedOnce(t *testing.T) {
	k := newKeyClient(t, "")
	key := k.publish(t, "1", jose.ES256)
	assertion := sign(t, key, k.claims("x"))
	const n = 8
	errs := make(chan error, n)
	for range n {
		go func() { errs <- k.present(assertion) }()
	}
	won := 0
	for range n {
		if err := <-errs; err == nil {
			won++
		} else if !errors.Is(err, ErrAuthentication) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("used %d times", won)
	}
	// Another assertion with the same jti is a replay as well.
	claims := k.claims("x")
	claims["aud"] = tokenEndpoint
	if err := k.present(sign(t, key, claims)); !errors.Is(err, ErrAuthentication) {
		t.Errorf("the same jti again: %v", err)
	}
}

func TestAssertionWhileTheStoreIsDown(t *testing.T) {
	k := newKeyClient(t, "")
	key := k.publish(t, "1", jose.ES256)
	k.spent.down = true
	if err := k.present(sign(t, key, k.claims("x"))); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrAuthentication) {
		t.Errorf("%v", err)
	}
}

func TestKeyRotation(t *testing.T) {
	k := newKeyClient(t, "")
	old := k.publish(t, "old", jose.ES256)
	if err := k.present(sign(t, old, k.claims("1"))); err != nil {
		t.Fatal(err)
	}
	fresh := k.publish(t, "new", jose.ES256)
	before := k.fetches.Load()
	for range 5 {
		// A flood of unknown key ids fetches nothing.
		if err := k.present(sign(t, fresh, k.claims("2"))); !errors.Is(err, ErrAuthentication) {
			t.Fatalf("%v", err)
		}
	}
	if n := k.fetches.Load() - before; n != 0 {
		t.Errorf("%d fetches within a minute", n)
	}
	k.advance(keyRefresh)
	if err := k.present(sign(t, fresh, k.claims("3"))); err != nil {
		t.Errorf("the new key: %v", err)
	}
}

func TestKeySetIsDown(t *testing.T) {
	k := newKeyClient(t, "")
	key := k.publish(t, "1", jose.ES256)
	if _, err := k.g.Lookup(context.Background(), k.id); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{http.StatusNotFound, http.StatusServiceUnavailable} {
		k.answer(answer(status, "application/json", `{}`))
		if err := k.present(sign(t, key, k.claims("x"))); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrAuthentication) {
			t.Errorf("status %d: %v", status, err)
		}
		k.advance(failureLifetime)
	}
}

func TestClientsWithAKeyAndWithout(t *testing.T) {
	strict, lenient := newKeyClient(t, ""), newKeyClient(t, `,"token_endpoint_auth_methods_supported":["none","private_key_jwt"]`)
	for _, tc := range []struct {
		name string
		k    *keyClient
		c    Credentials
		ok   bool
	}{
		{"nothing from a client that must sign", strict, Credentials{ClientID: strict.id, Method: AuthNone}, false},
		{"a secret from a client that must sign", strict, Credentials{ClientID: strict.id, Secret: "x", Method: AuthSecretPost}, false},
		{"nothing from a client that need not sign", lenient, Credentials{ClientID: lenient.id, Method: AuthNone}, true},
		{"a secret from a client that need not sign", lenient, Credentials{ClientID: lenient.id, Secret: "x", Method: AuthSecretPost}, false},
		{"rubbish from a client that need not sign", lenient, Credentials{ClientID: lenient.id, Assertion: "x", Method: AuthPrivateKeyJWT}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := tc.k.g.Authenticate(context.Background(), tc.c); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrAuthentication) {
				t.Errorf("%v", err)
			}
		})
	}
	key := lenient.publish(t, "1", jose.ES256)
	if err := lenient.present(sign(t, key, lenient.claims("x"))); err != nil {
		t.Errorf("a signature of a client that need not sign: %v", err)
	}
	public, _ := register(t, strict.g, `{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"none"}`)
	if _, err := strict.g.Authenticate(context.Background(), Credentials{ClientID: public.ClientID, Assertion: "x"}); !errors.Is(err, ErrAuthentication) {
		t.Errorf("an assertion of a client without keys: %v", err)
	}
}
