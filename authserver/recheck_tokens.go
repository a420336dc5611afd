package authserver

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	// maxOwnerChecks bounds the checks under way, so that a provider that hangs costs no more than that.
	maxOwnerChecks = 16
	ownerCheckTime = 30 * time.Second
)

// CheckOwner makes sure that somebody still vouches for the owner of a token that a person made, as
// refreshing does for a grant: such a token is never refreshed. It returns at once, since requests do
// not wait for a store or a provider; what it finds acts on those that come after. The caller asks for
// it now and then while a token is in use.
func (s *Server) CheckOwner(user sessions.User, token sessions.ID) {
	select {
	case s.ownerChecks <- struct{}{}:
	default:
		return // the next use asks again
	}
	s.background.Go(func() {
		defer func() { <-s.ownerChecks }()
		ctx, cancel := context.WithTimeout(context.Background(), ownerCheckTime)
		defer cancel()
		if err := s.checkOwner(ctx, user, token); err != nil {
			s.Logger.Warn("the owner of a token could not be asked about", zap.Error(err))
		}
	})
}

func (s *Server) checkOwner(ctx context.Context, user sessions.User, id sessions.ID) error {
	t, err := s.Vault.LoadUserToken(ctx, user.Key(), id)
	switch {
	case errors.Is(err, sessions.ErrNotFound), errors.Is(err, sessions.ErrInvalid):
		return nil // revoked just now
	case err != nil:
		return err
	case t.Provider != "" && s.providers[t.Provider] == nil:
		return s.endToken(ctx, t, audit.ByOperator, "identity provider "+t.Provider+" is not configured any more")
	case t.Upstream == (sessions.ID{}):
		return nil // nobody can be asked
	}
	up, err := s.Vault.LoadUpstream(ctx, user, t.Upstream)
	if err == nil && s.Now().Sub(up.CheckedAt) >= s.Lifetimes.Recheck {
		_, err, _ = s.rechecks.Do(up.ID.String(), func() (any, error) { return s.askAgain(ctx, up, nil) })
	}
	switch {
	case errors.Is(err, identity.ErrDenied):
		ended, err := s.Vault.EndUpstream(ctx, user, t.Upstream)
		for _, g := range ended.Grants {
			s.Audit.Record(ctx, audit.Event{
				Type: audit.Revocation, Allowed: true, By: audit.ByProvider, Reason: notVouched, Subject: g.User.Subject, Email: g.User.Email,
				ClientID: g.ClientLabel, ClientName: g.ClientName, Resource: g.Resource, Grant: g.ID.String(),
			})
		}
		for _, t := range ended.Tokens {
			s.recordTokenEnd(ctx, t, audit.ByProvider, notVouched)
		}
		return err
	case errors.Is(err, sessions.ErrNotFound), errors.Is(err, sessions.ErrInvalid):
		return s.endToken(ctx, t, audit.ByProvider, "the sign-in at the identity provider has ended")
	}
	// A provider that cannot be asked costs nobody a token: whoever makes one does so for times when nobody
	// is there to sign in again.
	return err
}

// endToken ends a token that a person made.
func (s *Server) endToken(ctx context.Context, t sessions.PersonalToken, by audit.Actor, reason string) error {
	if err := s.Vault.RevokeUserToken(ctx, t.User.Key(), t.ID); err != nil {
		return err
	}
	s.recordTokenEnd(ctx, t, by, reason)
	return nil
}

func (s *Server) recordTokenEnd(ctx context.Context, t sessions.PersonalToken, by audit.Actor, reason string) {
	s.Audit.Record(ctx, audit.Event{
		Type: audit.Revocation, Allowed: true, By: by, Reason: reason, Subject: t.User.Subject, Email: t.User.Email,
		ClientName: t.Name, Credential: t.Label(), Resource: strings.Join(t.Resources, " "),
	})
}
