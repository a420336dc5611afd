package authserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Relay is the provider of a facade: an authorization server that knows one client, ours, and whose own
// access tokens are what MCP clients get. Here they register, are consented to and get their codes and
// refresh tokens; there people sign in and tokens are issued. Each grant has tokens of its own there.
//
// The Upstream of the User that Finish returns, and what Recheck returns in its place, hold what the
// provider issued. Both fail with an [UnfitError] where the guard of the resource would refuse the access
// token; nothing that was issued then is kept, except what Recheck returns to take the place of the old.
type Relay interface {
	identity.Redirecting
	identity.Rechecker

	// Issued reads what the provider issued. It does no I/O.
	Issued(upstream []byte) (Issued, error)

	// Owner returns whose access token it is, if the guard of some resource would take it. The error
	// wraps [identity.ErrUnavailable], or means that it is none.
	Owner(ctx context.Context, accessToken string) (identity.User, error)

	// Revoke ends all that the provider issued, RevokeAccess one access token (RFC 7009). The error wraps
	// [identity.ErrUnavailable] if trying again may help.
	Revoke(ctx context.Context, upstream []byte) error
	RevokeAccess(ctx context.Context, accessToken string) error
}

// Issued is what a provider issued for a client.
type Issued struct {
	AccessToken string
	// Scope is what the guard takes the token to be good for, separated by spaces.
	Scope string
	// ExpiresAt is zero if the provider does not say.
	ExpiresAt time.Time
	// Refreshable is set if the provider gave a refresh token.
	Refreshable bool
}

// Unfitness is why a provider's access token would be refused by the guard of its own resource.
type Unfitness int

// The reasons.
const (
	// Unreadable is a token that is no JWT of an accepted kind, or that the issuer does not know.
	Unreadable Unfitness = iota
	// OtherAudience is a token for something else.
	OtherAudience
	// TooNarrow is a token that lacks a scope that is needed for everything.
	TooNarrow
	// TooWide is a token that is good for more than the person agreed to: scopes, or without any, resources.
	TooWide
)

// UnfitError is the error for an access token that the guard would refuse. A client that were given it would
// come back for another one for ever, so its person is told instead.
type UnfitError struct {
	Why Unfitness
	// Scope is what is missing or too much, separated by spaces.
	Scope string
	// Err is for the log.
	Err error
}

