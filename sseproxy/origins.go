package sseproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ErrOrigin is a request from a page that may not use the protected resources.
var ErrOrigin = errors.New("origin not allowed")

// Names that stand for origins in a configuration.
const (
	AnyOrigin       = "*"        // of every page
	LoopbackOrigins = "loopback" // of pages that a program on the user's own machine serves, on any port
	OwnOrigin       = "self"     // of the site's own pages, which are always allowed
)

// Origins is the allow-list of the web pages whose scripts may use a protected resource (MCP 2025-11-25,
// "Security Warning": the Origin header MUST be validated). Origins are compared whole, byte for byte:
// scheme, host and port (RFC 6454, section 5); a part of one says nothing.
type Origins struct {
	any, loopback bool
	known         map[string]bool
}

// NewOrigins returns the list of own, the site's origin, and of those allowed, each an origin or one of
// the names above.
func NewOrigins(own string, allowed []string) (*Origins, error) {
	o := &Origins{known: map[string]bool{own: true}}
	for _, entry := range allowed {
		switch entry {
		case AnyOrigin:
			if len(allowed) > 1 {
				return nil, fmt.Errorf("origins %s allows everything, so it stands alone", AnyOrigin)
			}
			o.any = true
		case LoopbackOrigins:
			o.loopback = true
		case OwnOrigin:
		default:
			origin, err := parseOrigin(entry)
			if err != nil {
				return nil, err
			}
			o.known[origin] = true
		}
	}
	return o, nil
}

// parseOrigin writes an origin as browsers do (RFC 6454, section 6.2).
func parseOrigin(entry string) (string, error) {
	wrong := func(why string) (string, error) {
		return "", fmt.Errorf("origin %q %s; write a whole origin such as https://app.example.com, or %s, %s or %s",
			entry, why, LoopbackOrigins, OwnOrigin, AnyOrigin)
	}
	u, err := url.Parse(entry)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "" || u.Hostname() == "":
		return wrong("is no origin")
	case strings.Contains(u.Host, "*"):
		return wrong("has a wildcard: whoever gets a name below it would be let in")
	case u.User != nil || u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(entry, "#"):
		return wrong("has more than scheme, host and port")
	}
	for i := range len(u.Host) {
		if u.Host[i] <= ' ' || u.Host[i] > '~' {
			return wrong("has a host beyond ASCII: write it as browsers send it, xn--...")
		}
	}
	host := strings.ToLower(u.Host)
	switch {
	case strings.HasSuffix(host, ":"):
		return wrong("has an empty port")
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host, nil
}

// Check returns what Access-Control-Allow-Origin has to say to the page that sent a request, "" where no
// page did. The error is ErrOrigin.
func (o *Origins) Check(h http.Header) (allow string, err error) {
	values, ok := h["Origin"]
	switch {
	case !ok:
		return "", nil
	case len(values) != 1:
		return "", ErrOrigin
	case o.any:
		return AnyOrigin, nil
	case o.known[values[0]], o.loopback && isLoopbackOrigin(values[0]):
		return values[0], nil
	}
	return "", ErrOrigin
}

func isLoopbackOrigin(origin string) bool {
	rest, ok := strings.CutPrefix(origin, "http://")
	if !ok {
		if rest, ok = strings.CutPrefix(origin, "https://"); !ok {
			return false
		}
	}
	for _, host := range [...]string{"localhost", "127.0.0.1", "[::1]"} {
		if port, ok := strings.CutPrefix(rest, host); ok {
			return port == "" || port[0] == ':' && isPort(port[1:])
		}
	}
	return false
}

func isPort(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 5
}
