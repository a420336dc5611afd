// Package sseproxy is the guard around the next handler. It gets a request whose bearer token has been
// checked, takes from it what the upstream must not see, adds who is calling, and governs how long the
// answer may stream. It knows nothing of OAuth parameters, of Caddy or of MCP messages.
package sseproxy

import (
	"net/http"
	"time"
)

// Handler is the next handler in the chain; caddyhttp.Handler satisfies it.
type Handler interface {
	ServeHTTP(http.ResponseWriter, *http.Request) error
}

// Config makes a Guard.
type Config struct {
	// The clock; nil is time.Now.
	Now func() time.Time

	// Headers that tell the upstream who is calling. nil means DefaultIdentityHeaders, an empty list none.
	// A header whose name CheckHeaderName refuses is left out.
	IdentityHeaders []IdentityHeader

	// Upgrades lets a request leave HTTP (WebSocket). MCP has no use for that, so it is off by default.
	Upgrades bool
}

// Guard hands checked requests on. It is safe for concurrent use.
type Guard struct {
	now      func() time.Time
	headers  []IdentityHeader
	reserved reserved
	upgrades bool
}

// New returns a guard.
func New(c Config) *Guard {
	g := &Guard{now: c.Now, upgrades: c.Upgrades}
	if g.now == nil {
		g.now = time.Now
	}
	headers := c.IdentityHeaders
	if headers == nil {
		headers = DefaultIdentityHeaders()
	}
	names := make([]string, 0, len(headers))
	for _, header := range headers {
		if CheckHeaderName(header.Name) != nil {
			continue
		}
		header.Name = http.CanonicalHeaderKey(header.Name)
		g.headers = append(g.headers, header)
		names = append(names, header.Name)
	}
	g.reserved = reservedNames.with(names...)
	return g
}

// Serve calls next for a request of id, whose token has been checked.
func (g *Guard) Serve(w http.ResponseWriter, r *http.Request, id *Identity, next Handler) error {
	g.prepare(r.Header, id, nil)
	r.Trailer = nil
	return next.ServeHTTP(w, r)
}

// prepare makes the client's header the upstream's.
func (g *Guard) prepare(h http.Header, id *Identity, backing []string) {
	// MCP authorization, "Access Token Privilege Restriction": the client's token MUST NOT go on to the upstream.
	delete(h, "Authorization")
	reduceConnection(h, g.upgrades)
	clean(h, g.reserved)
	g.setIdentity(h, id, backing)
}
