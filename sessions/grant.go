package sessions

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Grant is what a person allowed one client: a refresh family. Of all refresh tokens ever issued
// for it only the current generation is good, and for a short while the one before.
type Grant struct {
	ID           ID        `json:"id"`
	User         User      `json:"user"`
	ClientID     string    `json:"client_id"`
	ClientLabel  string    `json:"client_label,omitempty"`
	ClientName   string    `json:"client_name,omitempty"`
	RedirectHost string    `json:"redirect_host,omitempty"`
	Resource     string    `json:"resource"`
	Scopes       []string  `json:"scopes,omitempty"`
	CreatedAt    time.Time `json:"created_at"`
	UsedAt       time.Time `json:"used_at,omitzero"`
	ExpiresAt    time.Time `json:"expires_at"`
	AuthTime     time.Time `json:"auth_time,omitzero"`
	Generation   uint32    `json:"generation"`
	RotatedAt    time.Time `json:"rotated_at,omitzero"`
	ClientAddr   string    `json:"client_addr,omitempty"`
	// Upstream is the sign-in at the identity provider, where that can be asked about again; see [Upstream].
	Upstream ID `json:"upstream,omitzero"`
	// Provider is the id of the identity provider that vouched for the user, "" if none did.
	Provider string `json:"provider,omitempty"`
}

// GrantPolicy says how long grants live.
type GrantPolicy struct {
	// Sliding is how long a grant lives after its last rotation. Default: 30 days.
	Sliding time.Duration
	// Absolute is how long a grant lives at most after its creation; 0 means that there is no such limit.
	Absolute time.Duration
	// Grace is how long the previous generation still works after a rotation; 0 means not at all.
	Grace time.Duration
}

func (p GrantPolicy) expiry(created, now time.Time) time.Time {
	sliding := p.Sliding
	if sliding <= 0 {
		sliding = 30 * 24 * time.Hour
	}
	expires := now.Add(sliding)
	if limit := created.Add(p.Absolute); p.Absolute > 0 && limit.Before(expires) {
		return limit
	}
	return expires
}

// grantRecord is a grant at rest. The grace is that of the policy under which it was last rotated.
type grantRecord struct {
	Grant
	Grace time.Duration `json:"grace"`

	reused bool // found so by turn
}

// CreateGrant stores g and returns its first refresh token. It keeps g.ID if that was chosen
// before, when the code was issued. The error is [ErrRevoked] if that id was revoked meanwhile.
func (v *Vault) CreateGrant(ctx context.Context, g Grant, p GrantPolicy) (refresh string, err error) {
	now := v.now()
	if g.ID == (ID{}) {
		g.ID = NewID()
	}
	if g.CreatedAt.IsZero() {
		g.CreatedAt = now
	}
	if g.UsedAt.IsZero() {
		g.UsedAt = now
	}
	g.Generation, g.RotatedAt, g.ExpiresAt = 1, now, p.expiry(g.CreatedAt, now)
	key := v.grantKey(g.User.Key(), g.ID)
	if err := v.put(ctx, key, grantRecord{Grant: g, Grace: p.Grace}, g.ExpiresAt.Sub(now)); err != nil {
		return "", err
	}
	// A replay of the code may have revoked the grant before it was there to be deleted. Revoking records the id
	// first and deletes then, creating does it the other way round, so that one of the two sees the other.
	revoked, err := v.recordedRevoked(ctx, g.ID)
	if err != nil {
		return "", err
	}
	if revoked {
		return "", errors.Join(ErrRevoked, v.deleteGrant(ctx, key))
	}
	return v.sealRefresh(refreshToken{grant: g.ID, user: g.User.key(), generation: g.Generation})
}

// LoadGrant returns the grant of a refresh token and changes nothing. The error is [ErrInvalid], [ErrExpired],
// [ErrRevoked] or [ErrNotFound] when the grant has ended, [ErrReused] together with the grant when
// the token was rotated longer ago than the grace allows, or [ErrUnavailable].
func (v *Vault) LoadGrant(ctx context.Context, refresh string) (Grant, error) {
	token, err := v.openRefresh(refresh)
	if err != nil {
		return Grant{}, err
	}
	if v.revoked(token.grant) {
		return Grant{}, ErrRevoked
	}
	var rec grantRecord
	if err := v.get(ctx, v.grantKey(token.userKey(), token.grant), &rec); err != nil {
		return Grant{}, err
	}
	now := v.now()
	if !now.Before(rec.ExpiresAt) {
		return Grant{}, ErrExpired
	}
	if rec.standing(token.generation, rec.Grace, now) == stale {
		return rec.Grant, ErrReused
	}
	return rec.Grant, nil
}

