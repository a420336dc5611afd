package credentials

import (
	"context"
	"errors"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxAttempts bounds how often a change begins anew because another one came in between.
const maxAttempts = 5

// State is what a person may know of a credential of theirs.
type State struct {
	// Stored is set if there is one; Ended if it has to be connected again.
	Stored, Ended bool
	// Since is when the person gave it; Used when it was last used, give or take a day, zero if never.
	Since, Used time.Time
}

// State tells what there is of a person for an upstream. The error is sessions.ErrUnavailable.
func (k *Keeper) State(ctx context.Context, person sessions.User, up *Upstream) (State, error) {
	c, err := k.find(ctx, person, up)
	switch {
	case errors.Is(err, ErrMissing):
		return State{}, nil
	case err != nil && !errors.Is(err, ErrEnded):
		return State{}, err
	}
	return State{Stored: true, Ended: err != nil, Since: c.CreatedAt, Used: c.UsedAt}, nil
}

// Put stores a token that a person typed in, and reports whether it took the place of another one. The
// error is [ErrSecret] or sessions.ErrUnavailable.
func (k *Keeper) Put(ctx context.Context, person sessions.User, up *Upstream, secret string) (replaced bool, err error) {
	if up.OAuth != nil {
		return false, errors.New("storing a credential: this upstream issues them itself")
	}
	if err := CheckSecret(secret); err != nil {
		return false, err
	}
	return k.put(ctx, person, up, oauthclient.Tokens{Access: secret}, "")
}

// put makes t, which issuer has issued, the credential of a person.
func (k *Keeper) put(ctx context.Context, person sessions.User, up *Upstream, t oauthclient.Tokens, issuer string) (replaced bool, err error) {
	o := ownerOf(person, up)
	for range maxAttempts {
		old, err := k.supersede(ctx, o)
		if err != nil {
			return false, err
		}
		_, err = k.Vault.UpdateCredential(ctx, o.user, o.resource, unusedLife, func(c *sessions.Credential) error {
			if c.Version != old {
				return errOvertaken
			}
			now := k.Now()
			*c = sessions.Credential{
				Version: sessions.NewID(), User: o.user, Resource: o.resource, Source: up.source(), Issuer: issuer,
				Secret: t.Access, Refresh: t.Refresh, ExpiresAt: t.Expires, CreatedAt: now, ChangedAt: now,
			}
			return nil
		})
		if errors.Is(err, errOvertaken) {
			continue
		}
		k.cache.remove(o)
		return old != sessions.ID{} && err == nil, err
	}
	return false, errors.Join(sessions.ErrUnavailable, errOvertaken)
}

// supersede tells everybody that the credential of an owner is about to change. It returns the version
// that is there, zero for none.
func (k *Keeper) supersede(ctx context.Context, o owner) (sessions.ID, error) {
	c, err := k.Vault.LoadCredential(ctx, o.user, o.resource)
	switch {
	case errors.Is(err, sessions.ErrNotFound):
		return sessions.ID{}, nil
	case errors.Is(err, sessions.ErrInvalid):
		// Nobody can use it, and it must not be in the way.
		if _, err := k.Vault.TakeCredential(ctx, o.user, o.resource); errors.Is(err, sessions.ErrUnavailable) {
			return sessions.ID{}, err
		}
		return sessions.ID{}, nil
	case err != nil:
		return sessions.ID{}, err
	}
	return c.Version, k.Vault.Supersede(ctx, c.Version, superseded)
}

// Removal is what became of a credential that was removed.
type Removal struct {
	// Found is set if there was one.
	Found bool
	// Untold is set if its authorization server could not be told that it is to end: it may live on there.
	Untold bool
}

// Remove deletes the credential of a person for an upstream, here at once and elsewhere within two
// seconds, and revokes it where that can be done (RFC 7009). The error is sessions.ErrUnavailable, and
// then it can be repeated.
func (k *Keeper) Remove(ctx context.Context, person sessions.User, up *Upstream) (Removal, error) {
	o := ownerOf(person, up)
	if _, err := k.supersede(ctx, o); err != nil {
		return Removal{}, err
	}
	c, err := k.Vault.TakeCredential(ctx, o.user, o.resource)
	k.cache.remove(o)
	switch {
	case errors.Is(err, sessions.ErrNotFound), errors.Is(err, sessions.ErrInvalid):
		return Removal{}, nil
	case err != nil:
		return Removal{}, err
	}
	// One that came in between was not announced.
	if err := k.Vault.Supersede(ctx, c.Version, superseded); err != nil {
		return Removal{Found: true}, err
	}
	if up.OAuth == nil || c.Source != up.source() || c.Secret == "" {
		return Removal{Found: true}, nil
	}
	server, err := up.OAuth.At(ctx, c.Issuer)
	if err == nil {
		err = server.Revoke(ctx, c.Secret, c.Refresh)
	}
	return Removal{Found: true, Untold: err != nil}, nil
}
