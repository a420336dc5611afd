// Package sseproxy is the guard around the next handler. It gets a request whose bearer token has been
// checked, takes from it what the upstream must not see, adds who is calling, and governs how long the
// answer may stream. It knows nothing of OAuth parameters, of Caddy or of MCP messages.
package sseproxy

import (
	"context"
	"net/http"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Handler is the next handler in the chain; caddyhttp.Handler satisfies it.
type Handler interface {
	ServeHTTP(http.ResponseWriter, *http.Request) error
}

// DefaultHeartbeat is below the idle timeouts of common load balancers, NATs and clients.
const DefaultHeartbeat = 25 * time.Second

// Config makes a Guard.
type Config struct {
	// The clock; nil is time.Now.
	Now func() time.Time

	// The open streams of the whole process. nil makes a registry of this guard's own.
	Streams *Registry

	// Revoked, of grants and tokens, is asked when a stream opens and at least every minute of its life.
	// sessions.Revocations.Revoked fits. It must be quick. nil means that only Streams ends streams early.
	Revoked func(sessions.ID) bool

	// Admits is asked as often whether whoever opened a stream would still be let in; it ends as a revoked one
	// otherwise. It must be quick. nil means that the decision to let it in stands.
	Admits func(*Identity) bool

	// A stream may outlive its token by this much. By default it may not.
	ExpiryGrace time.Duration

	// After how much silence an event stream gets a comment, so that nobody between here and the client
	// takes it for dead. 0 is off; DefaultHeartbeat is a good value.
	Heartbeat time.Duration

	// Headers that tell the upstream who is calling. nil means DefaultIdentityHeaders, an empty list none.
	// A header whose name CheckHeaderName refuses is left out.
	IdentityHeaders []IdentityHeader

	// Upgrades lets a request leave HTTP (WebSocket). MCP has no use for that, so it is off by default.
	Upgrades bool

	// Limits bounds how many streams are open; what it leaves no room for is answered with 429. By default it
	// bounds nothing.
	Limits Limits

	// PassAuthorization lets the request's Authorization header through, where it is none that was
	// checked here. By default it ends here.
	PassAuthorization bool

	// BindSessions makes a session usable only by the user who opened it. Off without a Tagger.
	BindSessions Sessions

	// OnEnd is told of every stream that ended, after the fact, with ErrExpired, ErrRevoked or what EndAll
	// was given, ErrHungUp where the client went away, and nil where the upstream ended it. May be nil.
	OnEnd func(*Identity, error)

	// OnRefuse is told of every request that Serve answers by itself, and why. May be nil.
	OnRefuse func(*http.Request, *Identity, Reason)
}

// Reason tells why a request was not served.
type Reason string

// The reasons why Serve answers by itself.
const (
	ReasonSession Reason = "unknown_session"
	ReasonStreams Reason = "too_many_streams"
)

// Guard hands checked requests on. It is safe for concurrent use.
type Guard struct {
	now       func() time.Time
	streams   *Registry
	revoked   func(sessions.ID) bool
	admits    func(*Identity) bool
	grace     time.Duration
	heartbeat time.Duration
	headers   []IdentityHeader
	reserved  reserved
	upgrades  bool
	pass      bool // Authorization
	limits    Limits
	sessions  *Sessions
	onEnd     func(*Identity, error)
	onRefuse  func(*http.Request, *Identity, Reason)
}

// New returns a guard.
func New(c Config) *Guard {
	g := &Guard{
		now: c.Now, streams: c.Streams, revoked: c.Revoked, admits: c.Admits, grace: max(c.ExpiryGrace, 0),
		heartbeat: c.Heartbeat, upgrades: c.Upgrades, pass: c.PassAuthorization, limits: c.Limits, onEnd: c.OnEnd, onRefuse: c.OnRefuse,
	}
	if g.now == nil {
		g.now = time.Now
	}
	if g.streams == nil {
		g.streams = NewRegistry()
	}
	if c.BindSessions.Tagger != nil {
		g.sessions = &c.BindSessions
		g.sessions.paths = &g.streams.paths
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

// Call is one request's way through a guard. All that is known of the request lies in this one piece of
// memory. It is used once.
type Call struct {
	Identity

	// AllowOrigin is the Access-Control-Allow-Origin of the answer, whatever the upstream says; empty leaves
	// the upstream's alone.
	AllowOrigin string

	// Path is what the client asked for, where that has been rewritten since. Empty is the request's own.
	Path string

	exchange exchange
}

// Serve calls next for a request of id, whose token has been checked, and returns what next returns, or
// nil for a stream that was ended before its time. It alters r's header.
func (g *Guard) Serve(w http.ResponseWriter, r *http.Request, id *Identity, next Handler) error {
	return g.ServeCall(w, r, &Call{Identity: *id}, next)
}

// ServeCall is Serve for a Call, which must not change before it returns.
func (g *Guard) ServeCall(w http.ResponseWriter, r *http.Request, c *Call, next Handler) (err error) {
	x, id := &c.exchange, &c.Identity
	// Any answer but that to HEAD may turn out to be a stream, whatever the request says it accepts, so
	// each request can be ended. What else a stream needs is made when the answer turns out to be one.
	ctx, cancel := context.WithCancelCause(r.Context())
	x.ResponseWriter, x.guard, x.call, x.cancel = w, g, c, cancel
	x.since, x.method = g.streams.ends.Load(), r.Method
	if c.Path == "" {
		c.Path = r.URL.Path
	}
	defer x.finish(&err)
	g.prepare(r.Header, id, x.values[:])
	if g.sessions != nil {
		var ok bool
		if x.session, ok = g.sessions.admit(r, id); !ok {
			g.refuse(r, id, ReasonSession)
			return unknownSession(w)
		}
		g.sessions.wantPlain(r)
	}
	if g.streams.full(id, g.limits) && wantsStream(r) {
		g.refuse(r, id, ReasonStreams)
		return tooManyStreams(w)
	}
	x.request = *r.WithContext(ctx) // the copy lies in x
	x.request.Trailer = nil         // net/http writes the trailers into its own request
	return next.ServeHTTP(x, &x.request)
}

func (g *Guard) refuse(r *http.Request, id *Identity, reason Reason) {
	if g.onRefuse != nil {
		g.onRefuse(r, id, reason)
	}
}

// prepare makes the client's header the upstream's.
func (g *Guard) prepare(h http.Header, id *Identity, backing []string) {
	// MCP authorization, "Access Token Privilege Restriction": the client's token MUST NOT go on to the upstream.
	if !g.pass {
		delete(h, "Authorization")
	}
	reduceConnection(h, g.upgrades)
	clean(h, g.reserved)
	g.setIdentity(h, id, backing)
}
