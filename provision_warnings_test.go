package mcpauth

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
)

func TestRulesThatLetStrangersInAreWarnedOf(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	allow := &Allow{Domains: []string{"example.com", "gmail.com"}}
	policy, err := allow.policy()
	if err != nil {
		t.Fatal(err)
	}
	warnOfPublicDomains([]*access.Policy{nil, policy}, zap.New(core))
	entries := logs.All()
	if len(entries) != 1 || entries[0].ContextMap()["rule"] != "allow domain gmail.com" {
		t.Errorf("logged %v", entries)
	}
}
