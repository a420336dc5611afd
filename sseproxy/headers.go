package sseproxy

import (
	"maps"
	"net/http"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxName is the longest header name that is compared; a longer one can only be reserved by its prefix.
const maxName = 64

// reserved tells, by folded name, which request headers a client may not send. The value is the one
// spelling that is let through, "" for none.
type reserved map[string]string

// reservedNames is what every request loses: names under which proxies, single sign-on products and
// web servers tell an application who is calling, which URL was meant or which method. An upstream that
// trusts one of them must never get it from the client.
var reservedNames = func() reserved {
	names := reserved{
		// Names with a meaning to us or to the message framing pass in their one canonical spelling:
		// an upstream behind CGI or WSGI would take Mcp_Session_Id for the header that was checked.
		"authorization":        "Authorization",
		"connection":           "Connection",
		"content-length":       "Content-Length",
		"cookie":               "Cookie",
		"host":                 "Host",
		"last-event-id":        "Last-Event-Id",
		"mcp-method":           "Mcp-Method",
		"mcp-name":             "Mcp-Name",
		"mcp-protocol-version": "Mcp-Protocol-Version",
		"mcp-session-id":       "Mcp-Session-Id",
		"origin":               "Origin",
		"transfer-encoding":    "Transfer-Encoding",
	}
	for _, name := range []string{
		// who
		"client-cert", "client-cert-chain", // RFC 9440, section 3: to be sanitised by whoever ends TLS
		"remote-email", "remote-groups", "remote-name", "remote-user",
		"x-arr-clientcert", "x-client-cert", "x-forwarded-client-cert", "x-ssl-cert",
		"x-anonymous-consumer", "x-apigateway-api-userinfo", "x-endpoint-api-userinfo", "x-id-token", "x-jwt-assertion", "x-userinfo",
		"x-auth-email", "x-auth-groups", "x-auth-roles", "x-auth-subject", "x-auth-user", "x-auth-userid", "x-auth-username",
		"x-forwarded-access-token", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-id-token",
		"x-forwarded-preferred-username", "x-forwarded-user", "x-forwarded-userinfo",
		"x-mcp-identity", // ours, whether it is configured or not
		"x-remote-email", "x-remote-group", "x-remote-groups", "x-remote-name", "x-remote-user",
		// what, instead of the request line
		"x-forwarded-method", "x-forwarded-uri", "x-http-method", "x-http-method-override",
		"x-method-override", "x-original-method", "x-original-uri", "x-original-url",
		"x-override-url", "x-rewrite-url",
		// An application started by CGI reads it as the proxy to use (CVE-2016-5385).
		"proxy",
		"proxy-authorization",
	} {
		names[name] = ""
	}
	return names
}()

// reservedPrefixes are families of identity headers, folded.
var reservedPrefixes = []string{
	"cf-access-",
	"ssl-client-",
	"tailscale-",
	"x-amzn-oidc-",
	"x-auth-request-",
	"x-authelia-",
	"x-authenticated-",
	"x-authentik-",
	"x-consumer-",
	"x-credential-",
	"x-forwarded-tls-client-cert",
	"x-goog-",
	"x-ms-client-principal",
	"x-ms-token-",
	"x-pomerium-",
	"x-remote-extra-",
	"x-ssl-client-",
	"x-token-user-",
	"x-vouch-",
	"x-webauth-",
}

// with adds names of which no spelling is let through.
func (rs reserved) with(names ...string) reserved {
	all := maps.Clone(rs)
	for _, name := range names {
		var buf [maxName]byte
		all[string(foldName(&buf, name))] = ""
	}
	return all
}

// CleanRequest removes from a request everything by which a client could pass for somebody else, or for
// another request, with the application behind: identity headers in every spelling, headers that override
// URL or method, the edge's own cookies, trailers. Guard.Serve does it by itself; CleanRequest is for
// requests that go to the next handler without a token. It leaves Authorization alone.
func CleanRequest(r *http.Request) {
	clean(r.Header, reservedNames)
	r.Trailer = nil
}

// CleanRequest is the function of that name, for the identity headers of this guard too.
func (g *Guard) CleanRequest(r *http.Request) {
	clean(r.Header, g.reserved)
	r.Trailer = nil
}

func clean(h http.Header, names reserved) {
	var buf [maxName]byte
	for name := range h {
		if innocent(name) {
			continue
		}
		folded := foldName(&buf, name)
		if canonical, ok := names[string(folded)]; ok {
			if name != canonical {
				delete(h, name)
			}
			continue
		}
		if !plainName(name) && hasOtherReading(name, folded) {
			delete(h, name)
			continue
		}
		for _, prefix := range reservedPrefixes {
			if len(folded) >= len(prefix) && string(folded[:len(prefix)]) == prefix {
				delete(h, name)
				break
			}
		}
	}
	sessions.StripCookies(h)
}

// innocent knows the headers that nearly every request has, in the spelling that passes. No identity
// header can have one of these names: CheckHeaderName refuses them.
func innocent(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Content-Length", "Content-Type", "Cookie", "Last-Event-Id",
		"Mcp-Method", "Mcp-Name", "Mcp-Protocol-Version", "Mcp-Session-Id", "Origin", "Sec-Fetch-Mode", "User-Agent":
		return true
	}
	return false
}

