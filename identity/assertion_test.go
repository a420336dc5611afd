package identity

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const testAudience = "https://mcp.example.com"

// assertion returns the claims of a good assertion, with changes.
func (p *idp) assertion(changes map[string]any) map[string]any {
	now := p.clock.now().Unix()
	return with(map[string]any{
		"iss": p.URL, "sub": "user-1", "aud": testAudience, "client_id": "agent", "jti": "jti-1",
		"iat": now, "exp": now + 300, "resource": testAudience + "/github", "scope": "github:read github:write",
		"email": "Ann@Example.com", "email_verified": true, "groups": []string{"staff"}, "auth_time": now - 60,
	}, changes)
}

// signed signs claims as an assertion; header may change its header.
func signed(t testing.TB, key any, alg jose.SignatureAlgorithm, claims any, header map[string]any) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"kid": "key-1", "typ": "oauth-id-jag+jwt"}}
	for name, value := range header {
		if value == nil {
			delete(options.ExtraHeaders, jose.HeaderKey(name))
			continue
		}
		options.ExtraHeaders[jose.HeaderKey(name)] = value
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// assert verifies and makes sure that a refusal says nothing foreign.
func assert(t testing.TB, o *OIDC, token string) (Assertion, error) {
	t.Helper()
	a, err := o.Assertion(context.Background(), token, testAudience)
	checkErrorText(t, err)
	if err != nil && (a.User.Subject != "" || a.ClientID != "") {
		t.Errorf("got %+v together with error %v", a, err)
	}
	return a, err
}

func TestAnAssertionSaysWhoAndForWhom(t *testing.T) {
	p := newIDP(t)
	a, err := assert(t, p.provider(t), signed(t, testKey(), jose.RS256, p.assertion(nil), nil))
	if err != nil {
		t.Fatal(err)
	}
	want := User{Issuer: p.URL, Subject: "user-1", Email: "Ann@example.com", EmailVerified: true, Groups: []string{"staff"}}
	if a.User.Issuer != want.Issuer || a.User.Subject != want.Subject || a.User.VerifiedEmail() != want.Email || !slices.Equal(a.User.Groups, want.Groups) {
		t.Errorf("user %+v, want %+v", a.User, want)
	}
	now := p.clock.now()
	if a.ClientID != "agent" || a.ID != "jti-1" || !slices.Equal(a.Resources, []string{testAudience + "/github"}) ||
		!slices.Equal(a.Scopes, []string{"github:read", "github:write"}) || !a.AuthTime.Equal(now.Add(-time.Minute)) {
		t.Errorf("%+v", a)
	}
	if left := a.RememberUntil.Sub(now); left <= 5*time.Minute+clockSkew || left > 7*time.Minute {
		t.Errorf("its id is remembered for %s", left)
	}
	if p.count("/userinfo") != 0 {
		t.Error("UserInfo was asked without a token for it")
	}
}

func TestAssertionClaims(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	now := p.clock.now().Unix()
	for _, tc := range []struct {
		name    string
		changes map[string]any
		says    string // "" is accepted
	}{
		{"an array of the one audience", map[string]any{"aud": []string{testAudience}}, ""},
		{"an array of resources", map[string]any{"resource": []string{testAudience + "/a", testAudience + "/b"}}, ""},
		{"no scope", map[string]any{"scope": nil}, ""},
		{"an empty scope", map[string]any{"scope": ""}, ""},
		{"an actor", map[string]any{"act": map[string]any{"sub": "agent"}}, ""},
		{"a clock that is a little ahead", map[string]any{"iat": now + 50, "nbf": now + 50}, ""},
		{"a clock that is a little behind", map[string]any{"exp": now - 50}, ""},

		{"no issuer", map[string]any{"iss": nil}, "another issuer"},
		{"another issuer", map[string]any{"iss": p.URL + "/"}, "another issuer"},
		{"an issuer that is a list", map[string]any{"iss": []string{p.URL}}, "another issuer"},
		{"no subject", map[string]any{"sub": nil}, "subject"},
		{"an empty subject", map[string]any{"sub": ""}, "subject"},
		{"a subject that is a number", map[string]any{"sub": 1}, "subject"},
		{"a subject with a line break", map[string]any{"sub": "a\nb"}, "subject"},
		{"a very long subject", map[string]any{"sub": strings.Repeat("a", 256)}, "subject"},
		{"no audience", map[string]any{"aud": nil}, "another authorization server"},
		{"another audience", map[string]any{"aud": "https://other.example.com"}, "another authorization server"},
		{"the resource as its audience", map[string]any{"aud": testAudience + "/github"}, "another authorization server"},
		{"two audiences, one of them right", map[string]any{"aud": []string{testAudience, "https://other.example.com"}}, "for several"},
		{"the same audience twice", map[string]any{"aud": []string{testAudience, testAudience}}, "for several"},
		{"an empty list of audiences", map[string]any{"aud": []string{}}, "another authorization server"},
		{"an audience within a list in a list", map[string]any{"aud": []any{[]string{testAudience}}}, "another authorization server"},
		{"no client", map[string]any{"client_id": nil}, "client_id"},
		{"a client that is a list", map[string]any{"client_id": []string{"agent"}}, "client_id"},
		{"no jti", map[string]any{"jti": nil}, "jti"},
		{"a jti that is a number", map[string]any{"jti": 7}, "jti"},
		{"a very long jti", map[string]any{"jti": strings.Repeat("j", 257)}, "jti"},
		{"no expiry", map[string]any{"exp": nil}, "no expiry"},
		{"an expiry that is a text", map[string]any{"exp": "tomorrow"}, "no expiry"},
		{"an expiry that is over", map[string]any{"exp": now - 60}, "expired"},
		{"an expiry far away", map[string]any{"exp": now + 3 + 3600 + 60}, "longer than an hour"},
		{"an expiry beyond all numbers", map[string]any{"exp": 1e300}, "longer than an hour"},
		{"no time of issue", map[string]any{"iat": nil}, "at no time"},
		{"a time of issue to come", map[string]any{"iat": now + 61}, "in the future"},
		{"a beginning to come", map[string]any{"nbf": now + 61}, "not valid yet"},
		{"a beginning that is a text", map[string]any{"nbf": "now"}, "not valid yet"},
		{"no resource", map[string]any{"resource": nil}, "no resource"},
		{"an empty list of resources", map[string]any{"resource": []string{}}, "no resource"},
		{"a resource that is null in a list", map[string]any{"resource": []any{nil}}, "no resource"},
		{"very many resources", map[string]any{"resource": slices.Repeat([]string{"https://a.example"}, 17)}, "no resource"},
		{"a scope that is a list", map[string]any{"scope": []string{"read"}}, "scope"},
		{"a very long scope", map[string]any{"scope": strings.Repeat("s", maxScope+1)}, "scope"},
		{"a key that has to be proven", map[string]any{"cnf": map[string]any{"jkt": "hostile"}}, "proof of possession"},
		{"authorization details", map[string]any{"authorization_details": []any{}}, "authorization details"},
		{"a tenant", map[string]any{"tenant": "hostile"}, "tenant"},
		{"a tenant of the audience", map[string]any{"aud_tenant": "hostile"}, "tenant"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := assert(t, o, signed(t, testKey(), jose.RS256, p.assertion(tc.changes), nil))
			if tc.says == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if tc.says != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("got %v, want a refusal that says %q", err, tc.says)
			}
		})
	}
}

