package credentials

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	// refreshLease is for how long one replica's asking keeps the others from asking too. An authorization
	// server that rotates refresh tokens takes a second user of one for a thief (RFC 9700, section 4.14.2).
	refreshLease = 25 * time.Second
	// refreshPoll is how often a replica looks for what another one got.
	refreshPoll = 200 * time.Millisecond
)

var (
	errOvertaken = errors.New("the credential has changed")
	errElsewhere = errors.New("another replica is refreshing the credential")
	errTooSoon   = errors.New("refreshing the credential has just failed")
)

// refresh gets a new access token and stores it, once for all replicas. The error is ErrMissing,
// ErrEnded, ErrServerDown or sessions.ErrUnavailable.
func (k *Keeper) refresh(ctx context.Context, person sessions.User, up *Upstream, seen sessions.Credential) (sessions.Credential, error) {
	if seen.Refresh == "" || up.OAuth == nil {
		return seen, ErrEnded
	}
	claimed, err := k.update(ctx, seen, func(c *sessions.Credential) error {
		switch now := k.Now(); {
		case now.Before(c.RetryAt):
			return errTooSoon
		case now.Sub(c.AskedAt) < refreshLease:
			return errElsewhere
		}
		c.AskedAt = k.Now()
		return nil
	})
	switch {
	case errors.Is(err, errElsewhere):
		return k.await(ctx, up, claimed)
	case errors.Is(err, errOvertaken):
		return claimed, k.usable(up, claimed)
	case errors.Is(err, errTooSoon):
		return claimed, ErrServerDown
	case err != nil:
		return seen, err
	}
	var issued oauthclient.Tokens
	server, err := up.OAuth.At(ctx, claimed.Issuer)
	if err == nil {
		issued, err = server.Refresh(ctx, claimed.Refresh, nil)
	}
	switch {
	case errors.Is(err, oauthclient.ErrGrantEnded):
		k.recordFailure(ctx, person, up, "the authorization server refused to refresh it")
		return k.end(ctx, claimed)
	case err != nil:
		k.Logger.Warn("a credential could not be refreshed", zap.String("resource", up.Resource), zap.Error(err))
		k.recordFailure(ctx, person, up, "the authorization server gave no usable answer")
		_, release := k.update(ctx, claimed, func(c *sessions.Credential) error {
			c.AskedAt, c.RetryAt = time.Time{}, k.Now().Add(retryPause)
			return nil
		})
		if errors.Is(err, oauthclient.ErrMoved) && release == nil {
			return claimed, ErrEnded // until it is connected there, or the old one is named again
		}
		return claimed, errors.Join(ErrServerDown, release)
	}
	return k.renewed(ctx, up, server, claimed, issued)
}

// renewed stores what a refresh gave.
func (k *Keeper) renewed(ctx context.Context, up *Upstream, server *oauthclient.Client, claimed sessions.Credential, t oauthclient.Tokens) (sessions.Credential, error) {
	// Unlike a person's change this one must not fail: the old refresh token may be worth nothing now. A
	// replica that does not hear of it finds out by the next refusal.
	if err := k.Vault.Supersede(ctx, claimed.Version, superseded); err != nil {
		k.Logger.Warn("other replicas were not told of a refreshed credential", zap.Error(err))
	}
	stored, err := k.update(ctx, claimed, func(c *sessions.Credential) error {
		c.Version, c.ChangedAt, c.AskedAt, c.RetryAt = sessions.NewID(), k.Now(), time.Time{}, time.Time{}
		c.Secret, c.ExpiresAt = t.Access, t.Expires
		if t.Refresh != "" {
			// RFC 6749, section 6: without a new one the old one stays.
			c.Refresh = t.Refresh
		}
		return nil
	})
	switch {
	case errors.Is(err, errOvertaken):
		// It was removed or replaced meanwhile: what has just been issued is nobody's.
		_ = server.Revoke(ctx, t.Access, t.Refresh)
		return stored, k.usable(up, stored)
	case err != nil:
		k.Logger.Error("a refreshed credential could not be stored; its owner may have to connect again", zap.Error(err))
		return claimed, err
	}
	return stored, nil
}

// end keeps of a credential only that there was one, so that its owner can be told.
func (k *Keeper) end(ctx context.Context, claimed sessions.Credential) (sessions.Credential, error) {
	if err := k.Vault.Supersede(ctx, claimed.Version, superseded); err != nil {
		return claimed, err
	}
	c, err := k.update(ctx, claimed, func(c *sessions.Credential) error {
		c.Version, c.Secret, c.Refresh, c.AskedAt = sessions.NewID(), "", "", time.Time{}
		return nil
	})
	if err != nil && !errors.Is(err, errOvertaken) {
		return claimed, err
	}
	return c, ErrEnded
}

// await waits for the replica that refreshes.
func (k *Keeper) await(ctx context.Context, up *Upstream, c sessions.Credential) (sessions.Credential, error) {
	asked := c.Version
	tick := time.NewTicker(refreshPoll)
	defer tick.Stop()
	for {
		switch {
		case c.Version != asked:
			return c, k.usable(up, c)
		case c.AskedAt.IsZero(), k.Now().Sub(c.AskedAt) >= refreshLease:
			return c, ErrServerDown
		}
		select {
		case <-ctx.Done():
			return c, ErrServerDown
		case <-tick.C:
		}
		newer, err := k.Vault.LoadCredential(ctx, c.User, c.Resource)
		if errors.Is(err, sessions.ErrNotFound) {
			return c, ErrMissing
		}
		if err != nil {
			return c, err
		}
		c = newer
	}
}

// update changes a credential that is still the one seen; otherwise it returns the newer one with
// errOvertaken.
func (k *Keeper) update(ctx context.Context, seen sessions.Credential, change func(*sessions.Credential) error) (sessions.Credential, error) {
	return k.Vault.UpdateCredential(ctx, seen.User, seen.Resource, unusedLife, func(c *sessions.Credential) error {
		if c.Version != seen.Version {
			return errOvertaken
		}
		return change(c)
	})
}

func (k *Keeper) recordFailure(ctx context.Context, person sessions.User, up *Upstream, reason string) {
	k.Audit.Record(ctx, audit.Event{
		Type: audit.CredentialRefresh, Reason: reason,
		Subject: person.Subject, Email: person.Email, Resource: up.Resource,
	})
}
