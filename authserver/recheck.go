package authserver

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	// recheckLease is for how long one replica's asking keeps the others from asking too.
	recheckLease = 20 * time.Second
	// recheckPoll is how often a replica looks for the answer that another one got.
	recheckPoll = 200 * time.Millisecond
	// maxRecheckWait bounds that, and the store's part of a re-check.
	maxRecheckWait = 8 * time.Second
)

const notVouched = "the identity provider no longer vouches for the person"

var (
	errAskedElsewhere = errors.New("another replica is asking the identity provider")
	errNotAnswered    = errors.New("another replica got no answer from the identity provider")
)

// recheck returns what is known of the person of a grant: what the configuration says if it names them
// itself, else what the identity provider does, asking it again where
// that is possible and its last word is older than Lifetimes.Recheck. An account that the provider
// does not vouch for any more loses all grants of its sign-in. While the provider cannot be asked its
// last word counts for RecheckGrace longer; then the client is told to come back, and loses nothing.
func (s *Server) recheck(r *http.Request, grant sessions.Grant) (sessions.User, *oauthError) {
	switch person, gone := s.people.Find(grant.User.Issuer, grant.User.Subject); {
	case gone:
		return sessions.User{}, s.endGrant(r, grant, audit.ByOperator, "the user is not in the configuration any more")
	case person != nil:
		return s.userOf(person.User), nil
	case grant.Upstream == (sessions.ID{}):
		return grant.User, nil
	}
	up, err := s.Vault.LoadUpstream(r.Context(), grant.User, grant.Upstream)
	if err == nil && s.Now().Sub(up.CheckedAt) >= s.Lifetimes.Recheck {
		// Of parallel refreshes one asks. It goes on when its client hangs up: the provider may have
		// rotated its refresh token by then, and the new one must not be lost.
		ctx := context.WithoutCancel(r.Context())
		answer, asking, _ := s.rechecks.Do(up.ID.String(), func() (any, error) { return s.askAgain(ctx, up, nil) })
		up, err = answer.(sessions.Upstream), asking
	}
	switch {
	case err == nil:
		return up.User, nil
	case errors.Is(err, identity.ErrDenied):
		ended, err := s.Vault.EndUpstream(r.Context(), grant.User, grant.Upstream)
		for _, g := range ended.Grants {
			if g.ID != grant.ID {
				s.recordRevocation(r, g, audit.ByProvider, notVouched)
			}
		}
		for _, t := range ended.Tokens {
			s.recordTokenEnd(r.Context(), t, audit.ByProvider, notVouched)
		}
		if err != nil {
			return sessions.User{}, s.storeError("ending a sign-in", err)
		}
		return sessions.User{}, s.endGrant(r, grant, audit.ByProvider, notVouched)
	case errors.Is(err, sessions.ErrNotFound), errors.Is(err, sessions.ErrInvalid):
		return sessions.User{}, s.endGrant(r, grant, audit.ByProvider, "the sign-in at the identity provider has ended")
	case errors.Is(err, sessions.ErrUnavailable):
		return sessions.User{}, unavailable()
	}
	late := s.Now().Sub(up.CheckedAt) - s.Lifetimes.Recheck
	accepted := late < s.Lifetimes.RecheckGrace
	s.Logger.Warn("identity provider could not be asked about a person again",
		zap.String("provider", up.Provider), zap.Duration("late", late), zap.Bool("accepted", accepted), zap.Error(err))
	if !accepted {
		return sessions.User{}, providerUnavailable()
	}
	return up.User, nil
}

