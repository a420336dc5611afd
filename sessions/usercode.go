package sessions

import (
	"crypto/rand"
	"strings"
)

const (
	// userCodeAlphabet has no vowels, so that no words come about, and nothing that is easily taken
	// for something else (RFC 8628, section 6.1).
	userCodeAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
	// userCodeLength makes 20^8 codes, 34.5 bits: few tries are let through, for ten minutes.
	userCodeLength = 8
	// maxTypedCode bounds what is looked at of a code that somebody typed.
	maxTypedCode = 64
)

// UserCode is the code that a person reads off one device and types into another, in its canonical form.
// Its zero value is no code.
type UserCode string

// newUserCode draws a code. Bytes that would favour some letters are drawn again.
func newUserCode() UserCode {
	var code [userCodeLength]byte
	var b [1]byte
	for i := 0; i < len(code); {
		_, _ = rand.Read(b[:])
		if n := int(b[0]); n < 256/len(userCodeAlphabet)*len(userCodeAlphabet) {
			code[i] = userCodeAlphabet[n%len(userCodeAlphabet)]
			i++
		}
	}
	return UserCode(code[:])
}

// ParseUserCode reads a code as a person may type it: in any letter case, with hyphens and spaces where
// they like (RFC 8628, section 6.1).
func ParseUserCode(typed string) (UserCode, bool) {
	if len(typed) > maxTypedCode {
		return "", false
	}
	code := make([]byte, 0, userCodeLength)
	for _, r := range typed {
		switch {
		case r == '-' || r == ' ' || r == '\t' || r == '\u00a0' || '\u2010' <= r && r <= '\u2015':
			continue // what keyboards and copying make of the hyphen in the middle
		case 'a' <= r && r <= 'z':
			r += 'A' - 'a'
		}
		if r > 'Z' || !strings.ContainsRune(userCodeAlphabet, r) || len(code) == userCodeLength {
			return "", false
		}
		code = append(code, byte(r))
	}
	return UserCode(code), len(code) == userCodeLength
}

// String writes the code as it is shown: XXXX-XXXX.
func (c UserCode) String() string {
	if len(c) != userCodeLength {
		return ""
	}
	return string(c[:userCodeLength/2] + "-" + c[userCodeLength/2:])
}
