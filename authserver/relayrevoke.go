package authserver

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// revokeGrant ends a grant, and in a facade what the provider issued for it: here at once, there if it can
// be reached now. Only the store's failure is one of this.
func (s *Server) revokeGrant(ctx context.Context, grant sessions.Grant) error {
	if err := s.Vault.RevokeGrant(ctx, grant.User.Key(), grant.ID); err != nil {
		return err
	}
	if err := s.endIssued(ctx, grant); !errors.Is(err, identity.ErrUnavailable) {
		return err
	}
	return nil // it was logged
}

// endIssued ends what the provider issued for a grant. The error is of the store, or identity.ErrUnavailable:
// then the provider could not be told, and can be told later.
func (s *Server) endIssued(ctx context.Context, grant sessions.Grant) error {
	if s.Relay == nil || grant.Upstream == (sessions.ID{}) {
		return nil
	}
	up, err := s.Vault.LoadUpstream(ctx, grant.User, grant.Upstream)
	if errors.Is(err, sessions.ErrNotFound) || errors.Is(err, sessions.ErrInvalid) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.endUpstream(ctx, up)
}

// endUpstream refuses the access tokens of a record here, then tells the provider. The record goes last, so
// that what failed halfway can be repeated.
func (s *Server) endUpstream(ctx context.Context, up sessions.Upstream) error {
	now := s.Now()
	if up.Relayed != nil {
		for _, t := range up.Relayed.Live(now) {
			if err := s.Vault.Revocations.Revoke(ctx, t.ID, t.ExpiresAt.Sub(now)+time.Minute); err != nil {
				return err
			}
		}
	}
	err := s.Relay.Revoke(ctx, up.Secret)
	if err != nil {
		// Those whose provider has no revocation endpoint end here and nowhere else.
		s.Logger.Warn("the provider did not revoke what it issued; it is refused here", zap.String("provider", s.Relay.ID()), errField(err))
	}
	if errors.Is(err, identity.ErrUnavailable) {
		return err
	}
	return s.Vault.DeleteUpstream(ctx, up.User, up.ID)
}

// discard gives back what the provider issued and nobody is going to get.
func (s *Server) discard(ctx context.Context, upstream []byte) {
	if s.Relay == nil || len(upstream) == 0 {
		return
	}
	if err := s.Relay.Revoke(context.WithoutCancel(ctx), upstream); err != nil {
		s.Logger.Info("the provider did not take back what it issued", zap.String("provider", s.Relay.ID()), errField(err))
	}
}

// discardOf does the same for what has been stored.
func (s *Server) discardOf(ctx context.Context, user sessions.User, id sessions.ID) {
	err := s.endIssued(context.WithoutCancel(ctx), sessions.Grant{User: user, Upstream: id})
	if err != nil && !errors.Is(err, identity.ErrUnavailable) {
		s.Logger.Warn("what the provider issued could not be ended", errField(err))
	}
}

// revokeIssued tells the provider of a grant that a client has revoked. The grant is dead here whatever the
// provider says; a client that is told 503 may try again until the provider has heard of it.
func (s *Server) revokeIssued(r *http.Request, grant sessions.Grant) *oauthError {
	err := s.endIssued(r.Context(), grant)
	switch {
	case errors.Is(err, identity.ErrUnavailable):
		return providerUnavailable()
	case err != nil:
		return s.storeError("ending what the provider issued", err)
	}
	return nil
}

// revokeIssuedAgain is revokeIssued for a refresh token whose grant has ended already.
func (s *Server) revokeIssuedAgain(r *http.Request, client *clients.Client, refresh string) *oauthError {
	up, _, err := s.Vault.RelayedOf(r.Context(), refresh)
	if err != nil {
		return alreadyGone(err)
	}
	if up.Relayed.ClientID != client.ID {
		return errNotYours
	}
	return s.revokeIssued(r, sessions.Grant{User: up.User, Upstream: up.ID})
}

// revokeRelayedAccess ends an access token that the provider issued. It is one of the client's if it was
// handed out under a grant of it; others are passed over and the provider is not told of them, or any
// client could end tokens of another (RFC 7009, section 2.1).
func (s *Server) revokeRelayedAccess(r *http.Request, client *clients.Client, token string) *oauthError {
	ctx := r.Context()
	owner, err := s.Relay.Owner(ctx, token)
	switch {
	case errors.Is(err, identity.ErrUnavailable):
		return providerUnavailable()
	case err != nil:
		return nil
	}
	id := s.Vault.TokenID(token)
	grant, found, err := s.grantOfToken(ctx, s.userOf(owner), id)
	switch {
	case err != nil:
		return s.storeError("finding the grant of an access token", err)
	case grant == nil:
		return nil
	case grant.ClientID != client.ID:
		return errNotYours
	}
	again := s.Vault.Revocations.Revoked(id) // the store, or the provider, may have failed the first time
	if err := s.Vault.Revocations.Revoke(ctx, id, found.ExpiresAt.Sub(s.Now())+time.Minute); err != nil {
		return s.storeError("revoking an access token", err)
	}
	if !again {
		s.recordTokenRevocation(r, *grant)
	}
	err = s.Relay.RevokeAccess(ctx, token)
	if errors.Is(err, identity.ErrUnavailable) {
		return providerUnavailable()
	}
	if err != nil {
		s.Logger.Warn("the provider did not revoke an access token; it is refused here", zap.String("provider", s.Relay.ID()), errField(err))
	}
	return nil
}

// grantOfToken finds the grant under which an access token was handed out, among those of its person.
func (s *Server) grantOfToken(ctx context.Context, user sessions.User, id sessions.ID) (*sessions.Grant, sessions.RelayedToken, error) {
	grants, err := s.Vault.ListGrants(ctx, user.Key())
	if err != nil {
		return nil, sessions.RelayedToken{}, err
	}
	for _, g := range grants {
		up, err := s.Vault.LoadUpstream(ctx, g.User, g.Upstream)
		if errors.Is(err, sessions.ErrUnavailable) {
			return nil, sessions.RelayedToken{}, err
		}
		if err != nil || up.Relayed == nil {
			continue
		}
		live := up.Relayed.Live(s.Now())
		if i := slices.IndexFunc(live, func(t sessions.RelayedToken) bool { return t.ID == id }); i >= 0 {
			return &g, live[i], nil
		}
	}
	return nil, sessions.RelayedToken{}, nil
}

func (s *Server) recordTokenRevocation(r *http.Request, g sessions.Grant) {
	event := s.grantEvent(r, audit.Revocation, g)
	event.Allowed, event.By, event.Reason = true, audit.ByClient, "access token"
	s.Audit.Record(r.Context(), event)
}
