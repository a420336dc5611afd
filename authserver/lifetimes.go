package authserver

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// ClientLifetimes are how long tokens of some clients live, where that differs from the others. Zero
// means that it does not.
type ClientLifetimes struct {
	Access  time.Duration
	Refresh time.Duration
}

// lifetimesOf returns how long the tokens of a grant live. What a client calls itself has no say: a
// profile is found by the client's id, by the host of its metadata document, or by the https host
// that its code was sent to, the most specific first.
func (s *Server) lifetimesOf(g sessions.Grant) (access time.Duration, policy sessions.GrantPolicy) {
	access, policy = s.Lifetimes.Access, s.Lifetimes.Grant
	for _, fact := range [...]string{g.ClientLabel, documentHost(g.ClientLabel), webHost(g.RedirectHost)} {
		profile, ok := s.ClientLifetimes[fact]
		if fact == "" || !ok {
			continue
		}
		if profile.Access > 0 {
			access = profile.Access
		}
		if profile.Refresh > 0 {
			policy.Sliding = profile.Refresh
		}
		break
	}
	return access, policy
}

// documentHost is the host of the metadata document that a client was known by: its label is the
// document's URL then, and no other client's label is one.
func documentHost(label string) string {
	u, err := url.Parse(label)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	return strings.ToLower(u.Host)
}

// webHost is host if it is one of the web: the others are programs on the person's device, which
// anybody can name.
func webHost(host string) string {
	name, _, _ := strings.Cut(host, ":")
	_, notAName := netip.ParseAddr(name)
	if notAName == nil || !strings.Contains(name, ".") || strings.ContainsAny(host, "/[") || strings.HasSuffix(host, ":") {
		return ""
	}
	return host
}
