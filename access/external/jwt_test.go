package external_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
)

func TestJWT(t *testing.T) {
	key, other := newSigner(t, "key-1", jose.ES256), newSigner(t, "key-1", jose.ES256)
	rsaKey := newSigner(t, "key-2", jose.RS256)
	edKey := newSigner(t, "key-3", jose.EdDSA)
	i := newIssuer(t, key, rsaKey, edKey)
	now := i.clock.Now().Unix()
	type m = map[string]any
	type h = map[jose.HeaderKey]any
	signed := func(changes m) string { return key.sign(t, i.claims(changes), nil) }
	typed := func(typ any) string { return key.sign(t, i.claims(nil), h{jose.HeaderType: typ}) }
	unnamed := key
	unnamed.id = ""
	public, err := x509.MarshalPKIXPublicKey(rsaKey.public)
	if err != nil {
		t.Fatal(err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	good := signed(nil)
	parts := strings.Split(good, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, tc := range []struct {
		name   string
		token  string
		config func(*external.Config)
		good   bool
	}{
		{"a good token", good, nil, true},
		{"RS256", rsaKey.sign(t, i.claims(nil), nil), nil, true},
		{"EdDSA", edKey.sign(t, i.claims(nil), nil), nil, true},
		{"no key id", unnamed.sign(t, i.claims(nil), nil), nil, true},
		{"an algorithm that is not configured", rsaKey.sign(t, i.claims(nil), nil), func(c *external.Config) { c.Algorithms = []string{"ES256"} }, false},
		{"another key under the same id", other.sign(t, i.claims(nil), nil), nil, false},
		{"a key under the id of another", signer{"key-2", jose.ES256, key.private, key.public}.sign(t, i.claims(nil), nil), nil, false},
		{"no signature", encode(`{"alg":"none"}`) + "." + parts[1] + ".", nil, false},
		{"NONE in another case", encode(`{"alg":"nOnE"}`) + "." + parts[1] + ".", nil, false},
		{"the signature cut off", parts[0] + "." + parts[1] + ".", nil, false},
		{"the public key as shared secret", signer{"key-2", jose.HS256, pemKey, nil}.sign(t, i.claims(nil), nil), nil, false},
		{"other claims under the signature", parts[0] + "." + encode(`{"iss":"`+i.URL+`","sub":"admin","aud":"`+resource+`","exp":9999999999}`) + "." + parts[2], nil, false},
		{"another header above the signature", encode(`{"alg":"ES256"}`) + "." + parts[1] + "." + parts[2], nil, false},
		{"a key that the token brings along", other.sign(t, i.claims(nil), h{"jku": i.URL + "/evil", "x5u": i.URL + "/evil"}), nil, false},
		{"a critical header parameter", key.sign(t, i.claims(nil), h{"crit": []string{"exp"}, "exp": 1}), nil, false},
		{"an unencoded payload", key.sign(t, i.claims(nil), h{"crit": []string{"b64"}, "b64": true}), nil, false},
		{"four parts", good + ".x", nil, false},
		{"two parts", parts[0] + "." + parts[1], nil, false},
		{"claims that are no object", key.sign(t, []string{"iss"}, nil), nil, false},
		{"too long", signed(m{"x": strings.Repeat("x", external.MaxToken)}), nil, false},

		{"type at+jwt", typed("at+jwt"), func(c *external.Config) { c.RequireAccessTokenType = true }, true},
		{"type application/at+jwt", typed("application/AT+JWT"), func(c *external.Config) { c.RequireAccessTokenType = true }, true},
		{"type JWT", typed("JWT"), nil, true},
		{"no type", typed(""), nil, true},
		{"type JWT where at+jwt is required", typed("JWT"), func(c *external.Config) { c.RequireAccessTokenType = true }, false},
		{"no type where at+jwt is required", typed(""), func(c *external.Config) { c.RequireAccessTokenType = true }, false},
		{"type of a logout token", typed("logout+jwt"), nil, false},
		{"type of a DPoP proof", typed("dpop+jwt"), nil, false},
		{"a type that is no text", typed([]string{"at+jwt"}), nil, false},

		{"another issuer", signed(m{"iss": "https://evil.example"}), nil, false},
		{"the issuer with a slash", signed(m{"iss": i.URL + "/"}), nil, false},
		{"no issuer", signed(m{"iss": nil}), nil, false},
		{"a list of issuers", signed(m{"iss": []string{i.URL}}), nil, false},

		{"one of several audiences", signed(m{"aud": []string{"https://other.example", resource}}), nil, true},
		{"another audience", signed(m{"aud": "https://other.example"}), nil, false},
		{"a resource below", signed(m{"aud": resource + "/mcp"}), nil, false},
		{"no audience", signed(m{"aud": nil}), nil, false},
		{"an empty list of audiences", signed(m{"aud": []string{}}), nil, false},
		{"an audience that is no text", signed(m{"aud": []any{resource, 7}}), nil, false},
		{"a configured audience", signed(m{"aud": "api://tools"}), func(c *external.Config) { c.Audiences = []string{"api://tools"} }, true},
		{"the resource beside a configured audience", good, func(c *external.Config) { c.Audiences = []string{"api://tools"} }, true},
		{"no audience where that is allowed", signed(m{"aud": nil}), allowMissing, true},
		{"another audience where none is allowed", signed(m{"aud": "https://other.example"}), allowMissing, false},

		{"expired", signed(m{"exp": now}), nil, false},
		{"about to expire", signed(m{"exp": now + 1}), nil, true},
		{"an expiry with a fraction", signed(m{"exp": float64(now) + 1.5}), nil, true},
		{"no expiry", signed(m{"exp": nil}), nil, false},
		{"an expiry that is a text", signed(m{"exp": "9999999999"}), nil, false},
		{"an expiry beyond all time", signed(m{"exp": 1e300}), nil, false},
		{"not valid yet", signed(m{"nbf": now + 61}), nil, false},
		{"not valid yet by a clock that is fast", signed(m{"nbf": now + 60}), nil, true},
		{"issued in the future", signed(m{"iat": now + 61}), nil, false},
		{"issued by a clock that is fast", signed(m{"iat": now + 60}), nil, true},
		{"neither nbf nor iat", signed(m{"nbf": nil, "iat": nil}), nil, true},
		{"an nbf that is a text", signed(m{"nbf": "0"}), nil, false},

		{"no subject", signed(m{"sub": nil}), nil, false},
		{"an empty subject", signed(m{"sub": ""}), nil, false},
		{"a subject with a line end", signed(m{"sub": "a\r\nb"}), nil, false},
		{"a subject without an end", signed(m{"sub": strings.Repeat("s", 256)}), nil, false},

		{"an ID token with at_hash", signed(m{"at_hash": "x"}), nil, false},
		{"an ID token of Keycloak", signed(m{"typ": "ID"}), nil, false},
		{"an access token of Keycloak", signed(m{"typ": "Bearer"}), nil, true},
		{"an ID token of Cognito", signed(m{"token_use": "id"}), nil, false},
		{"a refresh token", signed(m{"typ": "Refresh"}), nil, false},
		{"a logout token", signed(m{"events": m{"http://schemas.openid.net/event/backchannel-logout": m{}}}), nil, false},
		{"a token bound to a key", signed(m{"cnf": m{"jkt": "x"}}), nil, false},

		{"an opaque token", "ory_at_0123456789", nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := i.servers(t, tc.config).Check(t.Context(), tc.token, here)
			if tc.good && (err != nil || got == nil) {
				t.Fatalf("got %v", err)
			}
			if !tc.good && !errors.Is(err, external.ErrInvalid) {
				t.Fatalf("got %+v, %v; want ErrInvalid", got, err)
			}
		})
	}
}

func allowMissing(c *external.Config) {
	c.AllowMissingAudience, c.RequiredScopes = true, []string{"read"}
}

func TestWhatATokenSays(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	type m = map[string]any
	type want struct {
		subject, email, groups, client, scope string
	}
	for _, tc := range []struct {
		name    string
		changes m
		config  func(*external.Config)
		want    want
	}{
		{"everything", nil, nil, want{"user-1", "ann@example.com", "engineering,staff", "client-1", "read write"}},
		{"an unverified address", m{"email_verified": false}, nil, want{"user-1", "", "engineering,staff", "client-1", "read write"}},
		{"an address verified by a text", m{"email_verified": "true"}, nil, want{"user-1", "", "engineering,staff", "client-1", "read write"}},
		{"nothing about verification", m{"email_verified": nil}, nil, want{"user-1", "", "engineering,staff", "client-1", "read write"}},
		{"nothing about verification, but trusted", m{"email_verified": nil}, func(c *external.Config) { c.Names.TrustUnverifiedEmail = true },
			want{"user-1", "ann@example.com", "engineering,staff", "client-1", "read write"}},
		{"an address with a line end", m{"email": "ann@example.com\n"}, nil, want{"user-1", "", "engineering,staff", "client-1", "read write"}},
		{"other names for claims", m{"upn": "bob@example.com", "upn_ok": true, "https://a.example/roles": []string{"admin"}, "oid": "user-2", "app": "client-2"},
			func(c *external.Config) {
				c.Names.Subject, c.Names.Email, c.Names.EmailVerified = "oid", "upn", "upn_ok"
				c.Names.Groups, c.ClientClaim = "https://a.example/roles", "app"
			}, want{"user-2", "bob@example.com", "admin", "client-2", "read write"}},
		{"groups further down", m{"realm_access": m{"roles": []string{"ops", "a,b", "ops"}}}, func(c *external.Config) { c.Names.Groups = "realm_access.roles" },
			want{"user-1", "ann@example.com", "ops", "client-1", "read write"}},
		{"a path to nowhere", m{"realm_access": "x"}, func(c *external.Config) { c.Names.Groups = "realm_access.roles" },
			want{"user-1", "ann@example.com", "", "client-1", "read write"}},
		{"scp as a text", m{"scope": nil, "scp": "read write"}, nil, want{"user-1", "ann@example.com", "engineering,staff", "client-1", "read write"}},
		{"scp as a list", m{"scope": nil, "scp": []string{"read", "write"}}, nil, want{"user-1", "ann@example.com", "engineering,staff", "client-1", "read write"}},
		{"scope before scp", m{"scp": []string{"admin"}}, nil, want{"user-1", "ann@example.com", "engineering,staff", "client-1", "read write"}},
		{"another claim for scopes", m{"permissions": []string{"run:tools"}}, func(c *external.Config) { c.ScopesClaim = "permissions" },
			want{"user-1", "ann@example.com", "engineering,staff", "client-1", "run:tools"}},
		{"scopes that are none", m{"scope": "read  \"x\" read \u00fc write\nadmin"}, nil, want{"user-1", "ann@example.com", "engineering,staff", "client-1", "read"}},
		{"no scopes", m{"scope": nil}, nil, want{"user-1", "ann@example.com", "engineering,staff", "client-1", ""}},
		{"a client of Keycloak", m{"client_id": nil, "azp": "kc"}, nil, want{"user-1", "ann@example.com", "engineering,staff", "kc", "read write"}},
		{"a client of Okta", m{"client_id": nil, "cid": "okta"}, nil, want{"user-1", "ann@example.com", "engineering,staff", "okta", "read write"}},
		{"no client", m{"client_id": nil}, nil, want{"user-1", "ann@example.com", "engineering,staff", "", "read write"}},
		{"a client with a line end", m{"client_id": "a\nb"}, nil, want{"user-1", "ann@example.com", "engineering,staff", "", "read write"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := i.servers(t, tc.config).Check(t.Context(), key.sign(t, i.claims(tc.changes), nil), here)
			if err != nil {
				t.Fatal(err)
			}
			said := want{got.User.Subject, got.User.VerifiedEmail(), strings.Join(got.User.Groups, ","), got.ClientID, got.Scope}
			if said != tc.want || got.User.Issuer != i.URL || !got.ExpiresAt.Equal(i.clock.Now().Add(time.Hour)) {
				t.Errorf("got %+v of %s until %s, want %+v", said, got.User.Issuer, got.ExpiresAt, tc.want)
			}
		})
	}
}

func TestRequiredScopes(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	servers := i.servers(t, func(c *external.Config) { c.RequiredScopes = []string{"read", "tools"} })
	for scope, good := range map[string]bool{
		"read tools": true, "x tools read": true, "read": false, "": false, "read tool": false, "read tools2": false,
	} {
		got, err := servers.Check(t.Context(), key.sign(t, i.claims(map[string]any{"scope": scope}), nil), here)
		var missing *external.MissingScope
		switch {
		case good && err != nil:
			t.Errorf("%q: %v", scope, err)
		case !good && (!errors.As(err, &missing) || missing.Needed != "read tools" || !errors.Is(err, external.ErrScope) || got == nil || got.Scope != scope):
			t.Errorf("%q: got %+v, %v", scope, got, err)
		}
	}
}

// FuzzCheck feeds tokens that nobody has signed. None may be accepted, whatever they look like.
func FuzzCheck(f *testing.F) {
	key := newSigner(f, "key-1", jose.ES256)
	i := newIssuer(f, key)
	good := key.sign(f, i.claims(nil), nil)
	parts := strings.Split(good, ".")
	f.Add(parts[0], parts[1], "")
	f.Add(parts[0]+"=", parts[1], parts[2])
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"key-1","crit":[]}`)), parts[1], parts[2])
	f.Add(parts[0], base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+i.URL+`","exp":1e9,"aud":[null]}`)), parts[2])
	servers := i.servers(f, nil)
	f.Fuzz(func(t *testing.T, header, payload, signature string) {
		token := header + "." + payload + "." + signature
		got, err := servers.Check(t.Context(), token, here)
		if err == nil && token != good {
			t.Errorf("%q was accepted as %+v", token, got)
		}
		if err != nil && !errors.Is(err, external.ErrInvalid) {
			t.Errorf("%q: got %v", token, err)
		}
	})
}

// Honest clients come with expired tokens and with those of a neighbour; nobody should take them for
// somebody who guesses.
func TestHonestMistakesAreToldFromGuesses(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	servers := i.servers(t, nil)
	for _, tc := range []struct {
		name    string
		changes map[string]any
		want    error
	}{
		{"expired", map[string]any{"exp": i.clock.Now().Unix()}, external.ErrExpired},
		{"another resource", map[string]any{"aud": "https://mcp.example.com/linear"}, external.ErrAudience},
		{"another issuer", map[string]any{"iss": "https://evil.example"}, nil},
	} {
		_, err := servers.Check(t.Context(), key.sign(t, i.claims(tc.changes), nil), here)
		for _, kind := range []error{external.ErrExpired, external.ErrAudience} {
			if got := errors.Is(err, kind); got != (kind == tc.want) || !errors.Is(err, external.ErrInvalid) {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
	}
}
