package sseproxy

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Identity is who is calling: what their token says, of which the upstream may learn some, and the rest is
// what the life of an open stream hangs on. A session of one resource is none of another; the revocation
// of the grant or of the token ends streams, and so does the end of the token, which may be 0 for never.
type Identity struct {
	sessions.Access
	Assertion string // all of that, signed
}

// UserKey tells users apart, over all issuers, as sessions.User.Key does.
func (id *Identity) UserKey() string {
	return sessions.User{Issuer: id.UserIssuer, Subject: id.Subject}.Key()
}

// Claim names one member of an Identity.
type Claim uint8

// The claims an IdentityHeader may carry.
const (
	Subject Claim = iota
	Email
	Groups
	ClientID
	ClientName
	Scope
	UserIssuer
	Assertion
)

func (id *Identity) claim(c Claim) string {
	switch c {
	case Subject:
		return id.Subject
	case Email:
		return id.Email
	case Groups:
		return id.Groups
	case ClientID:
		return id.ClientID
	case ClientName:
		return id.ClientName
	case Scope:
		return id.Scope
	case UserIssuer:
		return id.UserIssuer
	case Assertion:
		return id.Assertion
	}
	return ""
}

// IdentityHeader is one request header by which the upstream learns who is calling. It is left out where
// the claim is empty; what the client sent under its name never arrives.
type IdentityHeader struct {
	Name  string // CheckHeaderName accepts it
	Claim Claim
}

// DefaultIdentityHeaders are the names most applications behind a single sign-on proxy know.
func DefaultIdentityHeaders() []IdentityHeader {
	return []IdentityHeader{
		{"X-Forwarded-User", Subject},
		{"X-Forwarded-Email", Email},
		{"X-Forwarded-Groups", Groups},
	}
}

// CheckHeaderName tells why a header cannot carry an identity, nil if it can.
func CheckHeaderName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("identity header %q: the name must have 1 to %d characters", name, maxName)
	}
	for i := range len(name) {
		c := name[i] | 0x20
		if !('a' <= c && c <= 'z' || '0' <= name[i] && name[i] <= '9' || name[i] == '-' && i > 0 && i < len(name)-1) {
			return fmt.Errorf("identity header %q: the name must be of letters, digits and inner hyphens", name)
		}
	}
	folded := strings.ToLower(name)
	if canonical := reservedNames[folded]; canonical != "" || hasMeaning(folded) {
		return fmt.Errorf("identity header %q: HTTP or MCP gives that name another meaning", name)
	}
	return nil
}

// hasMeaning reports whether a proxy or an MCP server acts on a header of this name, or drops it on the way.
func hasMeaning(folded string) bool {
	switch folded {
	case "accept", "early-data", "expect", "forwarded", "keep-alive", "range", "te", "trailer", "upgrade",
		"user-agent", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto":
		return true
	}
	for _, prefix := range []string{"accept-", "access-control-", "content-", "if-", "mcp-", "proxy", "sec-"} {
		if strings.HasPrefix(folded, prefix) {
			return true
		}
	}
	return false
}

// setIdentity writes the guard's headers, the values side by side in backing.
func (g *Guard) setIdentity(h http.Header, id *Identity, backing []string) {
	if len(backing) < len(g.headers) {
		backing = make([]string, len(g.headers))
	}
	for i, header := range g.headers {
		value := id.claim(header.Claim)
		if !safeValue(value) {
			value = HeaderValue(value)
		}
		if value == "" {
			continue
		}
		backing[i] = value
		h[header.Name] = backing[i : i+1 : i+1]
	}
}

const upperHex = "0123456789ABCDEF"

// HeaderValue writes a claim so that it can neither end its header nor read as another claim: printable
// ASCII stays, everything else is percent-encoded as UTF-8, so are the percent sign and a space at either
// end, which recipients would trim (RFC 9110, section 5.5). A text with CR, LF or NUL is no name of
// anybody; it gives "".
func HeaderValue(s string) string {
	if strings.ContainsAny(s, "\r\n\x00") {
		return ""
	}
	if safeValue(s) && !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		edge := i == 0 || i == len(s)-1
		if c < ' ' || c > '~' || c == '%' || c == ' ' && edge {
			b.WriteByte('%')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// safeValue reports whether s can stand in a header as it is and arrives unchanged.
func safeValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s == "" || s[0] != ' ' && s[len(s)-1] != ' '
}
