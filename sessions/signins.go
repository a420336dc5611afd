package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxSignIns is how many sign-ins of a person are remembered.
	MaxSignIns = 20
	// signInLife is for how long they are, after the last one.
	signInLife = 180 * 24 * time.Hour
)

// SignIn is one sign-in of a person, as they are told about it. It opens nothing.
type SignIn struct {
	At         time.Time `json:"at"`
	Provider   string    `json:"provider,omitempty"`
	ClientAddr string    `json:"client_addr,omitempty"`
	UserAgent  string    `json:"user_agent,omitempty"`
	// ClientName is the client that they signed in for; empty if it was for their own page.
	ClientName string `json:"client_name,omitempty"`
}

// RecordSignIn adds a sign-in to those of a user, given by [User.Key]. Of more than [MaxSignIns] the
// oldest are forgotten.
func (v *Vault) RecordSignIn(ctx context.Context, user string, s SignIn) error {
	key, err := v.signInsKey(user)
	if err != nil {
		return err
	}
	return v.update(ctx, "recording a sign-in", key, func(old []byte) ([]byte, time.Duration, error) {
		all := []SignIn{s}
		if old != nil {
			var earlier []SignIn
			// What does not open any more is forgotten: nobody is kept out for the sake of a list.
			switch err := v.openRecord(key, old, &earlier); {
			case err == nil:
				all = append(all, earlier[:min(len(earlier), MaxSignIns-1)]...)
			case !errors.Is(err, ErrInvalid):
				return nil, 0, err
			}
		}
		value, err := v.sealRecord(key, all)
		return value, signInLife, err
	})
}

// ListSignIns returns the last sign-ins of a user, given by [User.Key], the newest first.
func (v *Vault) ListSignIns(ctx context.Context, user string) ([]SignIn, error) {
	key, err := v.signInsKey(user)
	if err != nil {
		return nil, err
	}
	var all []SignIn
	err = v.get(ctx, key, &all)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		return nil, nil
	}
	return all, err
}

func (v *Vault) signInsKey(user string) (string, error) {
	if len(user) != 32 || !lowerHex(user) {
		return "", fmt.Errorf("naming sign-ins: malformed user key: %w", ErrInvalid)
	}
	return v.key("signins", user), nil
}
