package mcpauth

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "write the JSON of golden files that adapt")

const goldenSeparator = "----------\n"

// A golden file is a Caddyfile, a line of hyphens, and the JSON it adapts to or a part of the error
// it is refused with.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/caddyfile/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding golden files: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(content), goldenSeparator)
			got, err := adapt(t, input)
			isError := strings.HasPrefix(filepath.Base(file), "error_")
			switch {
			case isError && err == nil:
				t.Fatalf("adapted, want an error that contains %q", want)
			case isError:
				if want = strings.TrimSpace(want); want == "" || !strings.Contains(err.Error(), want) {
					t.Fatalf("error %q, want it to contain %q", err, want)
				}
			case err != nil:
				t.Fatal(err)
			case *update:
				if err := os.WriteFile(file, []byte(input+goldenSeparator+got), 0o644); err != nil {
					t.Fatal(err)
				}
			case got != want:
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestTheExampleAdaptsAndIsFormatted(t *testing.T) {
	content, err := os.ReadFile("Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	result, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(content, map[string]any{"filename": "Caddyfile.example"})
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Errorf("warnings: %v", warnings)
	}
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("NIGHTLY_REPORT_SECRET", "only-for-this-test-0123456789abcdef")
	t.Setenv("OIDC_CLIENT_ID", "edge")
	t.Setenv("OIDC_CLIENT_SECRET", "only-for-this-test")
	t.Setenv("GITHUB_CLIENT_ID", "edge")
	t.Setenv("GITHUB_CLIENT_SECRET", "only-for-this-test")
	var config caddy.Config
	if err := json.Unmarshal(result, &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&config); err != nil {
		t.Errorf("validating the example: %v", err)
	}
	// A module cannot say how long a header may take, so that whoever starts from the example has it (DO-03).
	var servers struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					ReadHeader time.Duration `json:"read_header_timeout"`
					Write      time.Duration `json:"write_timeout"`
				}
			}
		}
	}
	if err := json.Unmarshal(result, &servers); err != nil || len(servers.Apps.HTTP.Servers) == 0 {
		t.Fatalf("%+v, %v", servers, err)
	}
	for name, server := range servers.Apps.HTTP.Servers {
		if server.ReadHeader != 10*time.Second || server.Write != 0 {
			t.Errorf("%s: read_header %v, write %v", name, server.ReadHeader, server.Write)
		}
	}
}

func adapt(t *testing.T, input string) (string, error) {
	t.Helper()
	result, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, result, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return pretty.String() + "\n", nil
}

// validate provisions a Caddyfile as `caddy validate` does.
func validate(t *testing.T, input string) error {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	result, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	var config caddy.Config
	if err := json.Unmarshal(result, &config); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&config)
}

