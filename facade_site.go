package mcpauth

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver/facade"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// at is the provider of one site.
func (f *facadeClient) at(resources *resourceSet, tokens external.Servers) *facade.Provider {
	return f.At(tokens, func(resource, audience string) bool {
		for _, r := range resources.all {
			if (resource == "" || r.URI == resource) && resources.holds(r, audience) {
				return true
			}
		}
		return false
	})
}

// signInAt is where people sign in at a site, which redirect URLs are configured for that, and whose access tokens
// clients get then; nil means ours.
func (h *Handler) signInAt(resources *resourceSet) (providers []identity.Provider, callbacks map[string]string, relay *facade.Provider) {
	if h.facade == nil {
		return h.providers, h.callbacks, nil
	}
	relay = h.facade.at(resources, h.Options.external)
	if h.facade.redirectURL != "" {
		callbacks = map[string]string{facade.ID: h.facade.redirectURL}
	}
	return []identity.Provider{relay}, callbacks, relay
}

// redirectURLs are the ones that are configured, of providers or of the facade.
func (h *Handler) redirectURLs() []string {
	urls := slices.Collect(maps.Values(h.callbacks))
	if h.facade != nil && h.facade.redirectURL != "" {
		urls = append(urls, h.facade.redirectURL)
	}
	return urls
}

// relayBy makes an authorization server one that hands on the tokens of relay.
func (f *facadeClient) relayBy(relay *facade.Provider, c *authserver.Config) {
	c.Relay, c.RelayedScopes, c.WholeScope = relay, f.required, f.wholeScope
	c.DeviceFlow = false
}

// nameScopes gives resources without scopes of their own those that are needed everywhere.
func (s *site) nameScopes(servers external.Servers) {
	for _, r := range s.resources.all {
		if len(r.Scopes) == 0 && len(servers) > 0 {
			r.scope = servers[0].RequiredScope()
			r.Scopes = strings.Fields(r.scope)
		}
	}
}
