package sseproxy

import (
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxEncodings is how often a path is decoded over again: more than any chain of proxies does.
const maxEncodings = 4

// plainByte holds the bytes of a path segment that everybody reads alike: lower-case letters, digits and
// most of pchar (RFC 3986, section 3.3).
var plainByte = func() (table [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@") {
		table[c] = true
	}
	return table
}()

// plainPath reports whether p has no other spelling, so that it can be looked up as it is.
func plainPath(p string) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	for i := 1; i < len(p); i++ {
		switch c := p[i]; {
		case c == '/' || c == '.':
			if p[i-1] == '/' || p[i-1] == '.' {
				return false
			}
		case !plainByte[c]:
			return false
		}
	}
	return p[len(p)-1] != '.'
}

// lower folds case as widely as any reader does: U+212A and U+017F are letters of ASCII to some.
func lower(s string) string {
	return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, s)
}

// foldSegments reads p as careless servers do: a backslash parts segments, a segment ends at its
// parameters or at NUL, dots and blanks at its end do not count, neither do empty segments.
func foldSegments(p string) string {
	var b strings.Builder
	for segment := range strings.FieldsFuncSeq(p, func(r rune) bool { return r == '/' || r == '\\' }) {
		if cut := strings.IndexAny(segment, ";\x00"); cut >= 0 {
			segment = segment[:cut]
		}
		segment = strings.TrimRight(segment, " ")
		if segment != "." && segment != ".." {
			segment = strings.TrimRight(segment, ". ")
		}
		if segment == "" {
			continue
		}
		b.WriteByte('/')
		b.WriteString(segment)
	}
	return b.String()
}

// unescape decodes what is well encoded and leaves the rest.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c, ok := escaped(s[i:]); ok {
			b = append(b, c)
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// escaped decodes the %XX at the start of s.
func escaped(s string) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, ok1 := fromHex(s[1])
	lo, ok2 := fromHex(s[2])
	return hi<<4 | lo, ok1 && ok2
}

func fromHex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// Ambiguous reports whether the path of r is spelled so that the edge and the upstream could read it
// differently. Such a request deserves a 400: no client that means well sends it (RFC 3986, section 6.2.2).
func Ambiguous(r *http.Request) bool {
	u := r.URL
	if u.Opaque != "" {
		return true
	}
	if u.Path == "" {
		return false // "http://host" is "http://host/" (RFC 9110, section 4.2.3)
	}
	if plainPath(u.Path) && u.RawPath == "" {
		return false
	}
	return u.Path[0] != '/' || ambiguousSegments(u.Path) || ambiguousEscapes(u.RawPath, false) ||
		ambiguousEscapes(u.Path, true)
}

// ambiguousSegments judges a decoded path.
func ambiguousSegments(p string) bool {
	for i := range len(p) {
		switch c := p[i]; {
		case c < ' ' || c == 0x7f || c == '\\' || c == ';':
			return true
		case c == '/' && i > 0 && p[i-1] == '/':
			return true
		}
	}
	for segment := range strings.SplitSeq(p, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return !utf8.ValidString(p) // overlong forms of "/" and "." among others
}

// ambiguousEscapes finds in p an encoded form of what ambiguousSegments refuses, or of the slash itself.
// In a path that has been decoded once, any encoded form of those is left over from a second encoding.
func ambiguousEscapes(p string, again bool) bool {
	for i := range len(p) {
		if p[i] == '#' && !again {
			return true // to some the start of a fragment
		}
		c, ok := escaped(p[i:])
		if !ok {
			continue
		}
		if c < ' ' || c == '/' || c == '\\' || c == ';' || c == '.' || c == '%' && again {
			return true
		}
	}
	return false
}

// TokenInQuery reports whether the query string carries an access token, in any encoding. MCP forbids it:
// URLs end in logs and in Referer (RFC 6750, section 2.3 and 5.3).
func TokenInQuery(r *http.Request) bool {
	if r.URL.RawQuery == "" {
		return false
	}
	isSeparator := func(c rune) bool { return c == '&' || c == ';' }
	for pair := range strings.FieldsFuncSeq(r.URL.RawQuery, isSeparator) {
		key, _, _ := strings.Cut(pair, "=")
		if strings.ContainsAny(key, "%+") {
			if decoded, err := url.QueryUnescape(key); err == nil {
				key = decoded
			} else {
				key = unescape(key)
			}
		}
		key, _, _ = strings.Cut(strings.TrimSpace(key), "[") // PHP reads access_token[] too
		if strings.EqualFold(key, "access_token") {
			return true
		}
	}
	return false
}
