package mcpauth

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// inForce is the configuration that requests are held to. Streams of an earlier one ask it whether they
// may go on.
var inForce configurations

// configurations are those that have been started and not stopped. While one takes the place of another
// there are two; the later one counts, and if it fails, the earlier one does again.
type configurations struct {
	mu      sync.Mutex
	started []*App
	last    atomic.Pointer[App]
}

func (c *configurations) begin(a *App) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = append(c.started, a)
	c.last.Store(a)
}

func (c *configurations) end(a *App) {
	a.over.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = slices.DeleteFunc(c.started, func(other *App) bool { return other == a })
	c.last.Store(nil)
	if n := len(c.started); n > 0 {
		c.last.Store(c.started[n-1])
	}
}

// admitsStill returns what a stream at issuer asks every minute: whether whoever opened it would still be
// let in. As long as h's own configuration is in force, that costs nothing: it is what opening the stream
// was decided by.
func (h *Handler) admitsStill(s *site) func(*sseproxy.Identity) bool {
	return func(id *sseproxy.Identity) bool {
		if h.app == nil || !h.app.over.Load() {
			return true
		}
		newest := inForce.last.Load()
		if newest == nil {
			return caddy.Exiting() // the end of the process ends streams in its own way
		}
		return slices.ContainsFunc(newest.handlers, func(other *Handler) bool { return other.takesOver(h, s, id) })
	}
}

// takesOver reports whether h, of a later configuration than old, answers for the issuer of before, which is a
// site of old, and would let in a request of id. From which network it would come is not known any more.
func (h *Handler) takesOver(old *Handler, before *site, id *sseproxy.Identity) bool {
	if h.runtime != old.runtime || h.dev != old.dev {
		return false // with other keys, or in development mode, the token opens nothing
	}
	s := h.siteOf(before.issuer)
	if s == nil {
		return false
	}
	for _, res := range s.resources.all {
		if res.URI == id.Resource {
			return s.open || res.Hierarchy.Sufficient(id.Scope) && s.admitsCaller(id, res, before.issuesTokens(), time.Now())
		}
	}
	return false
}

// siteOf returns the site of an issuer that requests were answered for before, or nil if h is not the one
// that answers for it.
func (h *Handler) siteOf(issuer string) *site {
	if h.fixed != nil {
		if h.fixed.issuer != issuer {
			return nil
		}
		return h.fixed
	}
	u, err := url.Parse(issuer)
	if err != nil || !admitsHost(h.around, u.Host) {
		return nil
	}
	parsed, err := parseHost(u.Host)
	if err != nil {
		return nil
	}
	s, err := h.derive(hostKey{u.Scheme == "https", u.Host}, parsed)
	if err != nil || s.issuer != issuer {
		return nil
	}
	return s
}

// admitsCaller is what authenticate decides, for a caller whose token is not at hand any more. own tells
// whether the site that took it issues the tokens of people itself.
func (s *site) admitsCaller(id *sseproxy.Identity, res *resource, own bool, now time.Time) bool {
	switch {
	case id.Subject == "":
		return false // came while no token was needed
	case id.UserIssuer == s.issuer && strings.HasPrefix(id.Subject, access.SubjectPrefix):
		return s.tokens.Holds(id.ClientID, id.ID, res.URI, now)
	case own != s.issuesTokens():
		return false
	case id.UserIssuer == s.issuer:
		return own && s.machines.Admits(id.ClientID, res.URI)
	case !own && !slices.Contains(s.external.Issuers(), id.UserIssuer):
		return false
	}
	if _, gone := s.people.Find(id.UserIssuer, id.Subject); gone {
		return false
	}
	return s.admitsPerson(res, id.Email, id.Groups)
}

// admitsHost reports whether requests for host get past the matchers in all of around.
func admitsHost(around []caddyhttp.MatcherSets, host string) bool {
	r := probe(&url.URL{Path: "/"})
	r.Host = host
	for _, sets := range around {
		if !admits(sets, func(matcher any) bool {
			hosts, ok := matcher.(*caddyhttp.MatchHost)
			if !ok {
				return true
			}
			match, err := hosts.MatchWithError(r)
			return match || err != nil
		}) {
			return false
		}
	}
	return true
}
