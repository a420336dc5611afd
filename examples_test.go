package mcpauth

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

var placeholder = regexp.MustCompile(`\{env\.([A-Z0-9_]+)\}`)

// checkExample makes sure that a Caddyfile which people copy is formatted, adapts and would start.
func checkExample(t *testing.T, text string) {
	t.Helper()
	result, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Errorf("warnings: %v", warnings)
	}
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	for i, name := range placeholder.FindAllStringSubmatch(text, -1) {
		t.Setenv(name[1], "only-for-this-test-0123456789abcdef-"+strconv.Itoa(i))
	}
	var config caddy.Config
	if err := json.Unmarshal(result, &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&config); err != nil {
		t.Errorf("validating: %v", err)
	}
}

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("examples/*.Caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding examples: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			checkExample(t, string(text))
		})
	}
}

// Every Caddyfile in a document works as it stands there.
func TestDocumentedCaddyfiles(t *testing.T) {
	const document = "docs/providers.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```caddyfile\n")
	if len(blocks) < 10 {
		t.Fatalf("%s has %d Caddyfiles", document, len(blocks)-1)
	}
	line := 1
	for i, block := range blocks {
		if i > 0 {
			line++
			block, _, closed := strings.Cut(block, "```\n")
			t.Run("line "+strconv.Itoa(line), func(t *testing.T) {
				if !closed {
					t.Fatal("the block has no end")
				}
				checkExample(t, block)
			})
		}
		line += strings.Count(block, "\n")
	}
}
