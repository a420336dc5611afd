package clients

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	maxRedirectURIs = 10
	maxRedirectURI  = 1024
)

// RedirectKind tells what stands behind a redirect URI.
type RedirectKind int

// The kinds of redirect URIs. The zero value is a URI that nobody may be sent to.
const (
	RedirectRefused RedirectKind = iota
	// HTTPS is a web site; its host is what a person can judge.
	HTTPS
	// Loopback is some program on the person's own machine: whichever holds the port.
	Loopback
	// PrivateScheme is some program that claimed a scheme on the person's machine.
	PrivateScheme
)

// redirectURI is a redirect URI in its parts, each byte for byte as written.
type redirectURI struct {
	kind         RedirectKind
	scheme       string
	host, port   string // host of an IPv6 address with its brackets; both "" for a private-use scheme
	rest         string // path and query; for a private-use scheme everything after the colon
	authorityEnd int    // where rest or, for a private-use scheme, its path starts in the text
}

// parseRedirect takes apart a redirect URI and applies the rules that hold for every client: https
// with a real host name, http on loopback only, private-use schemes that are known or reverse domain
// names; no fragment (RFC 6749, section 3.1.2), no userinfo, no wildcard, nothing that a browser and
// this function could read differently.
func parseRedirect(uri string, allowed schemes) (redirectURI, error) {
	if err := checkRedirectText(uri); err != nil {
		return redirectURI{}, err
	}
	if name := answersIn(uri); name != "" {
		return redirectURI{}, errors.New("has the query parameter " + name + ", which is part of the answer")
	}
	scheme, after, found := strings.Cut(uri, ":")
	if !found || !validScheme(scheme) {
		return redirectURI{}, errors.New("is not an absolute URI with a lower-case scheme")
	}
	u := redirectURI{scheme: scheme, rest: after}
	switch {
	case scheme == "https" || scheme == "http":
		return parseWebRedirect(u)
	case !allowed.allow(scheme):
		return redirectURI{}, errors.New("has a scheme that is not allowed: use https, http on loopback, or a private-use scheme in reverse domain form")
	case !strings.HasPrefix(after, "/") || len(after) < 2:
		// RFC 8252, section 7.1: a path follows the scheme.
		return redirectURI{}, errors.New("has nothing after its scheme")
	}
	u.kind = PrivateScheme
	u.authorityEnd = len(scheme) + 1
	if authority, ok := strings.CutPrefix(after, "//"); ok {
		authority = authority[:authorityLength(authority)]
		if strings.Contains(authority, "@") {
			return redirectURI{}, errors.New("has userinfo")
		}
		u.authorityEnd += len("//") + len(authority)
	}
	return u, nil
}

func parseWebRedirect(u redirectURI) (redirectURI, error) {
	after, ok := strings.CutPrefix(u.rest, "//")
	if !ok {
		return redirectURI{}, errors.New("has no host")
	}
	end := authorityLength(after)
	authority, rest := after[:end], after[end:]
	if strings.Contains(authority, "@") {
		return redirectURI{}, errors.New("has userinfo")
	}
	u.host, u.rest = authority, rest
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		u.host, u.port = authority[:i], authority[i+1:]
		if !validPort(u.port) {
			return redirectURI{}, errors.New("has a bad port")
		}
	}
	u.authorityEnd = len(u.scheme) + len("://") + end
	switch {
	case u.scheme == "http" && loopbackHost(u.host):
		u.kind = Loopback
	case u.scheme == "http":
		return redirectURI{}, errors.New("is plain http, which is for localhost, 127.0.0.1 and [::1] only")
	case !publicHost(u.host):
		return redirectURI{}, errors.New("needs a host name with a dot")
	default:
		u.kind = HTTPS
	}
	return u, nil
}

// answersIn returns the parameter of an authorization response that uri already has in its query, or
// "". The answer would hold it twice, and the client might read the wrong one (OAuth 2.1, section 4.1.2).
func answersIn(uri string) string {
	_, query, _ := strings.Cut(uri, "?")
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && slices.Contains(answerParameters, name) {
			return name
		}
	}
	return ""
}

// answerParameters are what this server adds to a redirect URI (RFC 6749, section 4.1.2; RFC 9207).
var answerParameters = []string{"code", "state", "iss", "error", "error_description"}

// checkRedirectText refuses what has no place in a URI, or is read differently by different parsers.
func checkRedirectText(uri string) error {
	if uri == "" {
		return errors.New("is empty")
	}
	if len(uri) > maxRedirectURI {
		return errors.New("is longer than " + strconv.Itoa(maxRedirectURI) + " characters")
	}
	for i := 0; i < len(uri); i++ {
		switch c := uri[i]; {
		case c <= ' ' || c >= 0x7f:
			return errors.New("has a space, control or non-ASCII character")
		case c == '#':
			return errors.New("has a fragment")
		case c == '*':
			return errors.New("has a wildcard: redirect URIs are compared as they are")
		case strings.IndexByte("\"<>\\^`{|}", c) >= 0:
			return errors.New("has a character that no URI has")
		case c == '%' && (i+2 >= len(uri) || !isHex(uri[i+1]) || !isHex(uri[i+2])):
			return errors.New("has a broken percent-encoding")
		}
	}
	return nil
}

// Redirect reports whether the client may be sent to uri: one that it registered, byte for byte (RFC
// 9700, section 4.1.3), or one on loopback that differs in its port alone, since native clients take
// the port that is free (RFC 8252, section 7.3). The rules for registration hold here again, for
// clients that became known under older ones.
func (c *Client) Redirect(uri string) bool {
	if !slices.Contains(c.RedirectURIs, uri) && !slices.ContainsFunc(c.RedirectURIs, func(registered string) bool {
		return sameButPort(registered, uri)
	}) {
		return false
	}
	_, err := parseRedirect(uri, c.schemes)
	return err == nil
}

// sameButPort reports whether both are http URIs on loopback with the same spelling of the host, path
// and query. "localhost" counts although RFC 8252, section 8.3, advises against it: most MCP clients
// use it.
func sameButPort(registered, presented string) bool {
	a, err := parseRedirect(registered, nil)
	if err != nil || a.kind != Loopback {
		return false
	}
	b, err := parseRedirect(presented, nil)
	return err == nil && b.kind == Loopback && a.host == b.host && a.rest == b.rest
}

// RedirectHost returns the part of a redirect URI that a person must judge before they approve: host
// and port, or for a private-use scheme all up to its path. The kind tells how to read it.
func RedirectHost(uri string) (host string, kind RedirectKind) {
	scheme, _, _ := strings.Cut(uri, ":")
	// The scheme was judged when the client was looked up, under a configuration unknown here.
	u, err := parseRedirect(uri, schemes{scheme})
	if err != nil {
		return "", RedirectRefused
	}
	if u.kind == PrivateScheme {
		return uri[:u.authorityEnd], PrivateScheme
	}
	return strings.ToLower(uri[len(u.scheme)+len("://") : u.authorityEnd]), u.kind
}

func loopbackHost(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "[::1]"
}

// publicHost reports whether host is a DNS name with a dot, or a dotted IPv4 address. Names that end
// in a number are addresses in disguise to browsers ("0x7f.1"), and refused.
func publicHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Is4()
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return len(labels) > 1 && (last[0] < '0' || last[0] > '9')
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && port[0] != '0' && port[0] != '+'
}

// authorityLength returns where the authority ends in what follows "//" (RFC 3986, section 3.2).
func authorityLength(s string) int {
	if i := strings.IndexAny(s, "/?"); i >= 0 {
		return i
	}
	return len(s)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
