package mcpauth

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
)

func TestExpiredTokensAreWarnedOfByTheDateAsWritten(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	token := &Token{Name: "ci", SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", Expires: "2026-03-31"}
	resolved, err := token.resolve()
	if err != nil {
		t.Fatal(err)
	}
	warnOfExpired([]*serviceToken{resolved}, resolved.token.Expires, zap.New(core))
	if entries := logs.All(); len(entries) != 1 || entries[0].ContextMap()["expires"] != "2026-03-31" {
		t.Errorf("logged %v", entries)
	}
}

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
