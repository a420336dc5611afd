package mcpauth

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

func TestTheExamplesOfLaptopsAndTenants(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for _, name := range []string{"OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "ACME_CLIENT_ID", "ACME_CLIENT_SECRET", "ACME_KEY"} {
		t.Setenv(name, "only-for-this-test-0123456789abcdef")
	}
	for file, wants := range map[string][]string{
		"examples/dev.Caddyfile":     {`"provider":"dev"`, `"email":"ann@example.com"`},
		"examples/tenants.Caddyfile": {`"*.mcp.example.com"`, `{http.request.host.labels.3}`, `"keys":["{env.ACME_KEY}"]`},
	} {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			result, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": file})
			if err != nil {
				t.Fatal(err)
			}
			if len(warnings) > 0 {
				t.Errorf("warnings: %v", warnings)
			}
			for _, want := range wants {
				if !strings.Contains(string(result), want) {
					t.Errorf("it adapts to something without %s:\n%s", want, result)
				}
			}
			var config caddy.Config
			if err := json.Unmarshal(result, &config); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(&config); err != nil {
				t.Errorf("validating: %v", err)
			}
		})
	}
}
