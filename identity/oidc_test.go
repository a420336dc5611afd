package identity

import (
	"slices"
	"strings"
	"testing"
)

func TestNewOIDC(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*OIDCConfig)
		want   string // in the error; "" for none
	}{
		{"the least", func(c *OIDCConfig) {}, ""},
		{"an issuer with a path and a slash", func(c *OIDCConfig) { c.Issuer = "https://idp.example/realms/a/" }, ""},
		{"plain HTTP on loopback", func(c *OIDCConfig) { c.Issuer = "http://localhost:8080" }, ""},
		{"plain HTTP on IPv6 loopback", func(c *OIDCConfig) { c.Issuer = "http://[::1]:8080" }, ""},
		{"another claim that is trusted", func(c *OIDCConfig) { c.EmailClaim, c.TrustUnverifiedEmail = "upn", true }, ""},
		{"plain HTTP elsewhere", func(c *OIDCConfig) { c.Issuer = "http://idp.example" }, "not an https URL"},
		{"plain HTTP on what looks like loopback", func(c *OIDCConfig) { c.Issuer = "http://localhost.evil.example" }, "not an https URL"},
		{"no issuer", func(c *OIDCConfig) { c.Issuer = "" }, "is missing; write it"},
		{"a host alone", func(c *OIDCConfig) { c.Issuer = "idp.example" }, "not a usable URL"},
		{"an issuer with a query", func(c *OIDCConfig) { c.Issuer = "https://idp.example?a=b" }, "leave it away"},
		{"an issuer with credentials", func(c *OIDCConfig) { c.Issuer = "https://a:b@idp.example" }, "not a usable URL"},
		{"no id", func(c *OIDCConfig) { c.ID = "" }, "provider id is empty"},
		{"an id with a slash", func(c *OIDCConfig) { c.ID = "a/b" }, "provider id"},
		{"no client id", func(c *OIDCConfig) { c.ClientID = "" }, "client_id is empty"},
		{"another claim that nobody verifies", func(c *OIDCConfig) { c.EmailClaim = "upn" }, "email_claim"},
		{"a scope with a space", func(c *OIDCConfig) { c.Scopes = []string{"email profile"} }, "scope"},
		{"a parameter of the flow", func(c *OIDCConfig) { c.AuthParams = map[string]string{"nonce": "x"} }, `"nonce" cannot be set`},
		{"no signature", func(c *OIDCConfig) { c.AllowedAlgorithms = []string{"none"} }, "not supported"},
		{"a symmetric algorithm", func(c *OIDCConfig) { c.AllowedAlgorithms = []string{"RS256", "HS256"} }, "not supported"},
		{"a hosted domain that is none", func(c *OIDCConfig) { c.RequireHostedDomain = []string{"@example.com"} }, "hosted domain"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := OIDCConfig{ID: "idp", Issuer: "https://idp.example", ClientID: "c", ClientSecret: testSecret}
			tc.change(&config)
			_, err := NewOIDC(config)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want it to say %q", err, tc.want)
			case err != nil && strings.Contains(err.Error(), testSecret):
				t.Errorf("%q tells the secret", err)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	o, err := NewOIDC(OIDCConfig{ID: "idp", Issuer: "https://idp.example:8443/a", ClientID: "c", Scopes: []string{"groups"}})
	if err != nil {
		t.Fatal(err)
	}
	c := o.config
	if o.Name() != "idp.example" || !slices.Equal(c.Scopes, []string{"openid", "groups"}) || c.EmailClaim != "email" ||
		c.GroupsClaim != "groups" || !slices.Equal(c.AllowedAlgorithms, []string{"RS256", "ES256", "EdDSA"}) {
		t.Errorf("got name %q and %+v", o.Name(), c)
	}
	if o.client.Timeout != requestTimeout {
		t.Errorf("got timeout %v", o.client.Timeout)
	}
}
