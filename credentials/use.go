package credentials

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	// workTime bounds what one load or refresh may take, its requests included. It goes on when the client
	// hangs up: the authorization server may have rotated the refresh token by then.
	workTime = 20 * time.Second
	// maxMargin is how long before its end a credential is refreshed.
	maxMargin = time.Minute
	// retryPause is for how long a refresh that failed is not tried again.
	retryPause = 5 * time.Second
	// rejectedPause is for how long a credential that was refreshed is not refreshed on account of a 401: it
	// was refused for another reason than its age.
	rejectedPause = 30 * time.Second
)

// Use returns the credential of a person for an upstream. Nearly always it comes from memory; the store
// is asked at the first use on this replica, once a minute, and after a change. The error is ErrMissing,
// ErrEnded, ErrServerDown or sessions.ErrUnavailable.
func (k *Keeper) Use(ctx context.Context, person sessions.User, up *Upstream) (Held, error) {
	o := ownerOf(person, up)
	kept, ok := k.cache.get(o)
	now := k.Now()
	usable := ok && !k.Vault.Superseded(kept.version) && !kept.ended(now)
	if usable && now.Before(kept.due) {
		return kept.Held, nil
	}
	held, err := flight(ctx, &k.loads, o.flight(), func(ctx context.Context) (Held, error) { return k.load(ctx, person, up) })
	if errors.Is(err, sessions.ErrUnavailable) && usable && now.Sub(kept.loaded) < stale {
		return kept.Held, nil
	}
	return held, err
}

// Renew returns another credential after the upstream has refused held: one that came meanwhile, or a
// refreshed one. The error is ErrRejected if there is none, or one of those of [Keeper.Use].
func (k *Keeper) Renew(ctx context.Context, person sessions.User, up *Upstream, held Held) (Held, error) {
	// Flights are shared only by those who were refused the same.
	key := held.version.String() + ownerOf(person, up).flight()
	return flight(ctx, &k.renewals, key, func(ctx context.Context) (Held, error) {
		c, err := k.find(ctx, person, up)
		switch {
		case err != nil:
			return Held{}, err
		case c.Version != held.version:
			return k.hold(up, c, time.Time{})
		case c.Refresh == "", c.ChangedAt.After(c.CreatedAt) && k.Now().Sub(c.ChangedAt) < rejectedPause:
			return Held{}, ErrRejected
		}
		if c, err = k.refresh(ctx, person, up, c); err != nil {
			return Held{}, err
		}
		return k.hold(up, c, time.Time{})
	})
}

// load reads a credential from the store, refreshes it if it is about to end, and keeps a copy.
func (k *Keeper) load(ctx context.Context, person sessions.User, up *Upstream) (Held, error) {
	c, err := k.find(ctx, person, up)
	if err != nil {
		return Held{}, err
	}
	var due time.Time
	if k.Now().After(refreshTime(c)) {
		switch refreshed, err := k.refresh(ctx, person, up, c); {
		case err == nil:
			c = refreshed
		case errors.Is(err, ErrMissing), errors.Is(err, ErrEnded), !k.Now().Before(c.ExpiresAt):
			return Held{}, err
		default:
			due = k.Now().Add(retryPause) // it is good for a little longer
		}
	}
	k.noteUse(ctx, c)
	return k.hold(up, c, due)
}

// find reads a credential from the store. One that came from elsewhere is none of this upstream's.
func (k *Keeper) find(ctx context.Context, person sessions.User, up *Upstream) (sessions.Credential, error) {
	c, err := k.Vault.LoadCredential(ctx, person.Key(), up.Resource)
	switch {
	case errors.Is(err, sessions.ErrInvalid):
		k.Logger.Warn("a credential cannot be opened any more, and its owner is asked for another", zap.String("resource", up.Resource))
		return c, ErrMissing
	case errors.Is(err, sessions.ErrNotFound):
		return c, ErrMissing
	case err != nil:
		return c, err
	}
	return c, k.usable(up, c)
}

// usable tells why a credential of the store is none.
func (k *Keeper) usable(up *Upstream, c sessions.Credential) error {
	switch {
	case c.Version == (sessions.ID{}), c.Source != up.source():
		return ErrMissing
	case c.Secret == "", c.Refresh == "" && !c.ExpiresAt.IsZero() && !k.Now().Before(c.ExpiresAt):
		return ErrEnded
	}
	return nil
}

// hold keeps a copy. A due time that is not zero is when to ask the store again.
func (k *Keeper) hold(up *Upstream, c sessions.Credential, due time.Time) (Held, error) {
	value, err := up.Header.Value(c.Secret)
	if err != nil {
		return Held{}, ErrMissing
	}
	held := Held{value: value, version: c.Version}
	now := k.Now()
	if due.IsZero() {
		if due = now.Add(fresh); !c.ExpiresAt.IsZero() && refreshTime(c).Before(due) {
			due = refreshTime(c)
		}
	}
	k.cache.put(owner{c.User, c.Resource}, copied{Held: held, loaded: now, due: due, end: c.ExpiresAt})
	return held, nil
}

// refreshTime is when a credential is refreshed: shortly before its end. One that cannot be is good until
// then.
func refreshTime(c sessions.Credential) time.Time {
	switch {
	case c.ExpiresAt.IsZero():
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	case c.Refresh == "":
		return c.ExpiresAt
	}
	return c.ExpiresAt.Add(-min(maxMargin, c.ExpiresAt.Sub(c.ChangedAt)/4))
}

// noteUse keeps a credential that is in use from ending as unused, at the price of a write a day.
func (k *Keeper) noteUse(ctx context.Context, c sessions.Credential) {
	if c.LeftAt.IsZero() && k.Now().Sub(c.UsedAt) < useNoted {
		return
	}
	_, err := k.Vault.UpdateCredential(ctx, c.User, c.Resource, unusedLife, func(u *sessions.Credential) error {
		if u.Version != c.Version {
			return errOvertaken
		}
		u.UsedAt, u.LeftAt = k.Now(), time.Time{}
		return nil
	})
	if err != nil && !errors.Is(err, errOvertaken) {
		k.Logger.Warn("the use of a credential was not noted", zap.Error(err))
	}
}

// flight does work once for all who ask for it at the same time, and lets them leave earlier.
func flight(ctx context.Context, group *singleflight.Group, key string, work func(context.Context) (Held, error)) (Held, error) {
	done := group.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), workTime)
		defer cancel()
		return work(ctx)
	})
	select {
	case result := <-done:
		return result.Val.(Held), result.Err
	case <-ctx.Done():
		return Held{}, ctx.Err()
	}
}