// plainName reports whether a name is of letters, digits and hyphens, as nearly all are.
func plainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// hasOtherReading reports whether a name with other characters has to go. Underscores and dots are in use,
// and Caddy lets only those through that it was told to expect; they may stand for nothing that a proxy or
// a server acts on. The rest of what HTTP allows in names (RFC 9110, section 5.6.2) nobody uses but to get
// past a comparison.
func hasOtherReading(name string, folded []byte) bool {
	if name == ":protocol" { // net/http's own, see reduceConnection
		return false
	}
	for i := range len(name) {
		if c := name[i]; c != '_' && c != '.' && !plainName(name[i:i+1]) {
			return true
		}
	}
	return hasMeaning(string(folded))
}

// foldName writes name as the loosest upstream may read it: CGI, WSGI and PHP make one character of every
// byte that is neither letter nor digit, and none of them tells cases apart (RFC 3875, section 4.1.18).
func foldName(buf *[maxName]byte, name string) []byte {
	n := min(len(name), maxName)
	for i := range n {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		default:
			c = '-'
		}
		buf[i] = c
	}
	if len(name) <= maxName {
		for n > 0 && buf[n-1] == '-' {
			n--
		}
	}
	return buf[:n]
}

// reduceConnection leaves nothing in Connection that would make a proxy behind us drop headers which are
// set after this. What the client named there is hop-by-hop and ends here (RFC 9110, section 7.6.1).
func reduceConnection(h http.Header, upgrades bool) {
	upgrade := false
	if values, ok := h["Connection"]; ok && !harmless(values) {
		for _, value := range values {
			for option := range strings.SplitSeq(value, ",") {
				option = strings.Trim(option, " \t")
				switch {
				case strings.EqualFold(option, "upgrade"):
					upgrade = true
				case option == "", strings.EqualFold(option, "close"), strings.EqualFold(option, "keep-alive"):
				default:
					delete(h, http.CanonicalHeaderKey(option))
				}
			}
		}
		delete(h, "Connection")
	}
	if !upgrades {
		delete(h, "Upgrade")
		delete(h, ":protocol") // where net/http keeps extended CONNECT (RFC 8441, section 4)
	} else if upgrade {
		h["Connection"] = []string{"Upgrade"}
	}
}

func harmless(connection []string) bool {
	return len(connection) == 1 &&
		(strings.EqualFold(connection[0], "keep-alive") || strings.EqualFold(connection[0], "close"))
}
