package credentials

import (
	"errors"
	"fmt"
	"strings"
)

// Placeholder stands for the credential in a header's template.
const Placeholder = "{credential}"

const (
	maxHeaderName = 64
	maxTemplate   = 256
	// maxSecret bounds a credential. Tokens that are JWTs with many claims reach a few thousand bytes; servers
	// commonly take 8 KiB of one header.
	maxSecret = 8 << 10
)

// ErrSecret is a text that cannot be a credential: it could not arrive as it is.
var ErrSecret = errors.New("a credential has no spaces, line breaks or letters beyond ASCII, and at most 8192 characters")

// Header is how an upstream gets a credential.
type Header struct {
	Name          string
	before, after string
}

// ParseHeader makes a header of a name and a template, which holds [Placeholder] once. Empty ones mean
// Authorization, and "Bearer {credential}" there and the bare credential elsewhere (RFC 6750, section
// 2.1).
func ParseHeader(name, template string) (Header, error) {
	if name == "" {
		name = "Authorization"
	}
	if err := checkName(name); err != nil {
		return Header{}, err
	}
	if template == "" {
		template = Placeholder
		if strings.EqualFold(name, "Authorization") {
			template = "Bearer " + Placeholder
		}
	}
	before, after, found := strings.Cut(template, Placeholder)
	switch {
	case !found:
		return Header{}, fmt.Errorf("header %s: the value has no place for the credential; write, for example, \"Bearer %s\"", name, Placeholder)
	case strings.Contains(after, Placeholder):
		return Header{}, fmt.Errorf("header %s: the value names %s twice", name, Placeholder)
	case len(template) > maxTemplate || !printable(template):
		return Header{}, fmt.Errorf("header %s: the value has characters other than printable ASCII, or too many", name)
	case template != strings.TrimSpace(template):
		// RFC 9110, section 5.5: recipients would trim it.
		return Header{}, fmt.Errorf("header %s: the value begins or ends with a space", name)
	}
	return Header{Name: name, before: before, after: after}, nil
}

// Value is what the header carries for a secret. The error is [ErrSecret]. Nothing in a secret is replaced
// or expanded.
func (h Header) Value(secret string) (string, error) {
	if err := CheckSecret(secret); err != nil {
		return "", err
	}
	return h.before + secret + h.after, nil
}

// CheckSecret tells whether a text can be a credential. The error is [ErrSecret], which holds nothing of it.
func CheckSecret(secret string) error {
	if secret == "" || len(secret) > maxSecret || !printable(secret) || strings.Contains(secret, " ") {
		return ErrSecret
	}
	return nil
}

// checkName accepts the names that everybody writes alike; a stricter form of RFC 9110, section 5.1.
func checkName(name string) error {
	if len(name) > maxHeaderName {
		return fmt.Errorf("header name of %d characters: the name must have 1 to %d", len(name), maxHeaderName)
	}
	for i := range len(name) {
		c := name[i] | 0x20
		if !('a' <= c && c <= 'z' || '0' <= name[i] && name[i] <= '9' || name[i] == '-' && i > 0 && i < len(name)-1) {
			return fmt.Errorf("header %q: the name must be of letters, digits and inner hyphens", name)
		}
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