func TestValidate(t *testing.T) {
	t.Setenv("TEST_KEY", strings.Repeat("0123456789", 4))
	t.Setenv("TEST_SHORT_KEY", "short")
	t.Setenv("TEST_PUBLIC_ISSUER", "https://mcp.example.com")
	const provider = "oidc https://idp.example.com {\nclient_id edge\n}\nallow any\n"
	for _, tc := range []struct {
		name, block string
		want        string // a part of the error; empty for none
	}{
		{"the least there can be", provider, ""},
		{"a key of the operator's", provider + "key {env.TEST_KEY}\n", ""},
		{"a key and a store", provider + "key {env.TEST_KEY}\nstore memory\n", ""},
		{"a key that is too short", provider + "key {env.TEST_SHORT_KEY}\n", "at least 32"},
		{"a key whose variable is not set", provider + "key {env.TEST_UNSET_KEY}\n", "env.TEST_UNSET_KEY"},
		{"a client secret whose variable is not set", "oidc https://idp.example.com {\nclient_id edge\nclient_secret {env.TEST_UNSET}\n}\nallow any\n", "env.TEST_UNSET"},
		{"a client id whose variable is not set", "oidc https://idp.example.com {\nclient_id {env.TEST_UNSET}\n}\nallow any\n", "env.TEST_UNSET"},
		{"a plain-http provider", "oidc http://idp.example.com {\nclient_id edge\n}\nallow any\n", "Caddyfile:3"},
		{"an algorithm that proves nothing", "oidc https://idp.example.com {\nclient_id edge\nalgorithms none\n}\nallow any\n", "Caddyfile:3"},
		{"a redirect URL that is the token endpoint", "issuer https://mcp.example.com\noidc https://idp.example.com {\nclient_id edge\nredirect_url https://mcp.example.com/oauth2/token\n}\nallow any\n", "taken"},
		{"a redirect URL without a path", "issuer https://mcp.example.com\noidc https://idp.example.com {\nclient_id edge\nredirect_url https://mcp.example.com\n}\nallow any\n", "taken"},
		{"a redirect URL on another site", "issuer https://mcp.example.com\noidc https://idp.example.com {\nclient_id edge\nredirect_url https://other.example.com/cb\n}\nallow any\n", "begin with https://mcp.example.com"},
		{"a redirect URL without an issuer", "oidc https://idp.example.com {\nclient_id edge\nredirect_url https://mcp.example.com/cb\n}\nallow any\n", "add \"issuer"},
		{"a hash that is none", "local {\nuser bob@example.com secret\n}\nallow any\n", "Caddyfile:4"},
		{"a user without a domain", "local {\nuser bob $2a$04$O9HJpFTcqDZYbZ8jQ0yfDuyyGJnWKnMVKCBfzvXs2ncrFZoo1TRXq\n}\nallow any\n", "Caddyfile:4"},
		{"a resource over our endpoints", provider + "resource /oauth2/*\n", "answers below /oauth2/"},
		{"a resource over the metadata", provider + "resource /.well-known\n", "resource"},
		{"a loopback exception on a public site", provider + "issuer https://mcp.example.com\nclients {\ncimd allow_loopback\n}\n", "allow_loopback"},
		{"a loopback exception without an issuer", provider + "clients {\ncimd allow_loopback\n}\n", "add, for example"},
		{"a loopback exception on loopback", provider + "issuer http://localhost:8080\nclients {\ncimd allow_loopback\n}\n", ""},
		{"a client with a short secret", provider + "client job {\nsecret {env.TEST_SHORT_KEY}\nredirect_uri http://localhost/cb\n}\n", "client job"},
		{"development mode", "dev\n", ""},
		{"development mode on a site with an address of this computer", "issuer https://127.0.0.1:8443\ndev\n", ""},
		{"development mode on a public site", "issuer {env.TEST_PUBLIC_ISSUER}\ndev\n", "localhost only"},
		{"a pinned document that is not there", provider + "clients {\ncimd pin https://a.example/c.json /nonexistent.json\n}\n", "nonexistent.json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(t, ":8080 {\nmcp_auth {\n"+tc.block+"}\n}\n")
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// JSON can say what a Caddyfile cannot; it must not make the server fall over.
func TestValidateJSON(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	const good = `"providers": [{"provider": "oidc", "issuer": "https://idp.example.com", "client_id": "edge"}], "allow": {"any": true}`
	for _, tc := range []struct{ name, handler, want string }{
		{"a complete handler", good, ""},
		{"a null resource", good + `, "resources": [null]`, "resource"},
		{"a null client", good + `, "known_clients": [null]`, "known_clients"},
		{"a resource without paths", good + `, "resources": [{}]`, "resource"},
		{"an unknown field", good + `, "isuer": "https://mcp.example.com"`, "isuer"},
		{"development mode beside a provider", good + `, "providers": [{"provider": "local", "users": [{"email": "bob@example.com", "hash": "$2a$04$O9HJpFTcqDZYbZ8jQ0yfDuyyGJnWKnMVKCBfzvXs2ncrFZoo1TRXq"}]}, {"provider": "dev"}]`, "no other provider"},
		{"an empty allow-list", `"providers": [{"provider": "oidc", "issuer": "https://idp.example.com", "client_id": "edge"}], "allow": {}`, "allow"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var config caddy.Config
			text := `{"apps": {"http": {"servers": {"s": {"listen": ["127.0.0.1:0"], "routes": [{"handle": [{"handler": "mcp_auth", ` + tc.handler + `}]}]}}}}}`
			if err := json.Unmarshal([]byte(text), &config); err != nil {
				t.Fatal(err)
			}
			err := caddy.Validate(&config)
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
