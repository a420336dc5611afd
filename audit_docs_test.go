package mcpauth

import (
	"os"
	"reflect"
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