// askAgain asks the provider and stores what it says, with what note adds to a good answer if it is not nil.
// The record that it returns is the newest one known, also when there is an error.
func (s *Server) askAgain(ctx context.Context, up sessions.Upstream, note func(*sessions.Upstream) error) (sessions.Upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*maxRecheckWait)
	defer cancel()
	provider, ok := s.providers[up.Provider].(identity.Rechecker)
	if !ok {
		// It was taken out of the configuration, and nobody else can vouch for its people.
		return up, identity.ErrDenied
	}
	checked := up.CheckedAt
	claimed, err := s.updateUpstream(ctx, up, func(u *sessions.Upstream) error {
		if !u.CheckedAt.Equal(checked) || s.Now().Sub(u.AskedAt) < recheckLease {
			return errAskedElsewhere
		}
		u.AskedAt = s.Now()
		return nil
	})
	switch {
	case errors.Is(err, errAskedElsewhere):
		return s.awaitAnswer(ctx, claimed, checked)
	case err != nil:
		return up, err
	}
	person, secret, asking := provider.Recheck(ctx, claimed.Secret)
	if errors.Is(asking, identity.ErrDenied) {
		return claimed, asking
	}
	var user sessions.User
	if asking == nil {
		// Users are issuer and subject; the same sign-in cannot become somebody else's.
		if user = s.userOf(person); user.Key() != claimed.User.Key() {
			return claimed, identity.ErrDenied
		}
	}
	stored, err := s.updateUpstream(ctx, claimed, func(u *sessions.Upstream) error {
		u.AskedAt = time.Time{}
		if secret != nil {
			u.Secret = secret
		}
		if asking != nil {
			return nil
		}
		u.User, u.CheckedAt = user, s.Now()
		if note == nil {
			return nil
		}
		return note(u)
	})
	if err != nil {
		return claimed, err
	}
	return stored, asking
}

// awaitAnswer waits for the replica that asks.
func (s *Server) awaitAnswer(ctx context.Context, up sessions.Upstream, checked time.Time) (sessions.Upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, maxRecheckWait)
	defer cancel()
	tick := time.NewTicker(recheckPoll)
	defer tick.Stop()
	for {
		switch {
		case !up.CheckedAt.Equal(checked):
			return up, nil
		case up.AskedAt.IsZero(), s.Now().Sub(up.AskedAt) >= recheckLease:
			return up, errNotAnswered
		}
		select {
		case <-ctx.Done():
			return up, errNotAnswered
		case <-tick.C:
		}
		newer, err := s.Vault.LoadUpstream(ctx, up.User, up.ID)
		if err != nil {
			return up, err
		}
		up = newer
	}
}

// updateUpstream keeps the record for longer than any grant that depends on it can live without
// being refreshed.
func (s *Server) updateUpstream(ctx context.Context, up sessions.Upstream, change func(*sessions.Upstream) error) (sessions.Upstream, error) {
	return s.Vault.UpdateUpstream(ctx, up.User, up.ID, s.upstreamLife(), change)
}

func (s *Server) upstreamLife() time.Duration {
	l, sliding := s.Lifetimes, s.Lifetimes.Grant.Sliding
	for _, profile := range s.ClientLifetimes {
		sliding = max(sliding, profile.Refresh)
	}
	return sliding + l.Browser + l.Recheck + l.RecheckGrace + 24*time.Hour
}

// providerUnavailable is unavailable for a client that is turned away on account of the provider.
func providerUnavailable() *oauthError {
	return &oauthError{
		code:        "temporarily_unavailable",
		description: "the identity provider cannot be asked about the person at the moment; try again later",
		status:      http.StatusServiceUnavailable,
		retryAfter:  30 * time.Second,
	}
}

// rememberUpstream keeps what the provider gave to ask it again, and returns where; the zero ID if
// it gave nothing.
func (s *Server) rememberUpstream(ctx context.Context, p identity.Provider, u identity.User, person sessions.User) (sessions.ID, error) {
	if len(u.Upstream) == 0 {
		return sessions.ID{}, nil
	}
	return s.Vault.CreateUpstream(ctx, sessions.Upstream{
		User: person, Provider: p.ID(), Secret: u.Upstream, CheckedAt: s.Now(),
	}, s.upstreamLife())
}
