package oauthmeta

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

// maxResource bounds what is parsed; no real resource identifier comes near it.
const maxResource = 2048

const protectedResourceSuffix = "/.well-known/oauth-protected-resource"

// Canonical returns the normal form of a resource identifier: scheme and host in lower case, no
// default port, no single trailing slash. Clients send "https://mcp.example.com/" and
// "HTTPS://MCP.Example.com" for the same server, and both must be accepted (MCP 2026-07-28,
// authorization, canonical server URI).
//
// The path is kept byte for byte, percent-encoding included: whether two spellings of a path reach
// the same thing is not ours to guess. Everything that is not plainly an http or https URL with an
// authority and a path is refused: fragments (RFC 8707, section 2), queries, userinfo, relative
// references, control characters. The error never repeats the identifier.
func Canonical(uri string) (string, error) {
	if len(uri) > maxResource {
		return "", errors.New("resource identifier is too long")
	}
	if err := checkCharacters(uri); err != nil {
		return "", err
	}
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return "", errors.New("resource identifier is not an absolute URI")
	}
	scheme = strings.ToLower(scheme)
	if scheme != "https" && scheme != "http" {
		return "", errors.New("resource identifier is neither https nor http")
	}
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	host, port, err := splitAuthority(authority)
	if err != nil {
		return "", err
	}
	if port != "" && !(scheme == "https" && port == "443") && !(scheme == "http" && port == "80") {
		host += ":" + port
	}
	return scheme + "://" + host + trimSlash(path), nil
}

// SameResource reports whether a and b identify the same resource. What has no canonical form is the
// same as nothing, not even as itself.
func SameResource(a, b string) bool {
	ca, err := Canonical(a)
	if err != nil {
		return false
	}
	cb, err := Canonical(b)
	return err == nil && ca == cb
}

// MetadataURL returns where the metadata of resource is published: the well-known string comes
// between host and path (RFC 9728, section 3.1). It returns "" for what Canonical refuses.
func MetadataURL(resource string) string {
	c, err := Canonical(resource)
	if err != nil {
		return ""
	}
	authority := strings.Index(c, "://") + len("://")
	if i := strings.IndexByte(c[authority:], '/'); i >= 0 {
		return c[:authority+i] + protectedResourceSuffix + c[authority+i:]
	}
	return c + protectedResourceSuffix
}

// MetadataURLAt is MetadataURL of a resource that is an origin and a path, both in canonical form.
func MetadataURLAt(origin, path string) string { return origin + protectedResourceSuffix + path }

// checkCharacters admits what RFC 3986 allows in a URI without query and fragment.
func checkCharacters(uri string) error {
	for i := 0; i < len(uri); i++ {
		switch c := uri[i]; {
		case c <= ' ' || c >= 0x7f:
			return errors.New("resource identifier has a space, control or non-ASCII character")
		case c == '#':
			return errors.New("resource identifier has a fragment")
		case c == '?':
			return errors.New("resource identifier has a query")
		case strings.IndexByte("\"<>\\^`{|}", c) >= 0:
			return errors.New("resource identifier has a character that no URI has")
		case c == '%' && (i+2 >= len(uri) || !isHex(uri[i+1]) || !isHex(uri[i+2])):
			return errors.New("resource identifier has a broken percent-encoding")
		}
	}
	return nil
}

func splitAuthority(authority string) (host, port string, err error) {
	if strings.IndexByte(authority, '@') >= 0 {
		return "", "", errors.New("resource identifier has userinfo")
	}
	host = authority
	// A colon inside brackets belongs to an IPv6 address.
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
	}
	if host, err = canonicalHost(host); err != nil {
		return "", "", err
	}
	if port == "" {
		// An empty port stands for the default one (RFC 3986, section 6.2.3).
		return host, "", nil
	}
	if port[0] < '0' || port[0] > '9' {
		return "", "", errors.New("resource identifier has a bad port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "", errors.New("resource identifier has a bad port")
	}
	return host, strconv.FormatUint(n, 10), nil
}

func canonicalHost(host string) (string, error) {
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", errors.New("resource identifier has a bad IPv6 address")
		}
		return "[" + addr.String() + "]", nil
	}
	host = strings.ToLower(host)
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", errors.New("resource identifier has a bad host")
		}
	}
	return host, nil
}

// trimSlash drops one trailing slash where there is exactly one. Of several none is dropped, or the
// normal form would have another normal form.
func trimSlash(path string) string {
	if strings.HasSuffix(path, "/") && !strings.HasSuffix(path, "//") {
		return path[:len(path)-1]
	}
	return path
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
