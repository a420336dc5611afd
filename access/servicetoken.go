package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// minServiceToken is how many characters a service token has at least: that many of any alphabet
// cannot be guessed, so a plain hash protects it as well as a slow one would.
const minServiceToken = 32

var (
	// ErrUnknownToken means that no service token has this value.
	ErrUnknownToken = errors.New("no such service token")
	// ErrTokenNotHere means that a service token exists but is not good for this resource, from this
	// address, or any more. Whoever presented it learns no more than for an unknown one.
	ErrTokenNotHere = errors.New("service token not valid for this request")
)

// ServiceToken is a token that the operator gave to a program.
type ServiceToken struct {
	// Name tells tokens apart, for people: in logs and in what the upstream learns.
	Name string
	// Hash is the SHA-256 of the token.
	Hash [sha256.Size]byte
	// Resources are the identifiers of the resources that it opens, each with the scope it has there,
	// separated by spaces.
	Resources map[string]string
	// Networks are where it may be used from. Nil: everywhere.
	Networks *Networks
	// Expires is when it ends. The zero time: never.
	Expires time.Time

	fingerprint [16]byte
}

// SubjectPrefix is before the name of a service token where it speaks for itself.
const SubjectPrefix = "token:"

// Subject is who the token speaks for.
func (t *ServiceToken) Subject() string { return SubjectPrefix + t.Name }

// Fingerprint tells one value of a token from the next, for tokens that NewServiceTokens has joined. It is
// made from the hash and opens nothing.
func (t *ServiceToken) Fingerprint() [16]byte { return t.fingerprint }

// HashServiceToken returns the hash of a token, unless that is easy to guess.
func HashServiceToken(token string) ([sha256.Size]byte, error) {
	switch {
	case len(token) < minServiceToken:
		return [sha256.Size]byte{}, fmt.Errorf("shorter than %d characters; make one with: openssl rand -base64 32", minServiceToken)
	case len(token) > MaxToken || !isToken68(token):
		return [sha256.Size]byte{}, errors.New("has characters that no bearer token may have; make one with: openssl rand -base64 32")
	case repeats(token):
		return [sha256.Size]byte{}, errors.New("is a repetition and easy to guess; make one with: openssl rand -base64 32")
	}
	return sha256.Sum256([]byte(token)), nil
}

// repeats reports whether token has fewer than eight different characters, as placeholders have.
func repeats(token string) bool {
	seen := make(map[byte]bool)
	for i := range len(token) {
		seen[token[i]] = true
	}
	return len(seen) < 8
}

// ParseServiceTokenHash reads a SHA-256 in hexadecimal, as sha256sum prints it.
func ParseServiceTokenHash(text string) (hash [sha256.Size]byte, err error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != sha256.Size {
		return hash, errors.New("not 64 hexadecimal digits; make them with: printf %s \"$TOKEN\" | sha256sum")
	}
	hash = [sha256.Size]byte(raw)
	if hash == sha256.Sum256(nil) || hash == sha256.Sum256([]byte("\n")) {
		// What the command prints when the variable is not set.
		return hash, errors.New("this is the hash of an empty token")
	}
	return hash, nil
}

// ServiceTokens are the service tokens of a site. They do not change, and are safe for concurrent
// use.
type ServiceTokens struct{ tokens []*ServiceToken }

// NewServiceTokens joins tokens. Each needs a name and a value of its own.
func NewServiceTokens(tokens []*ServiceToken) (*ServiceTokens, error) {
	names := make(map[string]bool, len(tokens))
	values := make(map[[sha256.Size]byte]string, len(tokens))
	for _, t := range tokens {
		if names[t.Name] {
			return nil, fmt.Errorf("token %s is given twice", t.Name)
		}
		if other, ok := values[t.Hash]; ok {
			return nil, fmt.Errorf("token %s has the same value as token %s, so nobody could tell who used it; give each one its own", t.Name, other)
		}
		names[t.Name], values[t.Hash] = true, t.Name
		sum := sha256.Sum256(append([]byte("fingerprint\x00"), t.Hash[:]...))
		t.fingerprint = [16]byte(sum[:16])
	}
	return &ServiceTokens{tokens: tokens}, nil
}

// Holds reports whether the service token of that name still has the value that fingerprint is of, and is
// good for the resource at this time.
func (s *ServiceTokens) Holds(name string, fingerprint [16]byte, resource string, now time.Time) bool {
	if s == nil {
		return false
	}
	for _, t := range s.tokens {
		if t.Name == name {
			_, ok := t.Resources[resource]
			return ok && t.Fingerprint() == fingerprint && (t.Expires.IsZero() || now.Before(t.Expires))
		}
	}
	return false
}

// Knows reports whether token is one of them, wherever it is good.
func (s *ServiceTokens) Knows(token string) bool {
	return s != nil && len(s.tokens) > 0 && s.find(token) != nil
}

// Check returns the service token with this value, if it is good for the resource, from this address
// and at this time, and the scope that it has there. The error is [ErrUnknownToken], or
// [ErrTokenNotHere] together with the token, for the log.
//
// Hashes are compared rather than tokens, in constant time, and always all of them: neither how much
// of a guess was right nor which token it came close to shows in the time this takes.
func (s *ServiceTokens) Check(token, resource, addr string, now time.Time) (*ServiceToken, string, error) {
	if s == nil {
		return nil, "", ErrUnknownToken
	}
	found := s.find(token)
	if found == nil {
		return nil, "", ErrUnknownToken
	}
	scope, ok := found.Resources[resource]
	if !ok || !found.Networks.Admits(addr) || !found.Expires.IsZero() && !now.Before(found.Expires) {
		return found, "", ErrTokenNotHere
	}
	return found, scope, nil
}

func (s *ServiceTokens) find(token string) (found *ServiceToken) {
	hash := sha256.Sum256([]byte(token))
	for _, t := range s.tokens {
		if subtle.ConstantTimeCompare(t.Hash[:], hash[:]) == 1 {
			found = t
		}
	}
	return found
}
