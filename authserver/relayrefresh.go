package authserver

import (
	"context"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxRelayed bounds the access tokens of one grant that may be good at the same time, since all of them
// have to be ended with it. A client that refreshes more often gets the newest once more.
const maxRelayed = 64

// renewed returns what is known of the person of a grant, and in a facade what the provider has issued in
// exchange for the refresh token that was presented.
func (s *Server) renewed(r *http.Request, grant sessions.Grant, presented string) (sessions.User, *Issued, *oauthError) {
	if s.Relay == nil {
		person, refused := s.recheck(r, grant)
		return person, nil, refused
	}
	up, generation, err := s.Vault.RelayedOf(r.Context(), presented)
	if err == nil && up.Relayed.Generation <= generation && len(up.Relayed.Live(s.Now())) < maxRelayed {
		// A refresh token of ours is exchanged at the provider once. Of parallel refreshes one asks; those
		// that come later with the same token, or on other replicas, get what it got. It goes on when its
		// client hangs up: the provider may have rotated its refresh token by then.
		ctx := context.WithoutCancel(r.Context())
		answer, asking, _ := s.rechecks.Do(up.ID.String(), func() (any, error) {
			return s.askAgain(ctx, up, func(u *sessions.Upstream) error { return s.noteIssued(u, grant, generation) })
		})
		up, err = answer.(sessions.Upstream), asking
	}
	if err != nil {
		return sessions.User{}, nil, s.notRenewed(r, grant, err)
	}
	issued, err := s.Relay.Issued(up.Secret)
	if err != nil {
		return sessions.User{}, nil, s.internal("reading what the provider issued", err)
	}
	if err := s.fitGrant(grant, issued); err != nil {
		return sessions.User{}, nil, s.notRenewed(r, grant, err)
	}
	return up.User, &issued, nil
}

// fitGrant compares what a token is good for with what its grant is. A resource that is gone has no say.
func (s *Server) fitGrant(grant sessions.Grant, issued Issued) error {
	resource := s.Resources.Find(grant.Resource)
	if resource == nil {
		return nil
	}
	return fit(resource, grant.Scopes, issued.Scope)
}

// noteIssued writes down for which refresh token of ours the newest tokens are. One that is not handed out
// leaves the refresh token to be exchanged again; it may be good all the same, and is ended with the others.
func (s *Server) noteIssued(u *sessions.Upstream, grant sessions.Grant, generation uint32) error {
	issued, err := s.Relay.Issued(u.Secret)
	if err != nil {
		return err
	}
	now := s.Now()
	if s.fitGrant(grant, issued) == nil {
		u.Relayed.Generation = generation + 1
	}
	u.Relayed.Add(sessions.RelayedToken{ID: s.Vault.TokenID(issued.AccessToken), ExpiresAt: issued.end(now)}, now)
	return nil
}

// notRenewed answers for a provider that issued nothing, or nothing of use.
func (s *Server) notRenewed(r *http.Request, grant sessions.Grant, err error) *oauthError {
	unfit := new(UnfitError)
	switch {
	case errors.Is(err, identity.ErrDenied):
		return s.endGrant(r, grant, audit.ByProvider, notVouched)
	case errors.Is(err, sessions.ErrNotFound), errors.Is(err, sessions.ErrInvalid):
		return s.endGrant(r, grant, audit.ByProvider, "the sign-in at the identity provider has ended")
	case errors.Is(err, sessions.ErrUnavailable):
		return unavailable()
	case errors.As(err, &unfit):
		// Nothing is ended: a mistake in the configuration may be corrected. Authorizing again shows
		// the person what is wrong.
		s.Logger.Error("the provider issued an access token that this server would refuse", zap.String("resource", grant.Resource), errField(err))
		return invalidGrant("the provider issued a token that is not accepted here; authorize again")
	}
	// Without the provider there is no other token, and nothing is lost.
	s.Logger.Warn("the provider could not be asked for another access token", zap.String("provider", s.Relay.ID()), errField(err))
	return providerUnavailable()
}

// accessToken answers with the access token of a grant: one of ours, or the one that the provider issued.
func (s *Server) accessToken(g sessions.Grant, scopes []string, issued *Issued) (*tokenResponse, error) {
	if issued != nil {
		return relayedAnswer(*issued, s.Now()), nil
	}
	return s.issueAccess(g, scopes)
}