func TestAssertionSignatures(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	good := signed(t, testKey(), jose.RS256, p.assertion(nil), nil)
	parts := strings.Split(good, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"oauth-id-jag+jwt"}`)) + "." + parts[1] + "."
	public, err := json.Marshal(testKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	forged := strings.Split(signed(t, other, jose.RS256, p.assertion(map[string]any{"sub": "admin"}), nil), ".")
	for _, tc := range []struct{ name, token string }{
		{"nothing", ""},
		{"no JWT", "hostile"},
		{"no signature algorithm", unsigned},
		{"a signature with the public key as a secret", signed(t, public, jose.HS256, p.assertion(nil), nil)},
		{"an algorithm that is not allowed", signed(t, testKey(), jose.PS512, p.assertion(nil), nil)},
		{"a key of somebody else", strings.Join(forged, ".")},
		{"somebody else's claims under a good signature", parts[0] + "." + forged[1] + "." + parts[2]},
		{"a key in its own header", signed(t, other, jose.RS256, p.assertion(nil), map[string]any{"jwk": jose.JSONWebKey{Key: other.Public()}})},
		{"a key at an address in its own header", signed(t, other, jose.RS256, p.assertion(nil), map[string]any{"jku": "https://evil.example/keys"})},
		{"the type of an ID token", signed(t, testKey(), jose.RS256, p.assertion(nil), map[string]any{"typ": "JWT"})},
		{"no type", signed(t, testKey(), jose.RS256, p.assertion(nil), map[string]any{"typ": nil})},
		{"a type that only begins right", signed(t, testKey(), jose.RS256, p.assertion(nil), map[string]any{"typ": "oauth-id-jag+jwt;v=2"})},
		{"an extension that must be understood", signed(t, testKey(), jose.RS256, p.assertion(nil), map[string]any{"crit": []string{"exp"}, "exp": 1})},
		{"a JWT that is too long", signed(t, testKey(), jose.RS256, p.assertion(map[string]any{"x": strings.Repeat("x", maxAssertion)}), nil)},
		{"claims that are a list", signed(t, testKey(), jose.RS256, []string{"hostile"}, nil)},
		{"an ID token", p.sign(`{"iss":"` + p.URL + `"}`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := assert(t, o, tc.token); !errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want %v", err, ErrRefused)
			}
		})
	}
	if _, err := assert(t, o, good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

// The keys that sign assertions sign ID tokens, too. Neither may pass for the other.
func TestAnAssertionIsNoIDToken(t *testing.T) {
	p := newIDP(t)
	p.sign = func(claims string) string { return signed(t, testKey(), jose.RS256, json.RawMessage(claims), nil) }
	p.claims = p.assertion(map[string]any{"nonce": testAttempt.Nonce})
	if _, err := finish(t, p.provider(t), callback()); !errors.Is(err, ErrRefused) {
		t.Errorf("an assertion signed somebody in: %v", err)
	}
}

func TestAssertionsFollowTheRulesOfSigningIn(t *testing.T) {
	p := newIDP(t)
	for _, tc := range []struct {
		name    string
		config  func(*OIDCConfig)
		changes map[string]any
		email   string
		err     error
	}{
		{"an address that is not verified", nil, map[string]any{"email_verified": false}, "", nil},
		{"an address of which nothing is said", nil, map[string]any{"email_verified": nil}, "", nil},
		{"verified as a text", nil, map[string]any{"email_verified": "true"}, "", nil},
		{"an address of a provider that is trusted", func(c *OIDCConfig) { c.TrustUnverifiedEmail = true }, map[string]any{"email_verified": nil}, "Ann@example.com", nil},
		{"no address", nil, map[string]any{"email": nil}, "", nil},
		{"the right hosted domain", func(c *OIDCConfig) { c.RequireHostedDomain = []string{"example.com"} }, map[string]any{"hd": "example.com"}, "Ann@example.com", nil},
		{"another hosted domain", func(c *OIDCConfig) { c.RequireHostedDomain = []string{"example.com"} }, map[string]any{"hd": "evil.example"}, "", ErrDenied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := p.provider(t, func(c *OIDCConfig) {
				if tc.config != nil {
					tc.config(c)
				}
			})
			a, err := assert(t, o, signed(t, testKey(), jose.RS256, p.assertion(tc.changes), nil))
			if !errors.Is(err, tc.err) || a.User.VerifiedEmail() != tc.email {
				t.Errorf("%q, %v; want %q, %v", a.User.VerifiedEmail(), err, tc.email, tc.err)
			}
		})
	}
}

func TestAssertionKeysRollOver(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	if _, err := assert(t, o, signed(t, testKey(), jose.RS256, p.assertion(nil), nil)); err != nil {
		t.Fatal(err)
	}
	p.clock.advance(keysRest + time.Second)
	next := newRSAKey()
	p.rollKey("key-2", next)
	if _, err := assert(t, o, signed(t, next, jose.RS256, p.assertion(nil), map[string]any{"kid": "key-2"})); err != nil {
		t.Errorf("with the new key: %v", err)
	}
	if _, err := assert(t, o, signed(t, testKey(), jose.RS256, p.assertion(nil), nil)); !errors.Is(err, ErrRefused) {
		t.Errorf("with the withdrawn key: %v", err)
	}
}

func TestAProviderThatIsDownRefusesNobody(t *testing.T) {
	p := newIDP(t)
	token := signed(t, testKey(), jose.RS256, p.assertion(nil), nil)
	p.handle("/keys", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, hostile, http.StatusBadGateway) })
	if _, err := assert(t, p.provider(t), token); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrRefused) {
		t.Errorf("without keys: %v", err)
	}
	p.handle(discoveryPath, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, hostile, http.StatusBadGateway) })
	if _, err := assert(t, p.provider(t), token); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without discovery: %v", err)
	}
	before := p.count(discoveryPath)
	if _, err := assert(t, p.provider(t), "a.b.c"); !errors.Is(err, ErrRefused) || p.count(discoveryPath) != before {
		t.Errorf("what is no assertion made the provider be asked: %v", err)
	}
}

func FuzzAssertion(f *testing.F) {
	p := newIDP(f)
	good, err := json.Marshal(p.assertion(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"aud":["https://mcp.example.com"],"resource":["https://mcp.example.com"],"exp":1e300}`))
	f.Add([]byte(`{"iss":null,"scope":null,"cnf":null}`))
	f.Add([]byte(`[]`))
	now := p.clock.now()
	f.Fuzz(func(t *testing.T, payload []byte) {
		c := claims{}
		if json.Unmarshal(payload, &c) != nil {
			return
		}
		a, err := readAssertion(c, p.URL, testAudience, now)
		if err != nil {
			return
		}
		if a.ClientID == "" || a.ID == "" || len(a.Resources) == 0 || !a.RememberUntil.After(now) || a.RememberUntil.After(now.Add(2*time.Hour)) {
			t.Fatalf("%s became %+v", payload, a)
		}
		if c.text("iss") != p.URL || c.text("sub") == "" || !strings.Contains(string(c["aud"]), testAudience) {
			t.Fatalf("%s was accepted", payload)
		}
	})
}

func FuzzAssertionIssuer(f *testing.F) {
	p := newIDP(f)
	f.Add(signed(f, testKey(), jose.RS256, p.assertion(nil), nil))
	f.Add("a.e30.c")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		issuer, err := AssertionIssuer(token)
		if (err == nil) != (issuer != "") || err != nil && !errors.Is(err, ErrRefused) {
			t.Fatalf("%q, %v", issuer, err)
		}
	})
}