// Error implements error.
func (e *UnfitError) Error() string {
	words := [...]string{"it cannot be checked", "it is for another audience", "it lacks a scope", "it is good for more than was agreed to"}
	text := "the provider's access token is not fit for this server: " + words[e.Why]
	if e.Scope != "" {
		text += " (" + e.Scope + ")"
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the error of the check.
func (e *UnfitError) Unwrap() error { return e.Err }

// unknownLife is how long an access token is taken to live whose provider does not say.
const unknownLife = 24 * time.Hour

// end is when a token is over, at the latest.
func (i Issued) end(now time.Time) time.Time {
	if i.ExpiresAt.IsZero() {
		return now.Add(unknownLife)
	}
	return i.ExpiresAt
}

// fit compares what a token is good for with what was agreed to. The provider knows one client, so what
// one MCP client was allowed could turn up in the token of another; whoever holds that would be the
// confused deputy's master.
func fit(resource *Resource, agreed []string, scope string) error {
	if !resource.Hierarchy.Sufficient(scope) {
		return &UnfitError{Why: TooNarrow, Scope: resource.Hierarchy.Needed("")}
	}
	covered := append(slices.Clone(agreed), resource.effective(agreed)...)
	var more []string
	for _, held := range resource.effective(strings.Fields(scope)) {
		if slices.Contains(resource.Scopes, held) && !slices.Contains(covered, held) {
			more = append(more, held)
		}
	}
	if len(more) > 0 {
		return &UnfitError{Why: TooWide, Scope: strings.Join(more, " ")}
	}
	return nil
}

// relayed takes in what the provider issued for a client, and sends the client its code. The browser gets
// no session: who has one is known at the provider, and is asked there for each client.
func (s *Server) relayed(w http.ResponseWriter, r *http.Request, l login, user identity.User) {
	browser, trouble := s.keepIssued(r, l.Request, user)
	if trouble != nil {
		s.discard(r.Context(), user.Upstream)
		s.problem(w, r, *trouble)
		return
	}
	client, trouble := s.clientOf(r, l.Request)
	if trouble != nil {
		s.discardOf(r.Context(), browser.User, browser.Upstream)
		s.problem(w, r, *trouble)
		return
	}
	s.finish(w, r, client, l.Request, browser)
}

// keepIssued stores what the provider issued, for as long as the code can be exchanged.
func (s *Server) keepIssued(r *http.Request, req request, user identity.User) (*sessions.Browser, *problem) {
	issued, err := s.Relay.Issued(user.Upstream)
	if err != nil {
		return nil, s.internalProblem("reading what the provider issued", err)
	}
	resource := s.Resources.Find(req.Resource)
	if err := fit(resource, req.Scopes, issued.Scope); err != nil {
		return nil, s.unfitProblem(r, req, err)
	}
	now, person := s.Now(), s.userOf(user)
	relayed := &sessions.Relayed{ClientID: req.ClientID}
	relayed.Add(sessions.RelayedToken{ID: s.Vault.TokenID(issued.AccessToken), ExpiresAt: issued.end(now)}, now)
	id, err := s.Vault.CreateUpstream(r.Context(), sessions.Upstream{
		User: person, Provider: s.Relay.ID(), Secret: user.Upstream, CheckedAt: now, Relayed: relayed,
	}, s.Lifetimes.Code+time.Minute)
	if err != nil {
		trouble := s.sealingProblem(err)
		return nil, &trouble
	}
	return &sessions.Browser{User: person, AuthTime: now, Provider: s.Relay.ID(), Upstream: id}, nil
}

// unfitProblem tells a person that the provider's token would open nothing here. It is the operator who
// can mend that, at the provider or in the configuration.
func (s *Server) unfitProblem(r *http.Request, req request, err error) *problem {
	id := errorID()
	s.Logger.Error("the provider issued an access token that this server would refuse",
		zap.String("error_id", id), zap.String("resource", req.Resource), zap.Error(err))
	event := audit.Event{Type: audit.SignIn, Provider: s.Relay.ID(), Resource: req.Resource, ClientAddr: s.ClientAddr(r)}
	event.Reason = "the provider's access token would be refused"
	s.Audit.Record(r.Context(), event)
	trouble := problem{
		status: http.StatusBadGateway,
		title:  "The sign-in led to nothing",
		text:   s.Relay.Name() + " signed you in, but the token it issued cannot be checked by this server.",
		advice: "Tell the operator of this server the error id below. Trying again will not help.",
		id:     id,
	}
	unfit := new(UnfitError)
	if !errors.As(err, &unfit) {
		return &trouble
	}
	switch unfit.Why {
	case OtherAudience:
		trouble.text = fmt.Sprintf("%s signed you in, but the token it issued is for something else than %s.", s.Relay.Name(), req.Resource)
	case TooNarrow:
		trouble.text = fmt.Sprintf("%s signed you in, but the token it issued lacks a permission that is needed here: %s.", s.Relay.Name(), unfit.Scope)
	case TooWide:
		if unfit.Scope == "" {
			trouble.text = fmt.Sprintf("%s signed you in, but the token it issued opens other servers here, too; you agreed to %s.", s.Relay.Name(), req.Resource)
			break
		}
		trouble.text = fmt.Sprintf("%s signed you in, but the token it issued is good for more than you agreed to: %s.", s.Relay.Name(), unfit.Scope)
	}
	return &trouble
}

// beginRelayed begins a grant with the tokens that the provider issued at the sign-in.
func (s *Server) beginRelayed(r *http.Request, grant sessions.Grant, refreshable bool) (*tokenResponse, *oauthError) {
	ctx := r.Context()
	up, err := s.Vault.LoadUpstream(ctx, grant.User, grant.Upstream)
	switch {
	case errors.Is(err, sessions.ErrUnavailable):
		return nil, unavailable()
	case err != nil, up.Relayed == nil: // a code from before this was a facade
		return nil, invalidGrant("the authorization no longer stands; authorize again")
	}
	issued, err := s.Relay.Issued(up.Secret)
	if err != nil {
		return nil, s.internal("reading what the provider issued", err)
	}
	now, refreshable := s.Now(), refreshable && issued.Refreshable
	_, policy := s.lifetimesOf(grant)
	if !refreshable {
		policy = sessions.GrantPolicy{Sliding: max(issued.end(now).Sub(now), time.Second)}
	}
	_, err = s.Vault.UpdateUpstream(ctx, up.User, up.ID, policy.Sliding+24*time.Hour, func(u *sessions.Upstream) error {
		u.Relayed.Generation = 1
		return nil
	})
	var refresh string
	if err == nil {
		refresh, err = s.Vault.CreateGrant(ctx, grant, policy)
	}
	switch {
	case errors.Is(err, sessions.ErrRevoked), errors.Is(err, sessions.ErrNotFound):
		// The code was replayed while it was being exchanged.
		s.discardOf(ctx, grant.User, grant.Upstream)
		return nil, invalidGrant("the code has been used more than once")
	case err != nil:
		return nil, s.storeError("creating a grant", err)
	case !refreshable:
		refresh = ""
	}
	answer := relayedAnswer(issued, now)
	answer.RefreshToken = refresh
	event := s.grantEvent(r, audit.TokenIssued, grant)
	event.Allowed = true
	s.Audit.Record(ctx, event)
	return answer, nil
}

// relayedAnswer hands a provider's access token on, with what is left of its life.
func relayedAnswer(issued Issued, now time.Time) *tokenResponse {
	answer := &tokenResponse{AccessToken: issued.AccessToken, TokenType: "Bearer", Scope: issued.Scope}
	if !issued.ExpiresAt.IsZero() {
		answer.ExpiresIn = max(1, int64(issued.ExpiresAt.Sub(now)/time.Second))
	}
	return answer
}
