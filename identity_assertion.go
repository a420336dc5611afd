package mcpauth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/assertion"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

const (
	defaultAssertionHeader   = "X-Mcp-Identity"
	defaultAssertionLifetime = time.Minute
)

// IdentityAssertion adds a signed JWT to each request that is let through, for upstreams which other
// machines can reach too: its iss is the issuer, its aud the resource, and it says who is calling,
// with which client and which scopes. It is signed with ES256; the keys are at `/oauth2/jwks`.
type IdentityAssertion struct {
	// The header that carries it. Clients cannot send it. Default: `X-Mcp-Identity`.
	Header string `json:"header,omitempty"`

	// How long an assertion is good, between 10s and 10m. Each is used for up to half of that time.
	// Default: `60s`.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
}

func (a *IdentityAssertion) header() string {
	if a.Header == "" {
		return defaultAssertionHeader
	}
	return a.Header
}

func (a *IdentityAssertion) lifetime() time.Duration {
	if a.Lifetime == 0 {
		return defaultAssertionLifetime
	}
	return time.Duration(a.Lifetime)
}

func (a *IdentityAssertion) check() error {
	if a == nil {
		return nil
	}
	if err := sseproxy.CheckHeaderName(a.header()); err != nil {
		return fmt.Errorf("identity_assertion: %w", err)
	}
	for _, other := range sseproxy.DefaultIdentityHeaders() {
		if strings.EqualFold(other.Name, a.header()) {
			return fmt.Errorf("identity_assertion: header %s tells the upstream something else already", other.Name)
		}
	}
	if l := a.lifetime(); l < 10*time.Second || l > 10*time.Minute {
		return fmt.Errorf("identity_assertion: lifetime is %s: it must be between 10s and 10m", l)
	}
	return nil
}

// identityHeaders are the headers by which upstreams learn who is calling.
func (a *IdentityAssertion) identityHeaders() []sseproxy.IdentityHeader {
	headers := sseproxy.DefaultIdentityHeaders()
	if a != nil {
		headers = append(headers, sseproxy.IdentityHeader{Name: a.header(), Claim: sseproxy.Assertion})
	}
	return headers
}

// signer makes the assertions of an issuer, nil if there are none.
func (a *IdentityAssertion) signer(ring *sessions.Ring, issuer string) *assertion.Signer {
	if a == nil {
		return nil
	}
	return assertion.New(assertion.Config{Keys: ring, Issuer: issuer, Lifetime: a.lifetime()})
}

// vouch adds the assertion to what the upstream is told. A request does not pass without it: an
// upstream that relies on it would take the request for nobody's.
func (s *site) vouch(w http.ResponseWriter, c *caller) error {
	if s.assertions == nil {
		return nil
	}
	var err error
	if c.Assertion, err = s.assertions.For(&c.Access); err == nil {
		return nil
	}
	if errors.Is(err, sessions.ErrUnavailable) {
		w.Header().Set("Retry-After", retryWhenOverloaded)
		return turnAway(reasonUnavailable, http.StatusServiceUnavailable, err)
	}
	return turnAway(reasonUnavailable, http.StatusInternalServerError, err)
}

// parseIdentityAssertion reads how upstreams learn who is calling in a signed form. Syntax:
//
//	identity_assertion {
//	    header   <name>
//	    lifetime <duration>
//	}
func parseIdentityAssertion(d *caddyfile.Dispenser, a *IdentityAssertion) error {
	if d.NextArg() {
		return d.Err("identity_assertion takes a block: identity_assertion { header <name>, lifetime <duration> }")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "header":
			err = oneArg(d, &a.Header)
		case "lifetime":
			err = parseDuration(d, &a.Lifetime)
		default:
			return d.Errf("unknown option %q; identity_assertion knows: header, lifetime", d.Val())
		}
		if err != nil {
			return err
		}
	}
	if err := a.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}
