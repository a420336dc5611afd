package mcpauth

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/dustin/go-humanize"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

// GuardOptions are the settings of what stands before the protected resources. A limit of 0 is off; one
// that is not given is the default.
type GuardOptions struct {
	// How long streams live and how many there may be. Default: as for each of its options.
	Streams *Streams `json:"streams,omitempty"`

	// The web pages whose scripts may use the protected resources, each as a whole origin such as
	// `https://app.example.com`. A request with another Origin header is refused with 403; programs
	// that are no browsers send none. `loopback` stands for pages on the user's own machine, where
	// the MCP Inspector runs, and `*` for every page: that is safe here, since a page needs a token
	// that it was given and never a cookie. The site's own pages are always allowed.
	// Default: `loopback`.
	Origins []string `json:"origins,omitempty"`

	// The largest MCP message in bytes; more is refused with 413. It applies to requests that are
	// JSON or say by their headers that they are MCP. What else lives on a protected resource is for
	// the `request_body` directive. Default: 16 MiB.
	MaxBody *int64 `json:"max_body,omitempty"`

	// How many access tokens that were never issued one client address may present per minute; IPv6
	// addresses count by their /64. Above it such tokens are answered with 429. Valid, expired and
	// revoked ones from the same address are not affected. Default: 60.
	MaxBadTokens *int `json:"max_bad_tokens,omitempty"`

	// How many requests one person, or one program with a token of its own, may make per minute, all of
	// which may come at once. One more is answered with 429. Each machine counts for itself, and starts
	// over when the configuration is loaded. Default: 6000.
	MaxRequestsPerUser *int `json:"max_requests_per_user,omitempty"`

	// Whether requests may leave HTTP for a WebSocket. MCP has no use for it. Default: `false`.
	Upgrades *bool `json:"upgrades,omitempty"`
}

// Streams bounds open streams: server-sent events and other answers without an end.
type Streams struct {
	// For how long a stream may outlive its access token, at most 1h. Default: 0.
	ExpiryGrace caddy.Duration `json:"expiry_grace,omitempty"`

	// After how much silence an event stream gets a comment, which clients ignore and which keeps
	// everybody on the way from taking the stream for dead. Default: `25s`.
	Heartbeat *caddy.Duration `json:"heartbeat,omitempty"`

	// How many streams one person may have open, over all clients and sites. A request for one more
	// is answered with 429. Default: 256.
	MaxPerUser *int `json:"max_per_user,omitempty"`

	// How many streams may be open in all. Each holds some 90 KiB here. Default: 50000.
	Max *int `json:"max,omitempty"`
}

// The defaults are far above what people do, and below what would be felt.
const (
	defaultMaxBody      = 16 << 20
	defaultBadTokens    = 60
	defaultRequests     = 6000
	defaultMaxPerUser   = 256
	defaultMaxStreams   = 50_000
	maxExpiryGrace      = time.Hour
	throttledAddresses  = 10_000
	shortestHeartbeat   = time.Second
	longestHeartbeat    = time.Hour
	smallestBody        = 1 << 10
	retryWhenOverloaded = "5"
)

// guardSettings are GuardOptions, resolved.
type guardSettings struct {
	grace, heartbeat time.Duration
	limits           sseproxy.Limits
	origins          []string
	maxBody          int64             // 0: none
	badTokens        *throttle.Limiter // nil: no limit
	requests         *throttle.Rate    // of each person; nil: no limit
	upgrades         bool
}

// inherit fills what is not set from the defaults.
func (o *GuardOptions) inherit(d *GuardOptions) {
	if o.Streams == nil {
		o.Streams = d.Streams
	}
	if len(o.Origins) == 0 {
		o.Origins = d.Origins
	}
	if o.MaxBody == nil {
		o.MaxBody = d.MaxBody
	}
	if o.MaxBadTokens == nil {
		o.MaxBadTokens = d.MaxBadTokens
	}
	if o.MaxRequestsPerUser == nil {
		o.MaxRequestsPerUser = d.MaxRequestsPerUser
	}
	if o.Upgrades == nil {
		o.Upgrades = d.Upgrades
	}
}

// settings joins the options with the defaults and checks their bounds.
func (o *GuardOptions) settings() (guardSettings, error) {
	s := guardSettings{origins: o.Origins, upgrades: o.Upgrades != nil && *o.Upgrades}
	if len(s.origins) == 0 {
		s.origins = []string{sseproxy.LoopbackOrigins}
	}
	if _, err := sseproxy.NewOrigins(noIssuer, s.origins); err != nil {
		return s, err
	}
	if s.maxBody = orDefault(o.MaxBody, defaultMaxBody); s.maxBody != 0 && s.maxBody < smallestBody {
		return s, fmt.Errorf("max_body is %d bytes: no MCP message fits; write, for example, max_body 16MiB, or max_body off", s.maxBody)
	}
	bad, err := limit("max_bad_tokens", o.MaxBadTokens, defaultBadTokens)
	if err != nil {
		return s, err
	}
	if bad > 0 {
		s.badTokens = throttle.New(bad, time.Minute/time.Duration(bad), throttledAddresses)
	}
	requests, err := limit("max_requests_per_user", o.MaxRequestsPerUser, defaultRequests)
	if err != nil {
		return s, err
	}
	if requests > 0 {
		s.requests = throttle.NewRate(requests)
	}
	return s, o.Streams.resolve(&s)
}

func (o *Streams) resolve(s *guardSettings) (err error) {
	if o == nil {
		o = new(Streams)
	}
	if s.limits.PerUser, err = limit("streams: max_per_user", o.MaxPerUser, defaultMaxPerUser); err != nil {
		return err
	}
	if s.limits.All, err = limit("streams: max", o.Max, defaultMaxStreams); err != nil {
		return err
	}
	if s.grace = time.Duration(o.ExpiryGrace); s.grace < 0 || s.grace > maxExpiryGrace {
		return fmt.Errorf("streams: expiry_grace is %s: it must be at most %s", s.grace, maxExpiryGrace)
	}
	s.heartbeat = time.Duration(orDefault(o.Heartbeat, caddy.Duration(sseproxy.DefaultHeartbeat)))
	if s.heartbeat != 0 && (s.heartbeat < shortestHeartbeat || s.heartbeat > longestHeartbeat) {
		return fmt.Errorf("streams: heartbeat is %s: it must be between %s and %s, or off", s.heartbeat, shortestHeartbeat, longestHeartbeat)
	}
	return nil
}

// limit resolves a number; 0 is no limit.
func limit(name string, given *int, standard int) (int, error) {
	n := orDefault(given, standard)
	if n < 0 || n > 10_000_000 {
		return 0, fmt.Errorf("%s is %d: write a number from 1 to 10000000, or off", name, n)
	}
	return n, nil
}

// orDefault is what was given, or else the default.
func orDefault[T any](given *T, standard T) T {
	if given == nil {
		return standard
	}
	return *given
}

// parseSize reads a size such as 16MiB.
func parseSize(text string) (int64, error) {
	size, err := humanize.ParseBytes(text)
	if err != nil || size > 1<<40 {
		return 0, fmt.Errorf("%q is no size; write, for example, 16MiB", text)
	}
	return int64(size), nil
}
