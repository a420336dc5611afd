package sessions

import (
	"errors"
	"fmt"
	"time"
)

const (
	// maxAccessLife bounds an access token's life, and so the time for which a revocation must be remembered.
	maxAccessLife = 24 * time.Hour
	// maxAccessText bounds an access token, since it travels in a header with every request.
	maxAccessText = 4 << 10
)

// Access is what an access token says.
type Access struct {
	// ID is the token's own, Grant that of the permission it stems from. Revoking either ends the token.
	ID, Grant ID
	// IssuedAt and ExpiresAt are in Unix seconds.
	IssuedAt, ExpiresAt int64
	// Resource is the one protected resource that the token is for (RFC 8707).
	Resource string
	// Scope is separated by spaces.
	Scope string
	// UserIssuer, Subject, Email and Name are those of [User]; Groups is separated by commas.
	UserIssuer, Subject, Email, Name, Groups string
	// ClientID is a short stable label of the client, ClientName what it calls itself.
	ClientID, ClientName string
}

var (
	errRevocationsNotLoaded = fmt.Errorf("revocations not loaded: %w", ErrUnavailable)
	errAccessTooLong        = errors.New("issuing an access token: it would be longer than 4 KiB; the user's groups are the usual cause")
)

// IssueAccess seals a. A zero ID is replaced by a fresh one. The life of a token is at most 24 hours.
func (v *Vault) IssueAccess(a Access) (string, error) {
	if life := a.ExpiresAt - a.IssuedAt; life <= 0 || life > int64(maxAccessLife/time.Second) {
		return "", fmt.Errorf("issuing an access token: a life of %d s is not within 24 hours", life)
	}
	if a.ID == (ID{}) {
		a.ID = NewID()
	}
	plain, err := a.appendBinary(nil)
	if err != nil {
		return "", err
	}
	token, err := v.Ring.Seal(AccessToken, v.Tenant, plain)
	if err != nil {
		return "", err
	}
	if len(token) > maxAccessText {
		return "", errAccessTooLong
	}
	return token, nil
}

// OpenAccess reads token into a. It takes no lock and does no I/O. The error is [ErrInvalid],
// [ErrExpired], [ErrRevoked] (the token or its grant) or [ErrUnavailable]; a is filled in after
// ErrExpired and ErrRevoked, too, for the audit log.
func (v *Vault) OpenAccess(token string, a *Access) error { return v.open(AccessToken, token, a) }

func (v *Vault) open(k Kind, token string, a *Access) error {
	if len(token) > maxAccessText {
		return ErrInvalid
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	plain, err := v.Ring.openIn(s, k, v.Tenant, token)
	if err != nil {
		return err
	}
	if err := a.decode(plain); err != nil {
		return err
	}
	if v.now().Unix() >= a.ExpiresAt {
		return ErrExpired
	}
	if r := v.Revocations; r != nil {
		if r.Revoked(a.Grant) || r.Revoked(a.ID) {
			return ErrRevoked
		}
		if !r.Loaded() {
			return errRevocationsNotLoaded
		}
	}
	return nil
}
