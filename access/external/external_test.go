package external_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
)

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*external.Config)
		want   string
	}{
		{"no issuer", func(c *external.Config) { c.Issuer = "" }, "issuer is missing"},
		{"an issuer over plain HTTP", func(c *external.Config) { c.Issuer = "http://idp.example.com" }, "not an https URL"},
		{"an issuer with a query", func(c *external.Config) { c.Issuer += "?tenant=1" }, "query or a fragment"},
		{"keys over plain HTTP", func(c *external.Config) { c.JWKS = "http://idp.example.com/keys" }, "jwks is not an https URL"},
		{"no algorithm", func(c *external.Config) { c.Algorithms = []string{"none"} }, `"none" is not supported`},
		{"a symmetric algorithm", func(c *external.Config) { c.Algorithms = []string{"RS256", "HS256"} }, `"HS256" is not supported`},
		{"an empty audience", func(c *external.Config) { c.Audiences = []string{""} }, "audience is empty"},
		{"a missing audience without scopes", func(c *external.Config) { c.AllowMissingAudience = true }, "add required_scopes"},
		{"another claim for addresses", func(c *external.Config) { c.Names.Email = "upn" }, "trust_unverified_email"},
		{"introspection over plain HTTP", func(c *external.Config) { c.Introspection = &external.Introspection{URL: "http://hydra:4445/x"} }, "introspection is not an https URL"},
		{"introspection nowhere", func(c *external.Config) { c.Introspection = new(external.Introspection) }, "introspection is missing"},
		{"a client without a secret", func(c *external.Config) {
			c.Introspection = &external.Introspection{URL: "https://idp.example.com/i", ClientID: "edge"}
		}, "go together"},
		{"two kinds of credentials", func(c *external.Config) {
			c.Introspection = &external.Introspection{URL: "https://idp.example.com/i", ClientID: "edge", ClientSecret: "s", BearerToken: "b"}
		}, "either"},
	} {
		c := external.Config{Issuer: "https://idp.example.com"}
		tc.change(&c)
		if s, err := external.New(c); s != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
}

func TestSeveralIssuers(t *testing.T) {
	one, two := newSigner(t, "key-1", jose.ES256), newSigner(t, "key-1", jose.ES256)
	a, b := newIssuer(t, one), newIssuer(t, two)
	b.answers[opaque] = b.answer(nil)
	join := func(change func(*external.Config)) (external.Servers, error) {
		var servers []*external.Server
		for _, i := range []*issuer{a, b} {
			c := external.Config{Issuer: i.URL, Now: i.clock.Now}
			if i == b {
				introspecting(b)(&c)
				c.JWKS = b.URL + "/keys"
			}
			if change != nil {
				change(&c)
			}
			s, err := external.New(c)
			if err != nil {
				t.Fatal(err)
			}
			servers = append(servers, s)
		}
		return external.NewServers(servers)
	}
	servers, err := join(nil)
	if err != nil {
		t.Fatal(err)
	}
	if issuers := servers.Issuers(); len(issuers) != 2 || issuers[0] != a.URL || issuers[1] != b.URL {
		t.Errorf("the issuers are %v", issuers)
	}
	for _, tc := range []struct {
		name, token, issuer string
	}{
		{"the first one's", one.sign(t, a.claims(nil), nil), a.URL},
		{"the second one's", two.sign(t, b.claims(nil), nil), b.URL},
		{"an opaque one of the second", opaque, b.URL},
		{"the first one's, signed by the second", two.sign(t, a.claims(nil), nil), ""},
		{"the second one's, signed by the first", one.sign(t, b.claims(nil), nil), ""},
		{"nobody's", one.sign(t, a.claims(map[string]any{"iss": "https://evil.example"}), nil), ""},
	} {
		got, err := servers.Check(t.Context(), tc.token, here)
		switch {
		case tc.issuer == "" && !errors.Is(err, external.ErrInvalid):
			t.Errorf("%s: got %+v, %v", tc.name, got, err)
		case tc.issuer != "" && (err != nil || got.User.Issuer != tc.issuer):
			t.Errorf("%s: got %+v, %v", tc.name, got, err)
		}
	}
	if _, err := join(introspecting(b)); err == nil || !strings.Contains(err.Error(), "which of them to ask") {
		t.Errorf("two servers with introspection: %v", err)
	}
	if _, err := join(func(c *external.Config) { c.Issuer = a.URL }); err == nil || !strings.Contains(err.Error(), "given twice") {
		t.Errorf("one issuer twice: %v", err)
	}
}