// RevokeGrant ends a grant: its refresh tokens, and every access token issued under it. user is [User.Key]. It is
// no error if there is no such grant. It can be repeated after an error.
func (v *Vault) RevokeGrant(ctx context.Context, user string, id ID) error {
	if len(user) != 32 || !lowerHex(user) {
		return fmt.Errorf("revoking a grant: malformed user key: %w", ErrInvalid)
	}
	// The record goes last: as long as it is there, somebody sees the grant and can try again.
	if v.Revocations != nil {
		if err := v.Revocations.Revoke(ctx, id, maxAccessLife); err != nil {
			return err
		}
	}
	return v.deleteGrant(ctx, v.grantKey(user, id))
}

// ListGrants returns the live grants of a user, given by [User.Key], oldest first. One whose revocation
// has failed halfway is among them: it may be alive on other replicas.
func (v *Vault) ListGrants(ctx context.Context, user string) ([]Grant, error) {
	if len(user) != 32 || !lowerHex(user) {
		return nil, fmt.Errorf("listing grants: malformed user key: %w", ErrInvalid)
	}
	keys, err := v.Store.List(ctx, v.key("grant", user)+"/")
	if err != nil {
		return nil, unavailable("listing grants", err)
	}
	var grants []Grant
	for _, key := range keys {
		var rec grantRecord
		err := v.get(ctx, key, &rec)
		switch {
		// Ended meanwhile, or sealed with a key that is gone, so that no token of it opens either.
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalid):
			continue
		case err != nil:
			return nil, err
		case !v.now().Before(rec.ExpiresAt):
			continue
		}
		grants = append(grants, rec.Grant)
	}
	slices.SortFunc(grants, func(a, b Grant) int {
		if order := a.CreatedAt.Compare(b.CreatedAt); order != 0 {
			return order
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return grants, nil
}

func (v *Vault) grantKey(user string, id ID) string { return v.key("grant", user) + "/" + id.String() }

// deleteGrant is an Update, so that it cannot fall between the reading and the writing of a rotation.
func (v *Vault) deleteGrant(ctx context.Context, key string) error {
	return v.update(ctx, "deleting a grant", key, func([]byte) ([]byte, time.Duration, error) { return nil, 0, nil })
}

// recordedRevoked asks memory and then the store itself.
func (v *Vault) recordedRevoked(ctx context.Context, id ID) (bool, error) {
	if v.revoked(id) {
		return true, nil
	}
	_, err := v.Store.Get(ctx, revokedPrefix+id.String())
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, ErrNotFound):
		return false, nil
	}
	return false, unavailable("loading a revocation", err)
}

const (
	refreshVersion = 1
	refreshSize    = 1 + len(ID{}) + 16 + 4
)

// refreshToken is what a refresh token says.
type refreshToken struct {
	grant      ID
	user       [16]byte
	generation uint32
}

func (t refreshToken) userKey() string { return hex.EncodeToString(t.user[:]) }

func (v *Vault) sealRefresh(t refreshToken) (string, error) {
	plain := make([]byte, 0, refreshSize)
	plain = append(plain, refreshVersion)
	plain = append(plain, t.grant[:]...)
	plain = append(plain, t.user[:]...)
	plain = binary.BigEndian.AppendUint32(plain, t.generation)
	return v.Ring.Seal(RefreshToken, v.Tenant, plain)
}

func (v *Vault) openRefresh(refresh string) (refreshToken, error) {
	plain, err := v.Ring.Open(RefreshToken, v.Tenant, refresh)
	if err != nil {
		return refreshToken{}, err
	}
	if len(plain) != refreshSize || plain[0] != refreshVersion {
		return refreshToken{}, ErrInvalid
	}
	return refreshToken{
		grant:      ID(plain[1:17]),
		user:       [16]byte(plain[17:33]),
		generation: binary.BigEndian.Uint32(plain[33:]),
	}, nil
}
