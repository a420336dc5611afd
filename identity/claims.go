package identity

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxGroups     = 200
	maxGroupBytes = 256
	maxNameRunes  = 128
	// OpenID Connect Core 1.0, section 2: at most 255 ASCII characters.
	maxSubject = 255
)

// claims are the members of an ID token or a UserInfo answer, by their exact names: decoding into
// a struct would also take "EMAIL" for "email".
type claims map[string]json.RawMessage

// text returns a string member; any other type counts as absent.
func (c claims) text(name string) string {
	var s string
	if json.Unmarshal(c[name], &s) != nil {
		return ""
	}
	return s
}

// isTrue reports whether a member is the JSON literal true. "true", 1 and null are not.
func (c claims) isTrue(name string) bool { return string(c[name]) == "true" }

// seconds returns a NumericDate (RFC 7519, section 2); ok is false if there is none or it is not one.
func (c claims) seconds(name string) (at float64, ok bool) {
	var n *float64
	if json.Unmarshal(c[name], &n) != nil || n == nil {
		return 0, false
	}
	return *n, true
}

// has reports whether a member is there and not null.
func (c claims) has(name string) bool {
	raw, ok := c[name]
	return ok && string(raw) != "null"
}

// email returns a string member if it is an address that ParseEmail accepts, with its domain in
// lower case, and "" otherwise.
func (c claims) email(name string) string {
	local, domain, err := ParseEmail(c.text(name))
	if err != nil {
		return ""
	}
	return local + "@" + domain
}

// groups returns the usable names of a member that is an array of strings or one string.
func (c claims) groups(name string) []string {
	var names []any
	if json.Unmarshal(c[name], &names) != nil {
		names = []any{c.text(name)}
	}
	var groups []string
	for _, n := range names {
		group, _ := n.(string)
		if len(groups) < maxGroups && ValidGroup(group) && !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
	}
	return groups
}

// ValidGroup reports whether name can be used as a group: 1 to 256 bytes of printable ASCII
// without a comma, so that groups can be joined by commas and sent in a header, and without a
// space at either end, which a header would lose.
func ValidGroup(name string) bool {
	if name == "" || len(name) > maxGroupBytes || name[0] == ' ' || name[len(name)-1] == ' ' {
		return false
	}
	return printableASCII(name) && strings.IndexByte(name, ',') < 0
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// cleanName makes a display name harmless: no control characters, no invisible or
// direction-changing ones, no line breaks, and not endless.
func cleanName(s string) string {
	if !utf8.ValidString(s) {
		return ""
	}
	kept := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, s)
	kept = strings.Join(strings.Fields(kept), " ")
	if runes := []rune(kept); len(runes) > maxNameRunes {
		kept = strings.TrimSpace(string(runes[:maxNameRunes]))
	}
	return kept
}
