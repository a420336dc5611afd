package mcpauth

import (
	"context"
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// redirectingProvider is one that browsers are sent to.
type redirectingProvider string

func (p redirectingProvider) ID() string   { return string(p) }
func (p redirectingProvider) Name() string { return string(p) }
func (redirectingProvider) Begin(context.Context, identity.Attempt) (string, error) {
	return "", identity.ErrUnavailable
}
func (redirectingProvider) Finish(context.Context, identity.Attempt, url.Values) (identity.User, error) {
	return identity.User{}, identity.ErrUnavailable
}

// passwordProvider is one that no browser is sent to.
type passwordProvider struct{}

func (passwordProvider) ID() string   { return "local" }
func (passwordProvider) Name() string { return "this server" }

func TestEachProviderHasACallbackPathOfItsOwn(t *testing.T) {
	const first, second, third = redirectingProvider("oidc"), redirectingProvider("partner"), redirectingProvider("github")
	for _, tc := range []struct {
		name       string
		providers  []identity.Provider
		configured map[string]string
		want       map[string]string
		says       string // of the error
	}{
		{"one", []identity.Provider{first}, nil, map[string]string{"oidc": "/oauth2/callback"}, ""},
		{"one after passwords", []identity.Provider{passwordProvider{}, first}, nil, map[string]string{"oidc": "/oauth2/callback"}, ""},
		{"three", []identity.Provider{first, second, third}, nil,
			map[string]string{"oidc": "/oauth2/callback", "partner": "/oauth2/callback/partner", "github": "/oauth2/callback/github"}, ""},
		{"a configured one leaves the usual path to the next", []identity.Provider{first, second},
			map[string]string{"oidc": testIssuer + "/in"}, map[string]string{"oidc": "/in", "partner": "/oauth2/callback"}, ""},
		{"the usual path given to the second", []identity.Provider{first, second},
			map[string]string{"partner": testIssuer + "/oauth2/callback"}, map[string]string{"oidc": "/oauth2/callback/oidc", "partner": "/oauth2/callback"}, ""},
		{"one configured path for two", []identity.Provider{first, second},
			map[string]string{"oidc": testIssuer + "/in", "partner": testIssuer + "/in"}, nil, "have the same redirect URL"},
		{"a configured path that another has by itself", []identity.Provider{first, second, third},
			map[string]string{"github": testIssuer + "/oauth2/callback/partner"}, nil, `"github" and "partner" have the same redirect URL`},
		{"another site", []identity.Provider{first}, map[string]string{"oidc": "https://elsewhere.example/in"}, nil, "is not on this site"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := callbackPaths(testIssuer, tc.providers, tc.configured)
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("error %v, want one that says %q", err, tc.says)
				}
				return
			}
			if err != nil || !maps.Equal(got, tc.want) {
				t.Errorf("got %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

func TestProvidersThatDoNotGoTogether(t *testing.T) {
	oidc := func(id string, domains ...string) *OIDC {
		return &OIDC{ID: id, Issuer: "https://idp.example.com", ClientID: "edge", Domains: domains}
	}
	for _, tc := range []struct {
		name      string
		providers []*OIDC
		says      string
	}{
		{"different ones", []*OIDC{oidc("a", "example.com"), oidc("b", "EXAMPLE.org", "example.net")}, ""},
		{"one id for two", []*OIDC{oidc("a"), oidc("a")}, `two providers have the id "a"`},
		{"one domain for two", []*OIDC{oidc("a", "example.com"), oidc("b", "Example.COM")}, `example.com belongs to both "a" and "b"`},
		{"an address as domain", []*OIDC{oidc("a", "ann@example.com")}, `domains: "ann@example.com" is not a domain`},
		{"a pattern as domain", []*OIDC{oidc("a", "*.example.com")}, `domains: "*.example.com" is not a domain`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var o Options
			var err error
			for _, p := range tc.providers {
				if err == nil {
					err = p.Provision(caddy.Context{})
				}
				if err == nil {
					err = o.addProvider(p)
				}
			}
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("error %v, want one that says %q", err, tc.says)
			}
			if tc.says == "" && (len(o.providers) != 2 || !maps.Equal(o.domains, map[string]string{"example.com": "a", "example.org": "b", "example.net": "b"})) {
				t.Errorf("%d providers, domains %v", len(o.providers), o.domains)
			}
		})
	}
}

func TestGitHubSettings(t *testing.T) {
	t.Setenv("GITHUB_SECRET", "only-for-this-test")
	for _, tc := range []struct {
		name   string
		module *GitHub
		says   string
	}{
		{"complete", &GitHub{ClientID: "id", ClientSecret: "{env.GITHUB_SECRET}"}, ""},
		{"a variable that is not set", &GitHub{ClientID: "id", ClientSecret: "{env.GITHUB_SECRET_UNSET}"}, "client_secret"},
		{"no client id", &GitHub{ClientSecret: "{env.GITHUB_SECRET}"}, "client_id"},
		{"a relative redirect URL", &GitHub{ClientID: "id", ClientSecret: "{env.GITHUB_SECRET}", RedirectURL: "/in"}, "redirect_url"},
		{"a plain enterprise URL", &GitHub{ClientID: "id", ClientSecret: "{env.GITHUB_SECRET}", EnterpriseURL: "http://github.example.com"}, "enterprise_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.module.Provision(caddy.Context{})
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("error %v, want one that says %q", err, tc.says)
			}
			if err != nil && strings.Contains(err.Error(), "only-for-this-test") {
				t.Errorf("the error %q tells the secret", err)
			}
		})
	}
}
