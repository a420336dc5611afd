package mcpauth

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

// Whoever writes a rule for their log has to find everything that can stand there.
func TestTheAuditLogIsDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	words := make(map[string]string)
	for _, kind := range audit.Types() {
		words[string(kind)] = "decision"
	}
	for reason := range audited {
		words[string(reason)] = "reason"
	}
	for _, reason := range reasonsOfPages(t) {
		words[reason] = "reason"
	}
	for _, by := range []audit.Actor{audit.ByClient, audit.ByPerson, audit.ByOperator, audit.ByProvider} {
		words[string(by)] = "actor"
	}
	core, logs := observer.New(zap.InfoLevel)
	event := audit.Event{Type: audit.SignIn, Allowed: true}
	for i := range reflect.TypeFor[audit.Event]().NumField() {
		if field := reflect.ValueOf(&event).Elem().Field(i); field.Kind() == reflect.String {
			field.SetString("x")
		}
	}
	audit.Log{Logger: zap.New(core)}.Record(t.Context(), event)
	for field := range logs.All()[0].ContextMap() {
		words[field] = "field"
	}
	for word, what := range words {
		if !strings.Contains(string(text), "`"+word+"`") {
			t.Errorf("docs/audit.md does not tell about the %s %s", what, word)
		}
	}
	if len(words) < 40 {
		t.Errorf("only %d words were looked for", len(words))
	}
}

// deniedByPage finds a text that stands where a page refuses something: on the line, or within two.
var deniedByPage = regexp.MustCompile(`(?:audit\.AccessDenied[^\n]*(?:\n[^\n]*){0,2}?|recordForeign\([^\n]*)"([^"\n]{3,})"`)

// reasonsOfPages are the reasons of access_denied beside those of the guard.
func reasonsOfPages(t *testing.T) []string {
	t.Helper()
	reasons := []string{"no allow rule matches: "}
	for _, pattern := range []string{"authserver/*.go", "portal/*.go", "credentials/page/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("finding %s: %v", pattern, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range deniedByPage.FindAllStringSubmatch(string(source), -1) {
				reasons = append(reasons, found[1])
			}
		}
	}
	slices.Sort(reasons)
	if reasons = slices.Compact(reasons); len(reasons) < 3 {
		t.Errorf("only %q were found in the code", reasons)
	}
	return reasons
}
