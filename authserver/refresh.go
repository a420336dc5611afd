package authserver

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// errForeign refuses to rotate for a client that the grant does not belong to.
var errForeign = errors.New("grant belongs to another client")

// refreshGrant exchanges a refresh token (OAuth 2.1, section 4.3). Everything is checked before the
// family is touched; only then is it rotated, in one atomic step.
func (s *Server) refreshGrant(r *http.Request, client *clients.Client, form url.Values) (*tokenResponse, *oauthError) {
	presented := form.Get("refresh_token")
	if presented == "" {
		return nil, invalidRequest("refresh_token is missing")
	}
	if !client.MayRefresh() {
		// It could when the grant began; its registration is not what it was.
		return nil, unauthorizedClient("this client is not registered for refresh tokens any more; authorize again")
	}
	grant, err := s.loadGrant(r, presented)
	reused := errors.Is(err, sessions.ErrReused)
	if err != nil && !reused {
		return nil, s.refreshError(r, grant, err)
	}
	if grant.ClientID != client.ID {
		// However old the token is: what another client presents must not end the owner's grant.
		return nil, invalidGrant("the refresh token was issued to another client")
	}
	if reused {
		return nil, s.refreshError(r, grant, s.endFamily(r, grant))
	}
	if refused := s.sameResource(form["resource"], grant.Resource); refused != nil {
		return nil, refused
	}
	if s.providers[grant.Provider] == nil && grant.Provider != "" {
		// Nobody vouches for the person any more.
		return nil, s.endGrant(r, grant, audit.ByOperator, "identity provider "+grant.Provider+" is not configured any more")
	}
	person, issued, refused := s.renewed(r, grant, presented)
	if refused != nil {
		return nil, refused
	}
	resource := s.Resources.Find(grant.Resource)
	if resource == nil {
		// Nothing is ended: a resource that a mistake in the configuration took away may come back.
		return nil, invalidTarget("the resource is not served here at present")
	}
	if !s.stillAdmitted(person, resource) {
		return nil, s.endGrant(r, grant, audit.ByOperator, "no longer on the allow-list")
	}
	scopes, refused := narrowed(form.Get("scope"), grant.Scopes, resource)
	if refused != nil {
		return nil, refused
	}
	now := s.Now()
	_, policy := s.lifetimesOf(grant)
	rotated, refresh, err := s.Vault.RotateGrant(r.Context(), presented, policy, func(g *sessions.Grant) error {
		if g.ClientID != client.ID {
			return errForeign
		}
		g.UsedAt = now
		if person.Key() == g.User.Key() {
			g.User = person // what the provider says of them now
		}
		g.ClientAddr = s.ClientAddr(r)
		return nil
	})
	if err != nil {
		if errors.Is(err, sessions.ErrReused) {
			s.discardOf(r.Context(), rotated.User, rotated.Upstream) // the grant itself has ended
		}
		return nil, s.refreshError(r, rotated, err)
	}
	answer, err := s.accessToken(rotated, scopes, issued)
	if err != nil {
		return nil, s.storeError("issuing an access token", err)
	}
	answer.RefreshToken = refresh
	event := s.grantEvent(r, audit.TokenRefreshed, rotated)
	event.Allowed = true
	s.Audit.Record(r.Context(), event)
	return answer, nil
}

// loadGrant loads the grant of a refresh token. One that was revoked is revoked once more: the store may
// have failed the first time, and whoever tries again after a 503 must be able to believe the answer.
func (s *Server) loadGrant(r *http.Request, refresh string) (sessions.Grant, error) {
	grant, err := s.Vault.LoadGrant(r.Context(), refresh)
	if errors.Is(err, sessions.ErrRevoked) {
		_, _, err = s.Vault.RotateGrant(r.Context(), refresh, s.Lifetimes.Grant, func(*sessions.Grant) error { return errForeign })
	}
	return grant, err
}

// endFamily ends the grant of a refresh token that was used up before, even if the caller hangs up: a
// thief would only have to be quick about that.
func (s *Server) endFamily(r *http.Request, grant sessions.Grant) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	return errors.Join(sessions.ErrReused, s.revokeGrant(ctx, grant))
}

// endGrant ends the grant of a person who may not come in any more.
func (s *Server) endGrant(r *http.Request, grant sessions.Grant, by audit.Actor, reason string) *oauthError {
	if err := s.revokeGrant(r.Context(), grant); err != nil {
		return s.storeError("revoking a grant", err)
	}
	event := s.grantEvent(r, audit.TokenRefreshed, grant)
	event.Reason = reason
	s.Audit.Record(r.Context(), event)
	s.recordRevocation(r, grant, by, reason)
	return invalidGrant("the authorization no longer stands; authorize again").known()
}

// refreshError answers for a refresh token that cannot be exchanged. It is 400 invalid_grant, never
// 401 and never 429: clients sign in again on the first and keep trying on the others.
func (s *Server) refreshError(r *http.Request, grant sessions.Grant, err error) *oauthError {
	switch {
	case errors.Is(err, sessions.ErrReused):
		// The thief and the owner cannot be told apart; both start again (RFC 9700, section 4.14.2).
		event := s.grantEvent(r, audit.RefreshReplayed, grant)
		event.Reason = replayed
		s.Audit.Record(r.Context(), event)
		if errors.Is(err, sessions.ErrUnavailable) {
			return unavailable() // they are not all revoked everywhere yet
		}
		return invalidGrant("the refresh token was used before; all tokens of this sign-in are revoked").known()
	case errors.Is(err, sessions.ErrUnavailable):
		return unavailable()
	case errors.Is(err, sessions.ErrInvalid), errors.Is(err, sessions.ErrExpired),
		errors.Is(err, sessions.ErrNotFound), errors.Is(err, sessions.ErrRevoked), errors.Is(err, errForeign):
		return invalidGrant("the refresh token is not valid, has expired or was revoked")
	default:
		return s.internal("rotating a grant", err)
	}
}
