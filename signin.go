package mcpauth

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
)

// callbackPather is implemented by provider modules whose redirect URL is configured.
type callbackPather interface {
	redirectURL() string
}

// domainer is implemented by provider modules that e-mail domains can belong to.
type domainer interface {
	emailDomains() []string
}

// addProvider takes a provider in, together with what its module says about its place in the site.
func (o *Options) addProvider(module ProviderModule) error {
	p, err := module.Provider()
	if err != nil {
		return err
	}
	for _, other := range o.providers {
		if other.ID() == p.ID() {
			return errSameID(p.ID())
		}
	}
	o.providers = append(o.providers, p)
	if m, ok := module.(callbackPather); ok && m.redirectURL() != "" {
		if o.callbacks == nil {
			o.callbacks = make(map[string]string)
		}
		o.callbacks[p.ID()] = m.redirectURL()
	}
	if m, ok := module.(domainer); ok {
		for _, domain := range m.emailDomains() {
			if o.domains == nil {
				o.domains = make(map[string]string)
			}
			if other, taken := o.domains[domain]; taken {
				return fmt.Errorf("the e-mail domain %s belongs to both %q and %q; write it at one of them", domain, other, p.ID())
			}
			o.domains[domain] = p.ID()
		}
	}
	return nil
}

func errSameID(id string) error {
	return fmt.Errorf("two providers have the id %[1]q; give the second one another, for example \"id %[1]s2\". "+
		"Its redirect URL to register is then <issuer>%[2]s/%[1]s2", id, authserver.CallbackPath)
}

// checkProviderIDs finds providers with the same id before any module is provisioned, where the
// Caddyfile can still say which line it was. Without an id a provider is called as its module.
func checkProviderIDs(raw []json.RawMessage) error {
	var seen []string
	for _, provider := range raw {
		var named struct {
			Provider string `json:"provider"`
			ID       string `json:"id"`
		}
		if err := json.Unmarshal(provider, &named); err != nil {
			return fmt.Errorf("reading a provider: %w", err)
		}
		if named.ID == "" {
			named.ID = named.Provider
		}
		if slices.Contains(seen, named.ID) {
			return errSameID(named.ID)
		}
		seen = append(seen, named.ID)
	}
	return nil
}

// openGrouper is implemented by providers where people may choose what their groups are called.
type openGrouper interface {
	OpenGroups() bool
}

// checkGroups refuses group rules where one provider's groups are the operator's, and another's anybody's:
// rules are for all providers, so whoever takes the name of a group there would be let in by it here.
func checkGroups(providers []identity.Provider, rules ...*access.Policy) error {
	byGroup := slices.ContainsFunc(rules, func(p *access.Policy) bool { return p != nil && p.AdmitsGroups() })
	if len(providers) < 2 || !byGroup {
		return nil
	}
	for _, p := range providers {
		if open, ok := p.(openGrouper); ok && open.OpenGroups() {
			return fmt.Errorf("provider %q: everybody can found an organization there and name it as a group that an allow rule lets in, "+
				"and means another provider's; write \"organizations <organization...>\" in its block", p.ID())
		}
	}
	return nil
}

// callbackPaths gives each provider that takes redirects a path of its own, so that an answer of one
// never passes for another's (RFC 9700, section 4.4). The first one without a configured redirect
// URL has the path that is registered when there is only one.
func callbackPaths(issuer string, providers []identity.Provider, configured map[string]string) (map[string]string, error) {
	paths := make(map[string]string, len(providers))
	owners := make(map[string]string, len(providers))
	claim := func(id, path string) error {
		if other, taken := owners[path]; taken {
			return fmt.Errorf("the providers %q and %q have the same redirect URL, %s%s; give one of them another with redirect_url",
				other, id, issuer, path)
		}
		paths[id], owners[path] = path, id
		return nil
	}
	for _, p := range providers {
		redirectURL := configured[p.ID()]
		if redirectURL == "" {
			continue
		}
		u, err := url.Parse(redirectURL)
		if err != nil || !oauthmeta.SameResource(u.Scheme+"://"+u.Host, issuer) {
			return nil, fmt.Errorf("redirect_url %s is not on this site; it has to begin with %s", redirectURL, issuer)
		}
		if err := claim(p.ID(), u.Path); err != nil {
			return nil, err
		}
	}
	for _, p := range providers {
		if _, ok := p.(identity.Redirecting); !ok || configured[p.ID()] != "" {
			continue
		}
		path := authserver.CallbackPath
		if _, taken := owners[path]; taken {
			path += "/" + p.ID()
		}
		if err := claim(p.ID(), path); err != nil {
			return nil, err
		}
	}
	return paths, nil
}
