package identity

import (
	"errors"
	"strings"
)

// Bounds of an address and its parts in octets (RFC 5321, section 4.5.3.1; RFC 1035, section 2.3.4).
const (
	maxEmail = 254
	maxLocal = 64
	maxLabel = 63
)

var errEmail = errors.New(`not a plain e-mail address such as "ann@example.com"`)

// ParseEmail splits an e-mail address into its local part and its domain in lower case.
//
// It accepts much less than RFC 5322 allows: one "@", a dot-atom local part and a domain of at
// least two letter-digit-hyphen labels, internationalized ones in their A-label form. Everything
// that has ever been read as another address by the next program (quotes, comments, routes,
// display names, lists, percent-encoding, white space, look-alikes beyond ASCII) is refused.
func ParseEmail(s string) (local, domain string, err error) {
	at := strings.IndexByte(s, '@')
	if !ValidEmail(s) {
		return "", "", errEmail
	}
	return s[:at], asciiLower(s[at+1:]), nil
}

// ValidEmail reports whether ParseEmail accepts s. It does not allocate.
func ValidEmail(s string) bool {
	at := strings.IndexByte(s, '@')
	return len(s) <= maxEmail && at > 0 && validLocal(s[:at]) && validDomain(s[at+1:])
}

// validLocal reports whether s is a dot-atom (RFC 5322, section 3.2.3) without the characters that
// mail systems or templates have given a meaning: "%" and "!" route, "{" and "}" are placeholders.
func validLocal(s string) bool {
	if len(s) > maxLocal {
		return false
	}
	dot := true // an atom must follow
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if dot {
				return false
			}
			dot = true
			continue
		case isAlnum(c), strings.IndexByte("#$&'*+-/=?^_`|~", c) >= 0:
		default:
			return false
		}
		dot = false
	}
	return !dot
}

// validDomain reports whether s is a host name of at least two labels that is not an IP address
// (RFC 1123, section 2.1).
func validDomain(s string) bool {
	labels, start := 0, 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if !isAlnum(s[i]) && s[i] != '-' {
				return false
			}
			continue
		}
		label := s[start:i]
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		labels, start = labels+1, i+1
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	return labels >= 2 && !isDigit(last[0])
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlnum(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// asciiLower lowers A to Z only. Unicode folding would turn KELVIN SIGN into k, and so one domain
// into another.
func asciiLower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
