package sessions

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ApprovalLife is how long a consent is remembered after it was last given.
const ApprovalLife = 90 * 24 * time.Hour

// Approval is a consent that a person gave to one client, at one redirect URI, for one resource. It
// is what lets the next authorization go without a question; it opens nothing by itself.
type Approval struct {
	ClientID     string `json:"client_id"`
	ClientLabel  string `json:"client_label,omitempty"`
	ClientName   string `json:"client_name,omitempty"`
	RedirectURI  string `json:"redirect_uri"`
	RedirectHost string `json:"redirect_host,omitempty"`
	Resource     string `json:"resource"`
	// Scopes are all that was agreed to, those included in others too.
	Scopes []string `json:"scopes,omitempty"`
	// OfflineAccess tells whether the client was to get refresh tokens.
	OfflineAccess bool      `json:"offline_access,omitempty"`
	ApprovedAt    time.Time `json:"approved_at"`
	ExpiresAt     time.Time `json:"expires_at"`
}

// ID names the approval among those of its user. It follows from the client, the redirect URI and
// the resource, so that a person who consents again changes the one there is.
func (a Approval) ID() string {
	var framed []byte
	for _, part := range []string{a.ClientID, a.RedirectURI, a.Resource} {
		// The length stands first, so that no part can pass for a piece of the next.
		framed = binary.BigEndian.AppendUint64(framed, uint64(len(part)))
		framed = append(framed, part...)
	}
	return digest(string(framed))
}

// Approve remembers a for [ApprovalLife], in place of what the same user said before about the same
// client, redirect URI and resource. user is [User.Key].
func (v *Vault) Approve(ctx context.Context, user string, a Approval) error {
	prefix, err := v.approvals(user)
	if err != nil {
		return err
	}
	a.ApprovedAt = v.now()
	a.ExpiresAt = a.ApprovedAt.Add(ApprovalLife)
	return v.put(ctx, prefix+a.ID(), a, ApprovalLife)
}

// LoadApproval returns what a user said about the client, the redirect URI and the resource of
// like. The error is [ErrNotFound] or [ErrUnavailable].
func (v *Vault) LoadApproval(ctx context.Context, user string, like Approval) (Approval, error) {
	prefix, err := v.approvals(user)
	if err != nil {
		return Approval{}, err
	}
	a, err := v.loadApproval(ctx, prefix+like.ID())
	if err != nil {
		return Approval{}, err
	}
	if a.ID() != like.ID() {
		return Approval{}, ErrNotFound
	}
	return a, nil
}

// ListApprovals returns the approvals of a user, given by [User.Key], the newest first.
func (v *Vault) ListApprovals(ctx context.Context, user string) ([]Approval, error) {
	prefix, err := v.approvals(user)
	if err != nil {
		return nil, err
	}
	keys, err := v.Store.List(ctx, prefix)
	if err != nil {
		return nil, unavailable("listing approvals", err)
	}
	var all []Approval
	for _, key := range keys {
		a, err := v.loadApproval(ctx, key)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return nil, err
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Approval) int {
		if order := b.ApprovedAt.Compare(a.ApprovedAt); order != 0 {
			return order
		}
		return strings.Compare(a.ID(), b.ID())
	})
	return all, nil
}

// Withdraw forgets an approval of a user, given by [User.Key], by its [Approval.ID]. It is no error
// if there is none. Tokens that were issued meanwhile are a matter of their grant.
func (v *Vault) Withdraw(ctx context.Context, user, id string) error {
	prefix, err := v.approvals(user)
	if err != nil {
		return err
	}
	if len(id) != 32 || !lowerHex(id) {
		return fmt.Errorf("withdrawing an approval: malformed id: %w", ErrInvalid)
	}
	if err := v.Store.Delete(ctx, prefix+id); err != nil {
		return unavailable("withdrawing an approval", err)
	}
	return nil
}

// approvals is the prefix of a user's approvals.
func (v *Vault) approvals(user string) (string, error) {
	if len(user) != 32 || !lowerHex(user) {
		return "", fmt.Errorf("naming approvals: malformed user key: %w", ErrInvalid)
	}
	return v.key("approval", user) + "/", nil
}

// loadApproval takes a record that opens no more for none: the person is asked again.
func (v *Vault) loadApproval(ctx context.Context, key string) (Approval, error) {
	var a Approval
	err := v.get(ctx, key, &a)
	if errors.Is(err, ErrInvalid) || err == nil && !v.now().Before(a.ExpiresAt) {
		err = ErrNotFound
	}
	if err != nil {
		return Approval{}, err
	}
	return a, nil
}
