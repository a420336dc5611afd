package identity

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestFinishChecksTheSignature(t *testing.T) {
	der, _ := x509.MarshalPKIXPublicKey(testKey().Public())
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	other := newRSAKey()
	kid := map[jose.HeaderKey]any{"kid": "key-1"}
	for _, tc := range []struct {
		name string
		sign func(string) string
	}{
		{"none", func(c string) string { return unsigned("none", c) }},
		{"NONE in another case", func(c string) string { return unsigned("nOnE", c) }},
		{"RS256 without a signature", func(c string) string { return unsigned("RS256", c) }},
		{"HS256 with the public key", func(c string) string { return compact(t, public, "HS256", kid, c) }},
		{"HS256 with the client secret", func(c string) string {
			return compact(t, []byte(strings.Repeat(testSecret, 2)), "HS256", kid, c)
		}},
		{"an algorithm that is not allowed", func(c string) string { return compact(t, testKey(), "PS256", kid, c) }},
		{"another key under the right id", signer(other, "key-1", "RS256")},
		{"another key without an id", func(c string) string { return compact(t, other, "RS256", nil, c) }},
		{"an unknown id", signer(testKey(), "key-2", "RS256")},
		{"a key of its own in the header", func(c string) string {
			return compact(t, other, "RS256", map[jose.HeaderKey]any{"kid": "key-1", "jwk": jose.JSONWebKey{Key: other.Public()}}, c)
		}},
		{"a key set of its own in the header", func(c string) string {
			return compact(t, other, "RS256", map[jose.HeaderKey]any{"kid": "key-1", "jku": "https://hostile.example/keys"}, c)
		}},
		{"an extension that must be understood", func(c string) string {
			return compact(t, testKey(), "RS256", map[jose.HeaderKey]any{"kid": "key-1", "crit": []string{"hostile"}, "hostile": 1}, c)
		}},
		{"a payload that was changed", func(c string) string {
			parts := strings.Split(signer(testKey(), "key-1", "RS256")(c), ".")
			forged := strings.Split(unsigned("RS256", strings.Replace(c, "user-1", "user-2", 1)), ".")
			return parts[0] + "." + forged[1] + "." + parts[2]
		}},
		{"not a token", func(string) string { return hostile }},
		{"the JSON serialization", func(c string) string {
			parts := strings.Split(signer(testKey(), "key-1", "RS256")(c), ".")
			return `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.sign = tc.sign
			if _, err := finish(t, p.provider(t), callback()); !errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want %v", err, ErrRefused)
			}
		})
	}
}

func TestFinishChecksTheClaims(t *testing.T) {
	now := newClock().now().Unix()
	type changed = map[string]any
	for _, tc := range []struct {
		name   string
		claims changed
		want   error
	}{
		{"another issuer", changed{"iss": "https://hostile.example"}, ErrRefused},
		{"no issuer", changed{"iss": nil}, ErrRefused},
		{"another audience", changed{"aud": "hostile"}, ErrRefused},
		{"no audience", changed{"aud": nil}, ErrRefused},
		{"an audience that begins like ours", changed{"aud": testClientID + "0"}, ErrRefused},
		{"our audience in an array", changed{"aud": []string{testClientID}}, nil},
		{"several audiences without azp", changed{"aud": []string{testClientID, "other"}}, ErrRefused},
		{"several audiences and another azp", changed{"aud": []string{testClientID, "other"}, "azp": "other"}, ErrRefused},
		{"several audiences and our azp", changed{"aud": []string{"other", testClientID}, "azp": testClientID}, nil},
		{"one audience and another azp", changed{"azp": "other"}, ErrRefused},
		{"an azp that is a number", changed{"azp": 7}, ErrRefused},
		{"another nonce", changed{"nonce": "hostile"}, ErrRefused},
		{"no nonce", changed{"nonce": nil}, ErrRefused},
		{"a nonce under another name", changed{"nonce": nil, "Nonce": "nonce-1"}, ErrRefused},
		{"expired for long", changed{"exp": now - 61}, ErrRefused},
		{"expired within the skew", changed{"exp": now - 59}, nil},
		{"no expiry", changed{"exp": nil}, ErrRefused},
		{"an expiry that is a text", changed{"exp": "tomorrow"}, ErrRefused},
		{"issued in the future", changed{"iat": now + 61}, ErrRefused},
		{"issued in the future within the skew", changed{"iat": now + 59}, nil},
		{"issued at a fraction of a second", changed{"iat": float64(now) + 0.5}, nil},
		{"issued never", changed{"iat": nil}, ErrRefused},
		{"not valid yet", changed{"nbf": now + 61}, ErrRefused},
		{"not valid yet within the skew", changed{"nbf": now + 59}, nil},
		{"an nbf that is a text", changed{"nbf": "hostile"}, ErrRefused},
		{"an nbf beyond all numbers", changed{"nbf": 1e300}, ErrRefused},
		{"no subject", changed{"sub": nil}, ErrRefused},
		{"an empty subject", changed{"sub": ""}, ErrRefused},
		{"a subject under another name", changed{"sub": nil, "SUB": "user-1"}, ErrRefused},
		// Go's decoder folds LONG S into s, and takes the last of two members.
		{"two subjects", changed{"\u017fub": "hostile"}, ErrRefused},
		{"a subject that is a number", changed{"sub": 1}, ErrRefused},
		{"a subject with a line break", changed{"sub": "a\nb"}, ErrRefused},
		{"an endless subject", changed{"sub": strings.Repeat("x", 256)}, ErrRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.claims = with(p.claims, tc.claims)
			u, err := finish(t, p.provider(t), callback())
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if err == nil && u.Subject != "user-1" {
				t.Errorf("got subject %q", u.Subject)
			}
		})
	}
}

func TestFinishRefusesATokenWithoutNonceWhenTheAttemptHasNone(t *testing.T) {
	p := newIDP(t)
	p.claims["nonce"] = ""
	a := testAttempt
	a.Nonce = ""
	if _, err := p.provider(t).Finish(t.Context(), a, callback()); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want %v", err, ErrRefused)
	}
}

func TestEmail(t *testing.T) {
	type m = map[string]any
	trust := func(c *OIDCConfig) { c.TrustUnverifiedEmail = true }
	upn := func(c *OIDCConfig) { c.TrustUnverifiedEmail, c.EmailClaim = true, "upn" }
	none := func(*OIDCConfig) {}
	for _, tc := range []struct {
		name      string
		config    func(*OIDCConfig)
		claims    m
		userInfo  m
		wantEmail string
		verified  bool
	}{
		{"verified", none, m{}, nil, "Ann@example.com", true},
		{"not verified", none, m{"email_verified": false}, nil, "Ann@example.com", false},
		{"verified, says a text", none, m{"email_verified": "true"}, nil, "Ann@example.com", false},
		{"verified, says a number", none, m{"email_verified": 1}, nil, "Ann@example.com", false},
		{"nothing said of verification", none, m{"email_verified": nil}, nil, "Ann@example.com", false},
		{"verified under another name", none, m{"email_verified": nil, "Email_Verified": true}, nil, "Ann@example.com", false},
		{"trusted without verification", trust, m{"email_verified": nil}, nil, "Ann@example.com", true},
		{"trusted but missing", trust, m{"email": nil}, m{"sub": "user-1"}, "", false},
		{"another claim", upn, m{"upn": "bob@example.com"}, nil, "bob@example.com", true},
		{"two addresses in one", none, m{"email": "a@evil.example@example.com"}, nil, "", false},
		{"beyond ASCII", none, m{"email": "ann@exam\u212Ale.com"}, nil, "", false},
		{"an address that is a list", none, m{"email": []string{"ann@example.com"}}, nil, "", false},
		{"substitutes are not taken", none, m{"email": nil, "upn": "a@example.com", "preferred_username": "a@example.com", "hd": "example.com"}, m{"sub": "user-1"}, "", false},
		{"from UserInfo", none, m{"email": nil, "email_verified": nil}, m{"sub": "user-1", "email": "u@example.com", "email_verified": true}, "u@example.com", true},
		{"an address from UserInfo with verification from the ID token", none, m{"email": nil}, m{"sub": "user-1", "email": "u@example.com"}, "u@example.com", false},
		{"UserInfo says true as a text", none, m{"email": nil}, m{"sub": "user-1", "email": "u@example.com", "email_verified": "true"}, "u@example.com", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.claims, p.userInfo = with(p.claims, tc.claims), tc.userInfo
			u, err := finish(t, p.provider(t, tc.config), callback())
			if err != nil {
				t.Fatal(err)
			}
			if u.Email != tc.wantEmail || u.EmailVerified != tc.verified {
				t.Errorf("got %q, verified %v; want %q, %v", u.Email, u.EmailVerified, tc.wantEmail, tc.verified)
			}
			if got := u.VerifiedEmail() != ""; got != tc.verified {
				t.Errorf("VerifiedEmail is there: %v, want %v", got, tc.verified)
			}
		})
	}
}

func TestUserInfo(t *testing.T) {
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		want error
	}{
		{"another subject", func(w http.ResponseWriter, r *http.Request) {
			writeJSON(w, map[string]any{"sub": "hostile", "email": "a@example.com", "email_verified": true})
		}, ErrRefused},
		{"no subject", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, map[string]any{"email": "a@example.com"}) }, ErrRefused},
		{"null", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, nil) }, ErrRefused},
		{"not found", http.NotFound, ErrUnavailable},
		{"garbage", func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(hostile)) }, ErrUnavailable},
		{"a huge body", func(w http.ResponseWriter, r *http.Request) {
			writeJSON(w, map[string]any{"sub": "user-1", "x": strings.Repeat("x", 2<<20)})
		}, ErrUnavailable},
		{"a redirect that would take the token along", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://localhost:1/hostile", http.StatusFound)
		}, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.claims = with(p.claims, map[string]any{"email": nil})
			p.handle("/userinfo", tc.h)
			if _, err := finish(t, p.provider(t), callback()); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestGroups(t *testing.T) {
	long := strings.Repeat("g", 257)
	for _, tc := range []struct {
		name  string
		claim any
		want  []string
	}{
		{"an array", []any{"b", "a"}, []string{"b", "a"}},
		{"one text", "a", []string{"a"}},
		{"the same twice", []any{"a", "a"}, []string{"a"}},
		{"not texts", []any{1, nil, true, []any{"a"}, map[string]any{"a": 1}, "b"}, []string{"b"}},
		{"a number", 7, nil},
		{"an object", map[string]any{"a": true}, nil},
		{"a comma that would make two groups", []any{"a,admin", "b"}, []string{"b"}},
		{"one text with a comma", "a,admin", nil},
		{"control characters", []any{"a\nb", "a\x00", "\tb", "c"}, []string{"c"}},
		{"beyond ASCII", []any{"gr\u00fcn", "\uff41", "a\u200b", "d"}, []string{"d"}},
		{"empty and spaces around", []any{"", " a", "a ", "Domain Users"}, []string{"Domain Users"}},
		{"too long", []any{long, long[:256]}, []string{long[:256]}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.claims["roles"] = tc.claim
			u, err := finish(t, p.provider(t, func(c *OIDCConfig) { c.GroupsClaim = "roles" }), callback())
			if err != nil || !reflect.DeepEqual(u.Groups, tc.want) {
				t.Errorf("got %q, %v; want %q", u.Groups, err, tc.want)
			}
		})
	}
	t.Run("too many", func(t *testing.T) {
		var names []string
		for i := range 300 {
			names = append(names, "g"+strings.Repeat("x", i%250)+strings.Repeat("y", i/250))
		}
		p := newIDP(t)
		p.claims["groups"] = names
		u, err := finish(t, p.provider(t), callback())
		if err != nil || !slices.Equal(u.Groups, names[:200]) {
			t.Errorf("got %d groups, %v; want the first 200", len(u.Groups), err)
		}
	})
}

func TestGroupsAndNameFromUserInfo(t *testing.T) {
	p := newIDP(t)
	p.claims = with(p.claims, map[string]any{"name": nil})
	p.userInfo = map[string]any{"sub": "user-1", "groups": []string{"a"}, "name": "Ann", "email": "other@example.com", "email_verified": true}
	u, err := finish(t, p.provider(t, func(c *OIDCConfig) { c.GroupsClaim = "groups" }), callback())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(u.Groups, []string{"a"}) || u.Name != "Ann" || u.Email != "Ann@example.com" {
		t.Errorf("got %+v", u)
	}
}

func TestName(t *testing.T) {
	for _, tc := range []struct{ name, claim, want string }{
		{"as it is", "J\u00fcrgen O'Neil \u738b", "J\u00fcrgen O'Neil \u738b"},
		{"line breaks", "a\r\nX-Admin: 1", "a X-Admin: 1"},
		{"direction and invisible characters", "a\u202eb\u200bc\u0000d\ufeff", "abcd"},
		{"spaces of all kinds", "  a\u00a0\u2003b ", "a b"},
		{"too long", strings.Repeat("\u738b", 200), strings.Repeat("\u738b", 128)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := cleanName(tc.claim); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestHostedDomain(t *testing.T) {
	for _, tc := range []struct {
		name string
		hd   any
		want error
	}{
		{"one of them", "Example.org", nil},
		{"another", "evil.example", ErrDenied},
		{"below one of them", "sub.example.com", ErrDenied},
		{"none", nil, ErrDenied},
		{"a list", []string{"example.com"}, ErrDenied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.claims = with(p.claims, map[string]any{"hd": tc.hd})
			o := p.provider(t, func(c *OIDCConfig) { c.RequireHostedDomain = []string{"EXAMPLE.com", "example.org"} })
			if _, err := finish(t, o, callback()); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}
