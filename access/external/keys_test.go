package external_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
)

func TestDiscovery(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	for _, tc := range []struct {
		name, path, place string
	}{
		{"RFC 8414 at the root", "", "/.well-known/oauth-authorization-server"},
		{"OpenID Connect at the root", "", "/.well-known/openid-configuration"},
		{"RFC 8414 with the path behind", "/realms/main", "/.well-known/oauth-authorization-server/realms/main"},
		{"OpenID Connect with the path behind", "/realms/main", "/.well-known/openid-configuration/realms/main"},
		{"OpenID Connect below the path", "/realms/main", "/realms/main/.well-known/openid-configuration"},
		{"RFC 8414 below the path", "/realms/main", "/realms/main/.well-known/oauth-authorization-server"},
		{"an issuer that ends with a slash", "/", "/.well-known/openid-configuration"},
		{"an issuer with a path that ends with a slash", "/tenant/", "/tenant/.well-known/openid-configuration"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := newIssuer(t, key)
			name := i.URL + tc.path
			i.set(func(i *issuer) {
				i.document = map[string]any{tc.place: map[string]any{"issuer": name, "jwks_uri": i.URL + "/keys"}}
			})
			servers := i.servers(t, func(c *external.Config) { c.Issuer = name })
			token := key.sign(t, i.claims(map[string]any{"iss": name}), nil)
			if _, err := servers.Check(t.Context(), token, here); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDiscoveryRefuses(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	for name, document := range map[string]map[string]any{
		"another issuer":            {"issuer": "https://evil.example", "jwks_uri": "KEYS"},
		"the issuer with a slash":   {"issuer": "ISSUER/", "jwks_uri": "KEYS"},
		"no issuer":                 {"jwks_uri": "KEYS"},
		"no keys":                   {"issuer": "ISSUER"},
		"keys over plain HTTP":      {"issuer": "ISSUER", "jwks_uri": "http://192.0.2.1/keys"},
		"keys from the file system": {"issuer": "ISSUER", "jwks_uri": "file:///etc/passwd"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, key)
			for member, value := range document {
				switch value {
				case "ISSUER":
					document[member] = i.URL
				case "ISSUER/":
					document[member] = i.URL + "/"
				case "KEYS":
					document[member] = i.URL + "/keys"
				}
			}
			i.set(func(i *issuer) { i.document["/.well-known/oauth-authorization-server"] = document })
			_, err := i.servers(t, nil).Check(t.Context(), key.sign(t, i.claims(nil), nil), here)
			if !errors.Is(err, external.ErrUnavailable) || i.count("/keys") > 0 {
				t.Errorf("got %v; keys were fetched %d times", err, i.count("/keys"))
			}
		})
	}
}

func TestConfiguredKeysNeedNoDiscovery(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	i.set(func(i *issuer) { i.document = nil })
	servers := i.servers(t, func(c *external.Config) { c.JWKS = i.URL + "/keys" })
	if _, err := servers.Check(t.Context(), key.sign(t, i.claims(nil), nil), here); err != nil {
		t.Error(err)
	}
}

func TestKeyRollover(t *testing.T) {
	old, next := newSigner(t, "old", jose.ES256), newSigner(t, "next", jose.ES256)
	i := newIssuer(t, old)
	servers := i.servers(t, nil)
	check := func(s signer) error {
		// Each one is new, so that no cache helps.
		_, err := servers.Check(t.Context(), s.sign(t, i.claims(map[string]any{"jti": fmt.Sprint(time.Now().UnixNano())}), nil), here)
		return err
	}
	if err := check(old); err != nil {
		t.Fatal(err)
	}
	i.set(func(i *issuer) { i.signers = []signer{next} })
	if err := check(next); !errors.Is(err, external.ErrInvalid) {
		t.Errorf("a new key within 30 seconds of a fetch: %v", err)
	}
	i.clock.Advance(31 * time.Second)
	if err := check(next); err != nil {
		t.Errorf("a new key: %v", err)
	}
	if err := check(old); !errors.Is(err, external.ErrInvalid) {
		t.Errorf("a withdrawn key: %v", err)
	}
	if n := i.count("/keys"); n != 2 {
		t.Errorf("keys were fetched %d times, want twice", n)
	}
}

func TestAFloodOfUnknownKeysReachesTheIssuerOnce(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	servers := i.servers(t, nil)
	if _, err := servers.Check(t.Context(), key.sign(t, i.claims(nil), nil), here); err != nil {
		t.Fatal(err)
	}
	i.clock.Advance(time.Minute)
	var group sync.WaitGroup
	for n := range 50 {
		token := newSignerLike(key, fmt.Sprint("unknown-", n)).sign(t, i.claims(nil), nil)
		group.Go(func() {
			if _, err := servers.Check(t.Context(), token, here); !errors.Is(err, external.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
	group.Wait()
	if n := i.count("/keys"); n != 2 {
		t.Errorf("keys were fetched %d times, want once more", n)
	}
}

func newSignerLike(s signer, id string) signer {
	s.id = id
	return s
}

func TestAWithdrawnKeyIsAcceptedForAnHourAtMost(t *testing.T) {
	key, next := newSigner(t, "key-1", jose.ES256), newSigner(t, "key-2", jose.ES256)
	i := newIssuer(t, key)
	servers := i.servers(t, nil)
	token := key.sign(t, i.claims(map[string]any{"exp": i.clock.Now().Add(2 * time.Hour).Unix()}), nil)
	if _, err := servers.Check(t.Context(), token, here); err != nil {
		t.Fatal(err)
	}
	i.set(func(i *issuer) { i.signers = []signer{next} })
	i.clock.Advance(time.Hour + time.Second)
	if _, err := servers.Check(t.Context(), token, here); !errors.Is(err, external.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

func TestWhileTheIssuerIsDown(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	i.set(func(i *issuer) { i.down = true })
	servers := i.servers(t, nil)
	token := key.sign(t, i.claims(nil), nil)
	if _, err := servers.Check(t.Context(), token, here); !errors.Is(err, external.ErrUnavailable) {
		t.Errorf("before anything is known: %v", err)
	}
	i.set(func(i *issuer) { i.down = false })
	i.clock.Advance(6 * time.Second)
	if _, err := servers.Check(t.Context(), token, here); err != nil {
		t.Fatalf("once it is back: %v", err)
	}
	i.set(func(i *issuer) { i.down = true })
	i.clock.Advance(50 * time.Minute)
	other := key.sign(t, i.claims(map[string]any{"jti": "other"}), nil)
	for name, token := range map[string]string{"a known token": token, "another token": other} {
		if _, err := servers.Check(t.Context(), token, here); err != nil {
			t.Errorf("%s, with keys that are still fresh: %v", name, err)
		}
	}
	i.clock.Advance(11 * time.Minute)
	third := key.sign(t, i.claims(map[string]any{"jti": "third"}), nil)
	if _, err := servers.Check(t.Context(), third, here); !errors.Is(err, external.ErrUnavailable) {
		t.Errorf("with keys that are too old: %v", err)
	}
}

// A token that is good is verified once in a while, and not for longer than it lives.
func TestGoodTokensAreRemembered(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	servers := i.servers(t, nil)
	token := key.sign(t, i.claims(map[string]any{"exp": i.clock.Now().Add(90 * time.Second).Unix()}), nil)
	if _, err := servers.Check(t.Context(), token, here); err != nil {
		t.Fatal(err)
	}
	other := func(audience string) bool { return audience == "https://mcp.example.com/linear" }
	if _, err := servers.Check(t.Context(), token, other); !errors.Is(err, external.ErrInvalid) {
		t.Errorf("a remembered token at another resource: %v", err)
	}
	// The keys are exchanged, so that only memory can accept it.
	i.set(func(i *issuer) { i.signers = []signer{newSigner(t, "key-2", jose.ES256)} })
	i.clock.Advance(59 * time.Second)
	if _, err := servers.Check(t.Context(), token, here); err != nil {
		t.Errorf("after 59 seconds: %v", err)
	}
	i.clock.Advance(31 * time.Second)
	if _, err := servers.Check(t.Context(), token, here); !errors.Is(err, external.ErrInvalid) {
		t.Errorf("after its end: %v", err)
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, algorithm := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256} {
		key := newSigner(b, "key-1", algorithm)
		i := newIssuer(b, key)
		servers := i.servers(b, nil)
		token := key.sign(b, i.claims(nil), nil)
		b.Run("known/"+string(algorithm), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := servers.Check(b.Context(), token, here); err != nil {
					b.Fatal(err)
				}
			}
		})
		forged := newSigner(b, "key-1", algorithm).sign(b, i.claims(nil), nil)
		b.Run("forged/"+string(algorithm), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := servers.Check(b.Context(), forged, here); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}
