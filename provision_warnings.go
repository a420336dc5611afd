package mcpauth

import (
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
)

// warnOfPublicDomains tells of rules that let in more people than whoever wrote them may think. Somebody
// may mean it, so they are no errors.
func warnOfPublicDomains(policies []*access.Policy, logger *zap.Logger) {
	for _, p := range policies {
		if p == nil {
			continue
		}
		for _, rule := range p.Public() {
			logger.Warn("an allow rule names a domain where everybody can have an address, or a domain of their own, and so lets strangers in; "+
				"write \"allow email <address>\" for the people who are meant",
				zap.String("rule", "allow "+rule.String()))
		}
	}
}
