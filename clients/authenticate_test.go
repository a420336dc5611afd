package clients

import (
	"context"
	"errors"
	"strings"
	"testing"
)

const staticSecret = "c3RhdGlj+c2VjcmV0/dGhhdCBpcyBsb25n%"

func hashed(t testing.TB, secret string) SecretHash {
	t.Helper()
	h, err := HashSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func static(t testing.TB, c Client) Client {
	t.Helper()
	checked, err := CheckStatic(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return checked
}

func TestAuthenticate(t *testing.T) {
	g := newRegistry(t, func(c *Config) {
		c.Static = []Client{
			static(t, Client{ID: "confidential", RedirectURIs: []string{"https://a.example/cb"}, Secret: hashed(t, staticSecret)}),
			static(t, Client{ID: "public", RedirectURIs: []string{"https://a.example/cb"}}),
		}
	})
	basicClient, _ := register(t, g, `{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"client_secret_basic"}`)
	postClient, _ := register(t, g, `{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"client_secret_post"}`)
	none, _ := register(t, g, `{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"none"}`)
	for _, tc := range []struct {
		name string
		c    Credentials
		want error
	}{
		{"a public client", Credentials{ClientID: none.ClientID, Method: AuthNone}, nil},
		{"a public client with a secret", Credentials{ClientID: none.ClientID, Secret: "x", Method: AuthSecretPost}, ErrAuthentication},
		{"a static public client", Credentials{ClientID: "public", Method: AuthNone}, nil},
		{"a static public client with a secret", Credentials{ClientID: "public", Secret: staticSecret, Method: AuthSecretPost}, ErrAuthentication},
		{"the registered way", Credentials{ClientID: basicClient.ClientID, Secret: basicClient.ClientSecret, Method: AuthSecretBasic}, nil},
		{"the other way", Credentials{ClientID: basicClient.ClientID, Secret: basicClient.ClientSecret, Method: AuthSecretPost}, nil},
		{"the other way round", Credentials{ClientID: postClient.ClientID, Secret: postClient.ClientSecret, Method: AuthSecretBasic}, nil},
		{"another client's secret", Credentials{ClientID: postClient.ClientID, Secret: basicClient.ClientSecret, Method: AuthSecretPost}, ErrAuthentication},
		{"a secret with something after it", Credentials{ClientID: postClient.ClientID, Secret: postClient.ClientSecret + "x", Method: AuthSecretPost}, ErrAuthentication},
		{"half a secret", Credentials{ClientID: postClient.ClientID, Secret: postClient.ClientSecret[:20], Method: AuthSecretPost}, ErrAuthentication},
		{"the id for a secret", Credentials{ClientID: postClient.ClientID, Secret: postClient.ClientID, Method: AuthSecretPost}, ErrAuthentication},
		{"no secret", Credentials{ClientID: postClient.ClientID, Method: AuthNone}, ErrAuthentication},
		{"a static secret", Credentials{ClientID: "confidential", Secret: staticSecret, Method: AuthSecretPost}, nil},
		{"a static secret that is wrong", Credentials{ClientID: "confidential", Secret: staticSecret + "x", Method: AuthSecretPost}, ErrAuthentication},
		{"a static secret that is missing", Credentials{ClientID: "confidential", Method: AuthNone}, ErrAuthentication},
		{"a huge secret", Credentials{ClientID: "confidential", Secret: strings.Repeat("x", 1<<20), Method: AuthSecretPost}, ErrAuthentication},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, err := g.Authenticate(context.Background(), tc.c)
			if !errors.Is(err, tc.want) || (client != nil) != (tc.want == nil) {
				t.Errorf("%v, %v; want %v", client, err, tc.want)
			}
			if err != nil && tc.c.Secret != "" && strings.Contains(err.Error(), tc.c.Secret) {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}

// Clients that skip the form-encoding of RFC 6749, section 2.3.1, send "+" and "%" as they are.
func TestSecretsThatWereNotFormEncoded(t *testing.T) {
	g := newRegistry(t, func(c *Config) {
		c.Static = []Client{static(t, Client{ID: "a", RedirectURIs: []string{"https://a.example/cb"}, Secret: hashed(t, staticSecret)})}
	})
	for name, header := range map[string]string{
		"raw":     basic("a:" + staticSecret),
		"encoded": basic("a:c3RhdGlj%2Bc2VjcmV0%2FdGhhdCBpcyBsb25n%25"),
	} {
		c, err := ParseCredentials(tokenRequest(header), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Authenticate(context.Background(), c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A secret outlives restarts and moves between replicas, since it is derived, not stored; it is worth
// nothing at another tenant.
func TestDerivedSecretsBelongToOneTenant(t *testing.T) {
	answer, _ := register(t, newRegistry(t, nil), `{"redirect_uris":["https://a.example/cb"]}`)
	c := Credentials{ClientID: answer.ClientID, Secret: answer.ClientSecret, Method: AuthSecretBasic}
	if _, err := newRegistry(t, nil).Authenticate(context.Background(), c); err != nil {
		t.Errorf("on another replica: %v", err)
	}
	other := newRegistry(t, func(c *Config) { c.Tenant = "https://other.example.com" })
	if _, err := other.Authenticate(context.Background(), c); !errors.Is(err, ErrUnknown) {
		t.Errorf("at another tenant: %v", err)
	}
}
