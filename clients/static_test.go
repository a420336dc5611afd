package clients

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCheckStatic(t *testing.T) {
	secret := hashed(t, staticSecret)
	good := []string{"https://a.example/cb"}
	for _, tc := range []struct {
		name   string
		c      Client
		method string
		says   string
	}{
		{"with a secret", Client{ID: "a", RedirectURIs: good, Secret: secret}, AuthSecretBasic, ""},
		{"without a secret", Client{ID: "a", RedirectURIs: good}, AuthNone, ""},
		{"with a method", Client{ID: "a", RedirectURIs: good, Secret: secret, AuthMethod: AuthSecretPost}, AuthSecretPost, ""},
		{"with a configured scheme", Client{ID: "a", RedirectURIs: []string{"myapp://cb"}}, AuthNone, ""},
		{"without an id", Client{RedirectURIs: good}, "", "no id"},
		{"with a space in the id", Client{ID: "a b", RedirectURIs: good}, "", "space"},
		{"with a long id", Client{ID: strings.Repeat("a", 300), RedirectURIs: good}, "", "longer"},
		{"with an id like a dynamic one", Client{ID: "mcpid_a", RedirectURIs: good}, "", "registered themselves"},
		{"with a URL as its id", Client{ID: "https://a.example/c", RedirectURIs: good}, "", "metadata document"},
		{"without redirect URIs", Client{ID: "a"}, "", "no redirect URI"},
		{"with a dangerous redirect URI", Client{ID: "a", RedirectURIs: []string{"javascript:alert(1)"}}, "", "scheme"},
		{"with a method that needs a secret", Client{ID: "a", RedirectURIs: good, AuthMethod: AuthSecretPost}, "", "go together"},
		{"with a secret that its method ignores", Client{ID: "a", RedirectURIs: good, Secret: secret, AuthMethod: AuthNone}, "", "go together"},
		{"with an unknown method", Client{ID: "a", RedirectURIs: good, AuthMethod: "magic"}, "", "authentication method"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := CheckStatic(tc.c, []string{"myapp"})
			if (err != nil) != (tc.says != "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%v; want %q", err, tc.says)
			}
			if err == nil && (got.AuthMethod != tc.method || !got.MayRefresh() || got.Source != Preregistered) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestStaticLookup(t *testing.T) {
	g := newRegistry(t, func(c *Config) {
		c.PrivateSchemes = []string{"myapp"}
		c.Static = []Client{
			{ID: "a", AuthMethod: AuthNone, RedirectURIs: []string{"myapp://cb"}, GrantTypes: grantTypes(false, false)},
			{ID: "b", AuthMethod: AuthNone, RedirectURIs: []string{"https://b.example/cb"}},
		}
	})
	a, err := g.Lookup(context.Background(), "a")
	if err != nil || a.Label() != "a" || a.Source != Preregistered || a.MayRefresh() || a.VerifiedHost() != "" || !a.Redirect("myapp://cb") {
		t.Errorf("%+v, %v", a, err)
	}
	for _, id := range []string{"A", "a ", "c"} {
		if _, err := g.Lookup(context.Background(), id); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// A client that lost its secret in the configuration must not become one that anybody can claim to be.
func TestStaticClientWithoutItsSecret(t *testing.T) {
	g := newRegistry(t, func(c *Config) {
		c.Static = []Client{{ID: "a", AuthMethod: AuthSecretBasic, RedirectURIs: []string{"https://a.example/cb"}}}
	})
	for _, secret := range []string{"", "x", strings.Repeat("\x00", 32)} {
		if _, err := g.Authenticate(context.Background(), Credentials{ClientID: "a", Secret: secret}); !errors.Is(err, ErrAuthentication) {
			t.Errorf("%q: %v", secret, err)
		}
	}
}

func TestSecretHashes(t *testing.T) {
	sum := sha256.Sum256([]byte(staticSecret))
	parsed, err := ParseSecretHash(hex.EncodeToString(sum[:]))
	if err != nil || parsed != hashed(t, staticSecret) {
		t.Errorf("%v", err)
	}
	if s := fmt.Sprintf("%v %+v", parsed, Client{Secret: parsed}); strings.Contains(s, fmt.Sprint(sum[0], " ", sum[1])) {
		t.Errorf("the hash is printed: %s", s)
	}
	for _, short := range []string{"", "changeme", strings.Repeat("x", 31), strings.Repeat("x", 64)} {
		_, err := HashSecret(short)
		if err == nil || short != "" && strings.Contains(err.Error(), short) {
			t.Errorf("HashSecret(%q): %v", short, err)
		}
	}
	for _, bad := range []string{"", "zz", hex.EncodeToString(sum[:31]), staticSecret} {
		if _, err := ParseSecretHash(bad); err == nil {
			t.Errorf("ParseSecretHash(%q) accepts it", bad)
		}
	}
}
