package sessions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// standing is what a presented generation is worth.
type standing int

const (
	current  standing = iota // to be rotated
	previous                 // rotated a moment ago: by a parallel process of the client, or the answer was lost
	stale                    // rotated long ago: a copy
)

func (g grantRecord) standing(generation uint32, grace time.Duration, now time.Time) standing {
	switch {
	// A generation from the future was issued by us, or it would not have opened: the store lost its last write,
	// as a failover can. The client that holds it is not to blame, and what went before becomes stale.
	case generation >= g.Generation:
		return current
	case generation == g.Generation-1 && grace > 0 && now.Sub(g.RotatedAt) <= grace:
		return previous
	}
	return stale
}

// RotateGrant exchanges a refresh token for the next one (OAuth 2.1, section 4.3.1; RFC 9700, section 4.14.2).
//
// The current generation is rotated, atomically over all replicas. The previous one, within the
// grace of p, gets the current generation once more and nothing is rotated, so that parallel
// processes of one client and lost answers sign nobody out. Anything older means that two parties
// hold the token and nobody can tell who is the thief: the grant is revoked, and the error is
// [ErrReused], together with the grant. The other errors are those of [Vault.LoadGrant].
//
// change, if not nil, runs inside the atomic step, perhaps several times. It sees the current
// record and may alter it, or refuse with an error that is returned as it is, and then nothing is
// written. It cannot alter whose grant it is, its generation, or its times other than UsedAt and AuthTime.
func (v *Vault) RotateGrant(ctx context.Context, refresh string, p GrantPolicy, change func(*Grant) error) (Grant, string, error) {
	token, err := v.openRefresh(refresh)
	if err != nil {
		return Grant{}, "", err
	}
	key := v.grantKey(token.userKey(), token.grant)
	if v.revoked(token.grant) {
		// Normally there is nothing left to do. But if the store failed when the grant was revoked, the
		// record must not outlive the memory of that, and the other replicas must hear of it.
		return Grant{}, "", errors.Join(ErrRevoked, v.RevokeGrant(ctx, token.userKey(), token.grant))
	}
	var rec grantRecord
	err = v.update(ctx, "rotating a grant", key, func(old []byte) ([]byte, time.Duration, error) {
		rec = grantRecord{}
		if old == nil {
			return nil, 0, ErrNotFound
		}
		if err := v.openRecord(key, old, &rec); err != nil {
			return nil, 0, err
		}
		now := v.now()
		if err := rec.turn(token.generation, p, now, change); err != nil {
			return nil, 0, err
		}
		value, err := v.sealRecord(key, rec)
		return value, rec.ExpiresAt.Sub(now), err
	})
	switch {
	case errors.Is(err, ErrReused) && rec.reused:
		return rec.Grant, "", v.endFamily(ctx, token)
	case err != nil && !errors.Is(err, errUnchanged):
		return Grant{}, "", err
	}
	token.generation = rec.Generation
	next, err := v.sealRefresh(token)
	return rec.Grant, next, err
}

// turn makes of g what it should be after generation was presented at now.
func (g *grantRecord) turn(generation uint32, p GrantPolicy, now time.Time, change func(*Grant) error) error {
	if !now.Before(g.ExpiresAt) || p.Absolute > 0 && !now.Before(g.CreatedAt.Add(p.Absolute)) {
		return ErrExpired
	}
	switch g.standing(generation, p.Grace, now) {
	case stale:
		g.reused = true
		return ErrReused
	case previous:
		before, err := json.Marshal(g)
		if err != nil {
			return fmt.Errorf("encoding a grant: %w", err)
		}
		if err := g.apply(change); err != nil {
			return err
		}
		after, err := json.Marshal(g)
		if err != nil {
			return fmt.Errorf("encoding a grant: %w", err)
		}
		if bytes.Equal(before, after) {
			return errUnchanged
		}
		return nil
	}
	g.UsedAt = now
	if err := g.apply(change); err != nil {
		return err
	}
	g.Generation = generation + 1
	g.RotatedAt = now
	g.ExpiresAt = p.expiry(g.CreatedAt, now)
	g.Grace = p.Grace
	return nil
}

// apply runs change, and undoes what it must not touch.
func (g *grantRecord) apply(change func(*Grant) error) error {
	if change == nil {
		return nil
	}
	before := g.Grant
	if err := change(&g.Grant); err != nil {
		return err
	}
	if g.User.Key() != before.User.Key() {
		return errors.New("changing a grant: it cannot pass to another user")
	}
	g.ID, g.Generation = before.ID, before.Generation
	g.CreatedAt, g.RotatedAt, g.ExpiresAt = before.CreatedAt, before.RotatedAt, before.ExpiresAt
	return nil
}

// endFamily revokes the grant of a token that was presented once too often. It does so even if the caller
// hangs up, or whoever stole the token would only have to be quick about that.
func (v *Vault) endFamily(ctx context.Context, t refreshToken) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := v.RevokeGrant(ctx, t.userKey(), t.grant); err != nil {
		return fmt.Errorf("%w: %w", ErrReused, err)
	}
	return ErrReused
}
