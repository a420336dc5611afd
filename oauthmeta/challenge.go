package oauthmeta

import "strings"

// Challenge is the value of a WWW-Authenticate header for bearer tokens (RFC 6750, section 3; RFC
// 9728, section 5.1).
//
// All fields come from the configuration or are constants of the code. Text from a request has no
// place here: what it could break is removed, but it would still be somebody else's words in our
// mouth.
type Challenge struct {
	// Realm names the site, where there are no metadata to name (RFC 9110, section 11.5).
	Realm string
	// ResourceMetadata is the absolute URL that MetadataURL returns.
	ResourceMetadata string
	// Scope holds the scopes that the request needs, separated by spaces.
	Scope string
	// Error is empty when the request had no token at all (RFC 6750, section 3.1).
	Error            string
	ErrorDescription string
}

// String returns the header value. Values that RFC 6750, section 3, does not allow in a parameter are
// cleaned or left out, so that none can end its quotes. There is always one parameter: the grammar
// demands it, and clients look for "Bearer " with a space.
func (c Challenge) String() string {
	var b strings.Builder
	b.Grow(128 + len(c.Realm) + len(c.Error) + len(c.ErrorDescription) + len(c.ResourceMetadata) + len(c.Scope))
	b.WriteString("Bearer")
	empty := true
	add := func(name, value string) {
		if value == "" {
			return
		}
		if !empty {
			b.WriteByte(',')
		}
		empty = false
		b.WriteByte(' ')
		b.WriteString(name)
		b.WriteString(`="`)
		b.WriteString(value)
		b.WriteByte('"')
	}
	add("realm", quotable(c.Realm))
	add("error", quotable(c.Error))
	add("error_description", quotable(c.ErrorDescription))
	if quoted(c.ResourceMetadata) && !strings.Contains(c.ResourceMetadata, " ") {
		add("resource_metadata", c.ResourceMetadata)
	}
	add("scope", scopeTokens(c.Scope))
	if empty {
		add("realm", "mcp")
	}
	return b.String()
}

// quotable drops all but the characters that RFC 6750, section 3, allows in error and
// error_description: printable ASCII without the quote and the backslash.
func quotable(s string) string {
	if quoted(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// quoted reports whether s can stand between quotes as it is.
func quoted(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// scopeTokens keeps the scope tokens that are well formed (RFC 6749, section 3.3). A broken one is
// left out whole: half of it might be the name of another scope.
func scopeTokens(scope string) string {
	if quoted(scope) && !strings.Contains(scope, "  ") && strings.Trim(scope, " ") == scope {
		return scope
	}
	tokens := strings.FieldsFunc(scope, func(r rune) bool { return r == ' ' })
	kept := tokens[:0]
	for _, token := range tokens {
		if quoted(token) {
			kept = append(kept, token)
		}
	}
	return strings.Join(kept, " ")
}
