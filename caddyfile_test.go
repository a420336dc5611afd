package mcpauth

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
