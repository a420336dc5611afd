package access

import (
	"errors"
	"net/http"
	"strings"
)

// MaxToken bounds a bearer token in bytes, as we issue them and as operators choose them.
const MaxToken = 4 << 10

var (
	// ErrNoToken means that the request has no credentials, or ones of another scheme. The answer
	// is a challenge without an error code (RFC 6750, section 3.1).
	ErrNoToken = errors.New("no bearer token")

	// ErrMalformed means that what follows "Bearer" is not a token.
	ErrMalformed = errors.New("malformed bearer token")

	// ErrRepeated means that there are several Authorization headers. Choosing one of them would
	// let the next program choose another.
	ErrRepeated = errors.New("more than one Authorization header")
)

// Bearer returns the bearer token of a request (RFC 6750, section 2.1), of at most 4 KiB. No other
// carrier than the Authorization header is looked at. It does not allocate.
func Bearer(h http.Header) (token string, err error) { return BearerOf(h, MaxToken) }

// BearerOf is Bearer for tokens of at most most bytes: those that others issue may be longer.
func BearerOf(h http.Header, most int) (token string, err error) {
	values := h["Authorization"]
	switch {
	case len(values) == 0:
		return "", ErrNoToken
	case len(values) > 1:
		return "", ErrRepeated
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	// RFC 9110, section 11.1: the scheme is case-insensitive. Lengths are compared first because
	// Unicode folding could match a longer text.
	if len(scheme) != len("Bearer") || !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoToken
	}
	// RFC 9110, section 11.4: one or more spaces.
	token = strings.TrimLeft(token, " ")
	if len(token) > most || !isToken68(token) {
		return "", ErrMalformed
	}
	return token, nil
}

// isToken68 reports whether s is 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
// (RFC 9110, section 11.2; b64token in RFC 6750, section 2.1).
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	if s == "" {
		return false
	}
	// A branch for every eight characters, and no sum that the next one waits for: this is the longest
	// text that a request has, and all of it must be looked at.
	for ; len(s) >= 8; s = s[8:] {
		if token68[s[0]]&token68[s[1]]&token68[s[2]]&token68[s[3]]&token68[s[4]]&token68[s[5]]&token68[s[6]]&token68[s[7]] == 0 {
			return false
		}
	}
	for i := range len(s) {
		if token68[s[i]] == 0 {
			return false
		}
	}
	return true
}

// token68 is 1 for the characters of a token, padding apart.
var token68 = func() (table [256]uint8) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/") {
		table[c] = 1
	}
	return table
}()
