package mcpauth

import (
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials/page"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// credentialsPath is where people give credentials, below the path of their own page.
const credentialsPath = "/credentials"

// setCredentials prepares the resources of s whose upstreams want credentials of people. It does no I/O.
func (h *Handler) setCredentials(s *site) {
	keeper := credentials.New(credentials.Config{Vault: s.vault, Audit: h.audit, Logger: h.logger, Now: time.Now})
	for i, c := range h.Resources {
		if c.Credentials == nil {
			continue
		}
		res := s.resources.all[i]
		res.credentials = &credentials.Guard{
			Keeper: keeper,
			Upstream: &credentials.Upstream{
				Resource: res.URI, Name: res.Name, Header: c.Credentials.header, Hint: c.Credentials.Hint,
				OAuth: c.Credentials.oauth, RedirectURI: s.issuer + page.CallbackPath(res.path),
			},
			Page:     s.issuer + h.portalPath() + credentialsPath,
			Snapshot: routeGroups,
			Refused:  func() { collectors.Refused(string(reasonCredential)) },
		}
	}
}

// credentialsPage makes the page where people give credentials, or nil if no upstream wants any.
func (h *Handler) credentialsPage(s *site, cookies sessions.Cookies) *page.Page {
	var keeper *credentials.Keeper
	var servers []page.Server
	for _, res := range s.resources.all {
		if res.credentials == nil {
			continue
		}
		keeper = res.credentials.Keeper
		servers = append(servers, page.Server{ID: res.path, Upstream: res.credentials.Upstream, Allows: func(u sessions.User) bool {
			return s.admitsPerson(res, u.Email, strings.Join(u.Groups, ","))
		}})
	}
	if len(servers) == 0 {
		return nil
	}
	return page.New(page.Config{
		Path: h.portalPath() + credentialsPath, HomePath: h.portalPath(), TokensPath: h.portalPath() + "/tokens",
		Keeper: keeper, Servers: servers, Vault: s.vault,
		Forms:   forms.Forms{Origin: s.issuer, Vault: s.vault, Cookies: cookies},
		Session: s.auth.Session, SignIn: s.auth.AskSignIn, ClientAddr: clientAddr,
		SiteName: h.siteName(s.issuer), Audit: h.audit, Logger: h.logger, Now: time.Now,
	})
}

// credentialed returns what serves a request of c behind the guard: next, or next with c's own credential
// in the request.
func (s *site) credentialed(c *caller, res *resource, next caddyhttp.Handler) sseproxy.Handler {
	if res.credentials == nil {
		return next
	}
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		err := res.credentials.Serve(w, r, s.person(&c.Access), next)
		if errors.Is(err, sessions.ErrUnavailable) || errors.Is(err, credentials.ErrServerDown) {
			w.Header().Set("Retry-After", retryWhenOverloaded)
			return turnAway(reasonUnavailable, http.StatusServiceUnavailable, err)
		}
		return err
	})
}

// person returns whose token it is, or nil for a client that acts in its own name: that one has nobody's
// credential.
func (s *site) person(a *sessions.Access) *sessions.User {
	if a.Subject == "" || a.UserIssuer == "" || a.UserIssuer == s.issuer {
		return nil
	}
	return &sessions.User{Issuer: a.UserIssuer, Subject: a.Subject, Email: a.Email, Name: a.Name}
}

// routeGroups notes which groups of routes have had their turn. Caddy lets one route of a group handle a
// request, so the handle blocks behind us would pass a request over that is sent again.
func routeGroups(r *http.Request) (restore func()) {
	groups, ok := r.Context().Value(caddy.CtxKey("route_group")).(map[string]struct{})
	if !ok {
		return func() {}
	}
	before := maps.Clone(groups)
	return func() {
		clear(groups)
		maps.Copy(groups, before)
	}
}
