package sessions

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// The cookies of this module, without the prefix that they carry over TLS.
const (
	ConsentCookieName = "mcp_auth_consent"
	LoginCookieName   = "mcp_auth_login"
	SessionCookieName = "mcp_auth_session"
)

const (
	cookiePrefix = "mcp_auth_"
	// hostPrefix makes browsers accept the cookie only over TLS, for this host, without a Domain
	// (RFC 6265bis, section 4.1.3.2), so that no sibling host can plant one.
	hostPrefix   = "__Host-"
	maxCookie    = 4 << 10
	cookieHeader = "Cookie"

	setCookieHeader = "Set-Cookie"
)

// Cookies sets and reads cookies the way a site needs them.
type Cookies struct {
	// Secure is false only on plain-http loopback, where browsers refuse both the attribute and the name prefix.
	Secure bool
}

// Set stores a value in the browser for as long as life. Strict would withhold the cookie from the redirect
// that comes back from the identity provider; Lax withholds it from cross-site POSTs and frames.
func (c Cookies) Set(w http.ResponseWriter, name, value string, life time.Duration) {
	c.write(w, name, value, max(1, int(life/time.Second)))
}

// Clear removes the cookie from the browser.
func (c Cookies) Clear(w http.ResponseWriter, name string) { c.write(w, name, "", -1) }

func (c Cookies) write(w http.ResponseWriter, name, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name:     c.spelling(name),
		Value:    value,
		Path:     "/",
		MaxAge:   maxAge,
		Secure:   c.Secure,
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
}

// Get returns the value of a cookie. It is empty if the cookie is absent, longer than 4 KiB, or there more than
// once: which of several is ours cannot be told, and guessing is what cookie tossing counts on.
func (c Cookies) Get(r *http.Request, name string) string {
	found := r.CookiesNamed(c.spelling(name))
	if len(found) != 1 || len(found[0].Value) > maxCookie {
		return ""
	}
	return found[0].Value
}

func (c Cookies) spelling(name string) string {
	if c.Secure {
		return hostPrefix + name
	}
	return name
}

// StripCookies removes the cookies of this module, in both spellings, from a request that goes on to somebody
// else. The others stay as they are, byte for byte.
func StripCookies(h http.Header) {
	lines := h[cookieHeader]
	if !slices.ContainsFunc(lines, mayHoldOurs) {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		if stripped := stripLine(line); stripped != "" || line == "" {
			kept = append(kept, stripped)
		}
	}
	if len(kept) == 0 {
		delete(h, cookieHeader)
		return
	}
	h[cookieHeader] = kept
}

// StripSetCookies removes from an answer of somebody else what would set the cookies of this module. An
// upstream shares the host with its pages, and could sign people in as whom it likes.
func StripSetCookies(h http.Header) {
	lines := h[setCookieHeader]
	if !slices.ContainsFunc(lines, mayHoldOurs) {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
		// A browser sends the value of a cookie without a name as it is (RFC 6265bis, section 5.8.3), which
		// the server takes for a name and a value.
		return ours(strings.TrimLeft(line[:strings.IndexByte(line+";", ';')], "= \t"))
	})
	if len(kept) == 0 {
		delete(h, setCookieHeader)
		return
	}
	h[setCookieHeader] = kept
}

func mayHoldOurs(line string) bool { return strings.Contains(line, cookiePrefix) }

func stripLine(line string) string {
	if !mayHoldOurs(line) {
		return line
	}
	var kept []string
	removed := false
	for pair := range strings.SplitSeq(line, ";") {
		if ours(pair) {
			removed = true
			continue
		}
		kept = append(kept, pair)
	}
	if !removed {
		return line
	}
	stripped := strings.Join(kept, ";")
	// Without the first pair, the separator's space is at the front.
	if ours(line[:strings.IndexByte(line+";", ';')]) {
		stripped = strings.TrimPrefix(stripped, " ")
	}
	return stripped
}

// ours reports whether a cookie pair has one of our names. White space around a name is not part of it
// (RFC 6265, section 5.2).
func ours(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	name = strings.TrimPrefix(strings.Trim(name, " \t"), hostPrefix)
	return name == ConsentCookieName || name == LoginCookieName || name == SessionCookieName
}
