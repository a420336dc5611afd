package mcpauth

import (
	"net/url"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// admits reports whether this configuration would let somebody begin the stream that they have. A stream of
// a resource that is not here any more is left alone: a site that a mistake took away may come back.
func (a *App) admits(id *sseproxy.Identity) bool {
	known := false
	for _, h := range a.handlers {
		mine, admitted := h.admitsStream(id)
		if admitted {
			return true
		}
		known = known || mine
	}
	return !known
}

// admitsStream tells whether a stream may be one of this handler's resources, and whether its caller would be let
// in there now. A handler that learns its issuers from requests takes any for its own. Networks are not compared:
// an address does not change while its connection lasts, and a stream does not know it.
func (h *Handler) admitsStream(id *sseproxy.Identity) (mine, admitted bool) {
	s := h.siteOfResource(id.Resource)
	if s == nil {
		return false, false
	}
	for _, res := range s.resources.all {
		if res.URI == id.Resource {
			return true, s.admitsCaller(id, res, time.Now())
		}
	}
	return false, false
}

// admitsCaller compares a caller with the configuration as it is now, as far as it is known who that is.
func (s *site) admitsCaller(id *sseproxy.Identity, res *resource, now time.Time) bool {
	switch {
	case s.open:
		return true
	case id.Subject == "":
		return false // it was open
	case id.UserIssuer == s.issuer && strings.HasPrefix(id.Subject, "token:"):
		return s.tokens.Opens(id.ID, res.URI, now)
	case s.auth == nil && s.external == nil, id.UserIssuer == devIssuer && !s.dev:
		return false
	}
	a := id.Access // requests read it
	return s.admits(&a, res)
}

func (h *Handler) siteOfResource(uri string) *site {
	if h.fixed != nil {
		return h.fixed
	}
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" {
		return nil
	}
	h.derived.mu.Lock()
	defer h.derived.mu.Unlock()
	s, err := h.siteAt(u.Scheme + "://" + u.Host)
	if err != nil {
		return nil
	}
	return s
}
