package identity

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Claims are the members of a token that an issuer made, or of its answer about one, by their exact
// names.
type Claims map[string]json.RawMessage

// ClaimNames say under which names the claims lie that describe a person. A name may also be a path
// of names with dots between them, such as realm_access.roles.
type ClaimNames struct {
	Subject, Email, EmailVerified, Name, Groups string
	// TrustUnverifiedEmail takes every address for verified.
	TrustUnverifiedEmail bool
}

// maxClaimDepth bounds how deep a path of names reaches.
const maxClaimDepth = 4

// Has reports whether a member is there and not null.
func (c Claims) Has(name string) bool {
	raw := c.member(name)
	return raw != nil && string(raw) != "null"
}

// Text returns a string member; any other type counts as absent.
func (c Claims) Text(name string) string { return claims{"": c.member(name)}.text("") }

// IsTrue reports whether a member is the JSON literal true.
func (c Claims) IsTrue(name string) bool { return claims{"": c.member(name)}.isTrue("") }

// Seconds returns a NumericDate (RFC 7519, section 2); ok is false if there is none or it is not one.
func (c Claims) Seconds(name string) (at float64, ok bool) {
	return claims{"": c.member(name)}.seconds("")
}

// Texts returns a member that is a string or an array of strings, as aud is (RFC 7519, section 4.1.3).
// Where one element is of another type the whole member is malformed, and ok is false.
func (c Claims) Texts(name string) (texts []string, ok bool) {
	raw := c.member(name)
	var one string
	if json.Unmarshal(raw, &one) == nil && raw[0] == '"' {
		return []string{one}, true
	}
	var many []*string
	if json.Unmarshal(raw, &many) != nil || slices.Contains(many, nil) {
		return nil, false
	}
	for _, text := range many {
		texts = append(texts, *text)
	}
	return texts, true
}

// User returns the person whom the claims describe, as issuer knows them.
func (c Claims) User(issuer string, names ClaimNames) (User, error) {
	sub := c.Text(names.Subject)
	if sub == "" || len(sub) > maxSubject || !printableASCII(sub) {
		return User{}, errors.New("has no usable subject")
	}
	u := User{
		Issuer:  issuer,
		Subject: sub,
		Email:   claims{"": c.member(names.Email)}.email(""),
		Name:    cleanName(c.Text(names.Name)),
		Groups:  claims{"": c.member(names.Groups)}.groups(""),
	}
	u.EmailVerified = u.Email != "" && (names.TrustUnverifiedEmail || c.IsTrue(names.EmailVerified))
	return u, nil
}

// member finds a member by its name, or else by its path: names with dots in them are common too,
// since private claims are named by URLs.
func (c Claims) member(name string) json.RawMessage {
	if raw, ok := c[name]; ok {
		return raw
	}
	for range maxClaimDepth {
		first, rest, found := strings.Cut(name, ".")
		if !found {
			return c[name]
		}
		var inner Claims
		if json.Unmarshal(c[first], &inner) != nil {
			return nil
		}
		c, name = inner, rest
	}
	return nil
}
