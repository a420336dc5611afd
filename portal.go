package mcpauth

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/portal"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	portalOff = "off"
	// Where a person's page is, on a site that is ours as a whole, and on one that is not: there the
	// paths outside of the resources are somebody else's.
	portalPath, portalPathAmongOthers = "/my", "/oauth2/my"
)

// checkPortal makes sure that a path is one that can be compared byte for byte.
func checkPortal(p string) error {
	const advice = `write a plain path such as "portal /account", or "portal off"`
	switch {
	case p == "" || p == portalOff || p == portalPathAmongOthers:
		return nil
	case p[0] != '/' || p == "/" || path.Clean(p) != p:
		return fmt.Errorf("portal %s: %s", p, advice)
	}
	for i := range len(p) {
		switch c := p[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '/', c == '-', c == '_', c == '.', c == '~':
		default:
			return fmt.Errorf("portal %s: %s", p, advice)
		}
	}
	first, _, _ := strings.Cut(p[1:], "/")
	if first = strings.ToLower(first); first == "oauth2" || first == ".well-known" {
		return fmt.Errorf("portal %s: mcp_auth has other endpoints below /oauth2/ and /.well-known/; %s", p, advice)
	}
	return nil
}

// portalPath is where people have their page, or "" if they have none.
func (h *Handler) portalPath() string {
	switch {
	case h.Portal == portalOff, h.facade != nil: // a facade has no sessions
		return ""
	case h.Portal != "":
		return h.Portal
	case len(h.Resources) > 0:
		return portalPathAmongOthers
	}
	return portalPath
}

// clearOfResources refuses a page that would cover a part of one resource among several: whoever writes
// that expects something else from it.
func (h *Handler) clearOfResources(resources *resourceSet, p string) error {
	if len(h.Resources) == 0 || p == "" {
		return nil
	}
	if res, ok := resources.paths.Match(p); ok && res.path != "" {
		return fmt.Errorf("portal %s lies in the resource %s; choose a path outside of the resources", p, res.path)
	}
	return nil
}

// newPortal makes the pages of a site's people, or nil if there are none. The authorization server
// signs them in.
func (h *Handler) newPortal(s *site, cookies sessions.Cookies) *portal.Portal {
	if h.portalPath() == "" {
		return nil
	}
	names := make(map[string]string, len(h.providers))
	for _, p := range h.providers {
		names[p.ID()] = p.Name()
	}
	var credentialsAt string
	if s.credentials != nil {
		credentialsAt = h.portalPath() + credentialsPath
	}
	return portal.New(portal.Config{
		Path: h.portalPath(),

		CredentialsPath: credentialsAt,

		SignOutPath:  authserver.LogoutPath,
		Vault:        s.vault,
		Cookies:      cookies,
		Forms:        forms.Forms{Origin: s.issuer, Vault: s.vault, Cookies: cookies},
		Session:      s.auth.Session,
		SignIn:       s.auth.AskSignIn,
		Resources:    s.resourcesOf,
		ProviderName: func(id string) string { return names[id] },
		ClientAddr:   clientAddr,
		SiteName:     h.siteName(s.issuer),
		Audit:        h.audit,
		Logger:       h.logger,
		Now:          time.Now,
	})
}

// resourcesOf lists the resources that a person may use, or all of them.
func (s *site) resourcesOf(u *sessions.User) []portal.Resource {
	var all []portal.Resource
	for _, res := range s.resources.all {
		if u != nil && !s.admits(&sessions.Access{
			UserIssuer: u.Issuer, Subject: u.Subject, Email: u.Email, Groups: strings.Join(u.Groups, ","),
		}, res) {
			continue
		}
		all = append(all, portal.Resource{URI: res.URI, Name: res.Name, Scopes: res.Scopes})
	}
	return all
}

// parsePortal sets up a person's page from Caddyfile tokens. Syntax:
//
//	portal <path>|off
func parsePortal(d *caddyfile.Dispenser, target *string) error {
	if err := oneArg(d, target); err != nil {
		return err
	}
	if err := checkPortal(*target); err != nil {
		return d.WrapErr(err)
	}
	return nil
}
