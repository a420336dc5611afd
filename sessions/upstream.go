package sessions

import (
	"context"
	"errors"
	"time"
)

// Upstream is a sign-in at an identity provider that can be asked about again. The browser session
// and all grants that came of one sign-in share its record: a provider that rotates its refresh
// tokens would take a second holder of one for a thief (RFC 9700, section 4.14.2).
type Upstream struct {
	ID       ID     `json:"id"`
	User     User   `json:"user"` // as the provider described them at CheckedAt
	Provider string `json:"provider"`
	// Secret is the provider's refresh token and what belongs to it, opaque here.
	Secret []byte `json:"secret"`
	// CheckedAt is when the provider last vouched for the person.
	CheckedAt time.Time `json:"checked_at"`
	// AskedAt is set while a replica asks the provider.
	AskedAt time.Time `json:"asked_at,omitzero"`
	// ExpiresAt is until when the record is kept at least: what depends on it lives no longer.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Relayed is set where the provider's access tokens are what the client gets.
	Relayed *Relayed `json:"relayed,omitempty"`
}

// CreateUpstream stores u for ttl under a fresh ID, which it returns.
func (v *Vault) CreateUpstream(ctx context.Context, u Upstream, ttl time.Duration) (ID, error) {
	u.ID, u.ExpiresAt = NewID(), v.now().Add(ttl)
	if err := v.put(ctx, v.upstreamKey(u.User, u.ID), u, ttl); err != nil {
		return ID{}, err
	}
	return u.ID, nil
}

// LoadUpstream returns the record of a user's sign-in. The error is [ErrNotFound] when it has
// ended, [ErrInvalid] or [ErrUnavailable].
func (v *Vault) LoadUpstream(ctx context.Context, user User, id ID) (Upstream, error) {
	var u Upstream
	err := v.get(ctx, v.upstreamKey(user, id), &u)
	return u, err
}

// UpdateUpstream changes a record atomically and keeps it for at least ttl from now on. change may be called
// several times; it sees the current record and may refuse with an error that is returned as it is,
// together with the record. The other errors are those of [Vault.LoadUpstream].
func (v *Vault) UpdateUpstream(ctx context.Context, user User, id ID, ttl time.Duration, change func(*Upstream) error) (Upstream, error) {
	key := v.upstreamKey(user, id)
	var u Upstream
	err := v.update(ctx, "updating a sign-in", key, func(old []byte) ([]byte, time.Duration, error) {
		u = Upstream{}
		if old == nil {
			return nil, 0, ErrNotFound
		}
		if err := v.openRecord(key, old, &u); err != nil {
			return nil, 0, err
		}
		if err := change(&u); err != nil {
			return nil, 0, err
		}
		if u.ID != id || u.User.Key() != user.Key() {
			return nil, 0, errors.New("updating a sign-in: it cannot pass to another user")
		}
		now := v.now()
		if end := now.Add(ttl); end.After(u.ExpiresAt) {
			u.ExpiresAt = end
		}
		value, err := v.sealRecord(key, u)
		return value, u.ExpiresAt.Sub(now), err
	})
	return u, err
}

// Ended is what ended together with a sign-in.
type Ended struct {
	Grants []Grant
	Tokens []PersonalToken
}

// EndUpstream forgets a sign-in and revokes what came of it: every grant, and every token that the person
// made while signed in so. What they gave for use at upstreams is kept for [LeaverLife] from now on,
// unless it is used again. EndUpstream returns what it ended, also after an error, and can be repeated then.
func (v *Vault) EndUpstream(ctx context.Context, user User, id ID) (ended Ended, err error) {
	grants, err := v.ListGrants(ctx, user.Key())
	if err != nil {
		return ended, err
	}
	tokens, err := v.ListUserTokens(ctx, user.Key())
	if err != nil {
		return ended, err
	}
	for _, g := range grants {
		if g.Upstream != id {
			continue
		}
		if revoking := v.RevokeGrant(ctx, user.Key(), g.ID); revoking != nil {
			err = errors.Join(err, revoking)
			continue
		}
		ended.Grants = append(ended.Grants, g)
	}
	for _, t := range tokens {
		if t.Upstream != id {
			continue
		}
		if revoking := v.RevokeUserToken(ctx, user.Key(), t.ID); revoking != nil {
			err = errors.Join(err, revoking)
			continue
		}
		ended.Tokens = append(ended.Tokens, t)
	}
	if err = errors.Join(err, v.abandonCredentials(ctx, user.Key())); err != nil {
		// The record stays until everything has ended, so that a repetition finds what is left.
		return ended, err
	}
	return ended, v.DeleteUpstream(ctx, user, id)
}

func (v *Vault) upstreamKey(user User, id ID) string {
	return v.key("upstream", user.Key()) + "/" + digest(id.String())
}
