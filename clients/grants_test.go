package clients

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestCheckStaticGrants(t *testing.T) {
	secret := hashed(t, staticSecret)
	uris := []string{"https://a.example/cb"}
	for _, tc := range []struct {
		name string
		c    Client
		says string
	}{
		{"people only", Client{RedirectURIs: uris, GrantTypes: []string{GrantCode}}, ""},
		{"devices only", Client{GrantTypes: []string{GrantDeviceCode, GrantRefresh}}, ""},
		{"itself", Client{Secret: secret, GrantTypes: []string{GrantClientCredentials}, Scopes: []string{"a:b"}, Resources: []string{"/a"}}, ""},
		{"itself and people", Client{Secret: secret, RedirectURIs: uris, GrantTypes: []string{GrantClientCredentials, GrantCode}}, ""},
		{"assertions", Client{Secret: secret, GrantTypes: []string{GrantJWTBearer}}, ""},
		{"something else", Client{GrantTypes: []string{"password"}}, "unknown"},
		{"a short name", Client{GrantTypes: []string{"device_code"}}, "unknown"},
		{"people with nowhere to answer", Client{GrantTypes: []string{GrantCode, GrantDeviceCode}}, "no redirect URI"},
		{"itself with somewhere to answer people", Client{Secret: secret, RedirectURIs: uris, GrantTypes: []string{GrantClientCredentials}}, "only the grant type authorization_code"},
		{"itself without a proof", Client{GrantTypes: []string{GrantClientCredentials}}, "give it a secret"},
		{"assertions without a proof", Client{GrantTypes: []string{GrantJWTBearer}}, "give it a secret"},
		{"refreshing nothing", Client{Secret: secret, GrantTypes: []string{GrantRefresh}}, "none that gives refresh tokens out"},
		{"limits of what it does not have", Client{RedirectURIs: uris, Scopes: []string{"read"}}, "client_credentials only"},
		{"resources of what it does not have", Client{RedirectURIs: uris, Resources: []string{"/a"}}, "client_credentials only"},
		{"a scope with a space", Client{Secret: secret, GrantTypes: []string{GrantClientCredentials}, Scopes: []string{"a b"}}, "no scope"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.c.ID = "a"
			got, err := CheckStatic(tc.c, nil)
			if (err != nil) != (tc.says != "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("%v; want %q", err, tc.says)
			}
			if err == nil && !slices.Equal(got.GrantTypes, tc.c.GrantTypes) {
				t.Errorf("grant types %v", got.GrantTypes)
			}
		})
	}
}

func TestParseGrantType(t *testing.T) {
	for word, want := range map[string]string{
		"device_code": GrantDeviceCode, GrantDeviceCode: GrantDeviceCode, "jwt_bearer": GrantJWTBearer, "refresh_token": GrantRefresh,
		"implicit": "", "": "", "Device_Code": "",
	} {
		if got, err := ParseGrantType(word); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", word, got, err)
		}
	}
}

// The device grant lets whoever names a client have people answer for it, so silence is no.
func TestOnlyAClientThatAsksForTheDeviceGrantGetsIt(t *testing.T) {
	g := newRegistry(t, nil)
	hosts := newRegistry(t, func(c *Config) { c.RegistrationHosts = []string{"localhost"} })
	for _, tc := range []struct {
		name     string
		registry *Registry
		body     string
		device   bool
		code     string
	}{
		{"that lists it", g, `{"grant_types":["authorization_code","` + GrantDeviceCode + `"],"redirect_uris":["http://localhost/cb"]}`, true, ""},
		{"that has nothing else and no redirect URI", g, `{"grant_types":["` + GrantDeviceCode + `"]}`, true, ""},
		{"that says nothing", g, `{"redirect_uris":["http://localhost/cb"]}`, false, ""},
		{"that lists others", g, `{"grant_types":["authorization_code"],"redirect_uris":["http://localhost/cb"]}`, false, ""},
		{"with a bad redirect URI beside it", g, `{"grant_types":["` + GrantDeviceCode + `"],"redirect_uris":["javascript:alert(1)"]}`, false, "invalid_redirect_uri"},
		{"with both flows and no redirect URI", g, `{"grant_types":["authorization_code","` + GrantDeviceCode + `"]}`, false, "invalid_redirect_uri"},
		{"where only some hosts may register", hosts, `{"grant_types":["authorization_code","` + GrantDeviceCode + `"],"redirect_uris":["http://localhost/cb"]}`, false, ""},
		{"where only some hosts may register, without any", hosts, `{"grant_types":["` + GrantDeviceCode + `"]}`, false, "invalid_redirect_uri"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answer, c, err := tc.registry.Register([]byte(tc.body))
			var refused *MetadataError
			if errors.As(err, &refused) != (tc.code != "") || refused != nil && refused.Code != tc.code {
				t.Fatalf("%v, want %q", err, tc.code)
			}
			if err != nil {
				return
			}
			again, err := tc.registry.Lookup(context.Background(), c.ID)
			if err != nil || again.May(GrantDeviceCode) != tc.device || c.May(GrantDeviceCode) != tc.device {
				t.Errorf("found again: %+v, %v", again, err)
			}
			if encoded, err := json.Marshal(answer); err != nil || strings.Contains(string(encoded), "null") {
				t.Errorf("the answer is %s, %v", encoded, err)
			}
		})
	}
}

func TestWithKeys(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set := func(key any) []byte {
		b, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key, KeyID: "k"}}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	machine := Client{ID: "a", GrantTypes: []string{GrantClientCredentials}}
	c, err := WithKeys(machine, set(key.Public()))
	if err != nil {
		t.Fatal(err)
	}
	if c, err = CheckStatic(c, nil); err != nil || c.AuthMethod != AuthPrivateKeyJWT || c.Public() {
		t.Errorf("%+v, %v", c, err)
	}
	withSecret := c
	withSecret.Secret = hashed(t, staticSecret)
	if _, err := CheckStatic(withSecret, nil); err == nil {
		t.Error("keys and a secret at once are accepted")
	}
	for name, bad := range map[string][]byte{
		"a private key": set(key), "nothing": nil, "no JSON": []byte("-----BEGIN PUBLIC KEY-----"), "no keys": []byte(`{"keys":[]}`),
		"a symmetric key": set([]byte("0123456789abcdef0123456789abcdef")),
	} {
		if _, err := WithKeys(machine, bad); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	g := newRegistry(t, func(config *Config) {
		config.Static = []Client{c}
		config.Spend = func(context.Context, string, time.Duration) error { return nil }
	})
	if methods := g.AuthMethods(); !slices.Contains(methods, AuthPrivateKeyJWT) {
		t.Errorf("not announced: %v", methods)
	}
	for _, secret := range []string{"", "x"} {
		if _, err := g.Authenticate(context.Background(), Credentials{ClientID: "a", Secret: secret}); !errors.Is(err, ErrAuthentication) {
			t.Errorf("without an assertion: %v", err)
		}
	}
}
