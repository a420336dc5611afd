package mcpauth

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// config is a Caddy configuration with one mcp_auth handler and the app's defaults.
func config(t *testing.T, handler, app string) *caddy.Config {
	t.Helper()
	text := fmt.Sprintf(`{
		"admin": {"disabled": true},
		"logging": {"logs": {"default": {"level": "PANIC"}}},
		"storage": {"module": "file_system", "root": %q},
		"apps": {
			"tls": {"disable_storage_check": true, "disable_storage_clean": true},
			"mcp_auth": %s,
			"http": {"servers": {"edge": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [%s]}]}}}
		}
	}`, t.TempDir(), app, handler)
	var c caddy.Config
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return &c
}

const (
	goodApp      = `{"store": {"store": "memory"}}`
	goodProvider = `{"provider": "oidc", "issuer": "https://idp.example.com", "client_id": "edge", "client_secret": "{env.TEST_SECRET}"}`
	goodGitHub   = `{"provider": "github", "client_id": "edge", "client_secret": "{env.TEST_SECRET}"}`
	goodAllow    = `{"domains": ["example.com"]}`
)

// handlerJSON is a good handler with further members, which take the place of those of the same name.
func handlerJSON(t *testing.T, members string) string {
	t.Helper()
	good := fmt.Sprintf(`{"handler": "mcp_auth", "issuer": %q, "providers": [%s], "allow": %s}`, testIssuer, goodProvider, goodAllow)
	all := make(map[string]json.RawMessage)
	for _, text := range []string{good, "{" + members + "}"} {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	joined, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(joined)
}

func TestConfigurationsThatStart(t *testing.T) {
	t.Setenv("TEST_SECRET", "the-secret-of-the-edge-at-the-provider")
	t.Setenv("TEST_KEY", strings.Repeat("k3y-", 8))
	t.Setenv("TEST_ISSUER", testIssuer)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(strings.Repeat("0k3y", 8)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, members, app string }{
		{"good", ``, goodApp},
		{"with the default store", ``, `{}`},
		{"with an issuer from the environment", `"issuer": "{env.TEST_ISSUER}"`, goodApp},
		{"without an issuer", `"issuer": ""`, goodApp},
		{"with a key from the environment", `"keys": ["{env.TEST_KEY}"]`, goodApp},
		{"with keys for all sites", ``, `{"store": {"store": "memory"}, "keys": ["{env.TEST_KEY}", "{file.` + file + `}"]}`},
		{"with keys and the default store", `"keys": ["{env.TEST_KEY}"]`, `{}`},
		{"with providers and rules of the app", `"providers": [], "allow": null`, `{"providers": [` + goodProvider + `], "allow": ` + goodAllow + `}`},
		{"with a callback of its own", `"providers": [` + strings.TrimSuffix(goodProvider, "}") + `, "redirect_url": "` + testIssuer + `/signed-in"}]`, goodApp},
		{"with two resources", `"resources": [{"paths": ["/a/*"], "scopes": ["a:read"]}, {"paths": ["/b"], "allow": {"groups": ["g"]}}]`, goodApp},
		{"with GitHub and its groups", `"providers": [` + goodGitHub + `], "allow": {"groups": ["acme"]}`, goodApp},
		{"with GitHub beside another, and no groups", `"providers": [` + goodProvider + `, ` + goodGitHub + `]`, goodApp},
		{"with some organizations of GitHub beside another", `"providers": [` + goodProvider + `, ` + strings.TrimSuffix(goodGitHub, "}") + `, "organizations": ["acme"]}], "allow": {"groups": ["engineering"]}`, goodApp},
		{"with two providers", `"providers": [` + goodProvider + `, {"provider": "local", "users": [{"email": "a@example.com", "hash": "$2a$14$Nu3WDxgjKaz5zcPQ7MEHnO5.Bzo7L.sHNNkVSIMDbDTAFPwCZAOGC"}]}]`, goodApp},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := caddy.Validate(config(t, handlerJSON(t, tc.members), tc.app)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConfigurationsThatDoNotStart(t *testing.T) {
	t.Setenv("TEST_SECRET", "the-secret-of-the-edge-at-the-provider")
	t.Setenv("TEST_SHORT", "hunter2")
	t.Setenv("TEST_EMPTY", "")
	provider := func(members string) string {
		return `"providers": [` + strings.TrimSuffix(goodProvider, "}") + ", " + members + "}]"
	}
	for _, tc := range []struct{ name, members, app, says string }{
		{"nothing to sign in with", `"providers": []`, goodApp, "nothing to sign in with"},
		{"nobody allowed", `"allow": null`, goodApp, "no allow rule"},
		{"an empty allow-list", `"allow": {}`, goodApp, "no allow rule"},
		{"an empty allow-list for all", ``, `{"allow": {}}`, "no allow rule"},
		{"a domain with an at sign", `"allow": {"domains": ["@example.com"]}`, goodApp, "without \"@\""},
		{"a client secret that is not set", `"providers": [{"provider": "oidc", "issuer": "https://idp.example.com", "client_id": "edge", "client_secret": "{env.NOBODY_SETS_THIS}"}]`, goodApp, "{env.NOBODY_SETS_THIS}"},
		{"a client secret that is empty", provider(`"client_secret": "{env.TEST_EMPTY}"`), goodApp, "client_secret"},
		{"a client secret in a file that is not there", provider(`"client_secret": "{file./nowhere/secret}"`), goodApp, "client_secret"},
		{"a client id that is not set", provider(`"client_id": "{env.NOBODY_SETS_THIS}"`), goodApp, "client_id"},
		{"a provider over plain http", provider(`"issuer": "http://idp.example.com"`), goodApp, "https"},
		{"a provider without an issuer", provider(`"issuer": ""`), goodApp, "issuer"},
		{"two providers of one id", `"providers": [` + goodProvider + `, ` + goodProvider + `]`, goodApp, `two providers have the id "oidc"`},
		// Somebody founds the organization "engineering" at GitHub, and is let in by the other provider's group.
		{"groups of another provider that anybody can have at GitHub", `"providers": [` + goodProvider + `, ` + goodGitHub + `], "allow": {"groups": ["engineering"]}`, goodApp, "organizations"},
		{"groups of a resource that anybody can have at GitHub", `"providers": [` + goodGitHub + `, ` + goodProvider + `], "resources": [{"paths": ["/a"], "allow": {"groups": ["engineering"]}}]`, goodApp, "organizations"},
		{"an unknown provider", `"providers": [{"provider": "saml"}]`, goodApp, "saml"},
		{"a callback on another site", provider(`"redirect_url": "https://other.example.com/oauth2/callback"`), goodApp, "has to begin with " + testIssuer},
		{"a callback on another port", provider(`"redirect_url": "` + testIssuer + `:8443/oauth2/callback"`), goodApp, "has to begin with"},
		{"a callback over plain http", provider(`"redirect_url": "http://mcp.example.com/oauth2/callback"`), goodApp, "has to begin with"},
		{"a callback with a query", provider(`"redirect_url": "` + testIssuer + `/cb?x=1"`), goodApp, "without query"},
		{"a callback that is a path", provider(`"redirect_url": "/oauth2/callback"`), goodApp, "not an absolute URL"},
		{"a callback without a path", provider(`"redirect_url": "` + testIssuer + `"`), goodApp, "is taken"},
		{"a callback at the root", provider(`"redirect_url": "` + testIssuer + `/"`), goodApp, "is taken"},
		{"a callback in place of the token endpoint", provider(`"redirect_url": "` + testIssuer + `/oauth2/token"`), goodApp, "/oauth2/token"},
		{"a callback in place of the consent page", provider(`"redirect_url": "` + testIssuer + `/oauth2/consent"`), goodApp, "/oauth2/consent"},
		{"a callback in place of metadata", provider(`"redirect_url": "` + testIssuer + `/.well-known/oauth-authorization-server"`), goodApp, "is taken"},
		{"a callback in place of a resource's metadata", provider(`"redirect_url": "` + testIssuer + `/a/.well-known/openid-configuration"`), goodApp, "is taken"},
		{"a callback with a dot segment", provider(`"redirect_url": "` + testIssuer + `/a/../cb"`), goodApp, "plain path"},
		{"a callback with an escape", provider(`"redirect_url": "` + testIssuer + `/a%20b"`), goodApp, "path"},
		{"a callback without an issuer", `"issuer": "", ` + provider(`"redirect_url": "`+testIssuer+`/cb"`), goodApp, "issuer"},
		{"an issuer over plain http", `"issuer": "http://mcp.example.com"`, goodApp, "plain http"},
		{"an issuer with a path", `"issuer": "https://mcp.example.com/auth"`, goodApp, "more than a host"},
		{"an issuer that is not set", `"issuer": "{env.NOBODY_SETS_THIS}"`, goodApp, "issuer"},
		{"a short key", `"keys": ["{env.TEST_SHORT}"]`, goodApp, "32"},
		{"a key that is not set", `"keys": ["{env.NOBODY_SETS_THIS}"]`, goodApp, "{env.NOBODY_SETS_THIS}"},
		{"a key of one letter", `"keys": ["` + strings.Repeat("a", 40) + `"]`, goodApp, "key"},
		{"a lifetime that is too long", `"access_token_lifetime": "48h"`, goodApp, "access_token_lifetime"},
		{"a code that lives an hour", `"code_lifetime": "1h"`, goodApp, "code_lifetime"},
		{"a negative lifetime", `"refresh_grace": -1`, goodApp, "refresh_grace"},
		{"a grant shorter than its access tokens", `"refresh_token_lifetime": "30m"`, goodApp, "refresh_token_lifetime"},
		{"an unknown member", `"isuer": "https://mcp.example.com"`, goodApp, "isuer"},
		{"an unknown member of a provider", provider(`"secret": "x"`), goodApp, "secret"},
		{"an unknown member of a resource", `"resources": [{"path": "/a"}]`, goodApp, "path"},
		{"an unknown member of the app", ``, `{"storage": {}}`, "storage"},
		{"an unknown store", ``, `{"store": {"store": "floppy"}}`, "floppy"},
		{"a registration host that never matches", `"clients": {"registration": {"redirect_hosts": ["https://client.example"]}}`, goodApp, "redirect_host"},
		{"resources that overlap", `"resources": [{"paths": ["/a"]}, {"paths": ["/a/b"]}]`, goodApp, "overlap"},
		{"resources that overlap without an issuer", `"issuer": "", "resources": [{"paths": ["/a"]}, {"paths": ["/a/b"]}]`, goodApp, "overlap"},
		{"a resource without a path", `"resources": [{}]`, goodApp, "without a path"},
		{"local users without a hash", `"providers": [{"provider": "local", "users": [{"email": "a@example.com", "hash": ""}]}]`, goodApp, "a@example.com"},
		{"a password in place of its hash", `"providers": [{"provider": "local", "users": [{"email": "a@example.com", "hash": "hunter2hunter2"}]}]`, goodApp, "hash"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := caddy.Validate(config(t, handlerJSON(t, tc.members), tc.app))
			if err == nil {
				t.Fatalf("started; want an error that says %q", tc.says)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %q, want it to say %q", err, tc.says)
			}
			for _, secret := range []string{"the-secret-of-the-edge", "hunter2", strings.Repeat("a", 40)} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error %q shows a secret", err)
				}
			}
		})
	}
}

// A secret that was written into the configuration itself, with braces in it, must not end up in the log.
func TestErrorsAboutSecretsShowPlaceholdersOnly(t *testing.T) {
	t.Setenv("TEST_EMPTY", "")
	for _, tc := range []struct{ name, secret, shows, hides string }{
		{"a placeholder", "{env.NOBODY_SETS_THIS}", "{env.NOBODY_SETS_THIS}", "\x00"},
		{"an empty one", "{env.TEST_EMPTY}", "{env.TEST_EMPTY}", "\x00"},
		{"a secret with braces", "pa{ss}word", "", "ss"},
		{"a secret in braces", "{password}", "", "password"},
		{"a secret around a placeholder", "pass{env.NOBODY_SETS_THIS}word", "", "word"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := secretValue(tc.secret)
			if err == nil || !strings.Contains(err.Error(), tc.shows) || strings.Contains(err.Error(), tc.hides) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// What the Caddyfile adapts to also has to start, or say why it does not.
func TestCaddyfilesThatDoNotStart(t *testing.T) {
	for _, tc := range []struct{ name, block, says string }{
		{"a client secret that is not set", "oidc https://idp.example.com {\nclient_id edge\nclient_secret {env.NOBODY_SETS_THIS}\n}", "{env.NOBODY_SETS_THIS}"},
		{"two providers of one id", "oidc https://a.example.com {\nclient_id edge\n}\noidc https://b.example.com {\nclient_id edge\n}", "two providers have the id"},
		{"a callback elsewhere", "issuer https://mcp.example.com\noidc https://idp.example.com {\nclient_id edge\nredirect_url https://other.example.com/cb\n}", "not on this site"},
		{"a key that is not set", "key {env.NOBODY_SETS_THIS}\noidc https://idp.example.com {\nclient_id edge\n}", "{env.NOBODY_SETS_THIS}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			adapted, err := adapt(t, "{\nadmin off\n}\nhttp://localhost:0 {\nmcp_auth {\nallow domain example.com\nstore memory\n"+tc.block+"\n}\n}\n")
			if err == nil {
				var c caddy.Config
				if err := json.Unmarshal([]byte(adapted), &c); err != nil {
					t.Fatal(err)
				}
				err = caddy.Validate(&c)
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want it to say %q", err, tc.says)
			}
		})
	}
}
