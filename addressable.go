package mcpauth

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// warnUnaddressable tells of a site whose public address can be told from no request that reaches it, so that
// it answers none: over plain HTTP only one for a loopback host tells it (see claimedBy), and here other hosts
// are served alone.
func (h *Handler) warnUnaddressable(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || h.dev || h.Issuer != "" || !h.protection().oauth() || len(server.TLSConnPolicies) > 0 {
		return
	}
	for _, sets := range h.around {
		if !admits(sets, mayBeLoopback) {
			h.logger.Warn("this site will answer no request: " + errIssuerUnknown.Error())
			return
		}
	}
}

// mayBeLoopback reports whether a request for a loopback host could satisfy matcher. What a placeholder or
// a wildcard stands for is not looked into.
func mayBeLoopback(matcher any) bool {
	hosts, ok := matcher.(*caddyhttp.MatchHost)
	return !ok || slices.ContainsFunc(*hosts, func(host string) bool {
		return strings.ContainsAny(host, "{*") || loopbackHost(hostname(host))
	})
}
