package identity

import (
	"errors"
	"fmt"
	"slices"
)

// Automatic is a provider that asks nobody anything: whoever comes is the same person. It is for
// development, where the server makes sure by other means that only its owner can come.
// Implementations are safe for concurrent use.
type Automatic interface {
	Provider

	// User returns who everybody is.
	User() User
}

// Fixed signs everybody in as one user.
type Fixed struct {
	id, name string
	user     User
}

// NewFixed checks the user, whose e-mail address counts as verified. issuer becomes the Issuer of
// the identity, so that it is nobody's who signs in elsewhere with the same address.
func NewFixed(id, name, issuer string, user User) (*Fixed, error) {
	if err := checkID(id); err != nil {
		return nil, fmt.Errorf("fixed user: %w", err)
	}
	if issuer == "" {
		return nil, errors.New("fixed user: issuer is empty")
	}
	if !ValidEmail(user.Email) {
		return nil, fmt.Errorf("%s %q: %w", id, user.Email, errEmail)
	}
	if err := checkGroups(user.Groups); err != nil {
		return nil, fmt.Errorf("%s %q: %w", id, user.Email, err)
	}
	email := asciiLower(user.Email)
	return &Fixed{id: id, name: name, user: User{
		Issuer:        issuer,
		Subject:       localSubject(email),
		Email:         email,
		EmailVerified: true,
		Name:          cleanName(user.Name),
		Groups:        slices.Clone(user.Groups),
	}}, nil
}

// ID implements Provider.
func (f *Fixed) ID() string { return f.id }

// Name implements Provider.
func (f *Fixed) Name() string { return f.name }

// User implements Automatic.
func (f *Fixed) User() User {
	user := f.user
	user.Groups = slices.Clone(user.Groups)
	return user
}

// Interface guards
var _ Automatic = (*Fixed)(nil)
