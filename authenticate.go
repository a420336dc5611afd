package mcpauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

var errAudience = errors.New("access token of another resource")

// maxTrust bounds how long a stream lives on a token that has no end of its own, or that can be ended
// where we do not hear of it.
const maxTrust = 24 * time.Hour

// authenticate finds out whom token stands for at res, and puts it into c. The prefix of a token tells
// who has made it, and only they are asked. Errors are those of sessions and of access/external,
// errAudience and errNotAdmitted; any other one means that nobody has made it.
func (h *Handler) authenticate(r *http.Request, s *site, res *resource, token string, c *caller) error {
	if s.issuesTokens() && (strings.HasPrefix(token, sessions.AccessToken.Prefix()) || strings.HasPrefix(token, sessions.UserToken.Prefix())) {
		c.listed = strings.HasPrefix(token, sessions.UserToken.Prefix())
		return h.ownToken(r.Context(), s, res, token, &c.Access)
	}
	err := s.serviceToken(token, res, clientAddr(r), time.Now(), c)
	if errors.Is(err, access.ErrUnknownToken) && s.external != nil {
		err = s.externalToken(r.Context(), token, res, time.Now(), c)
	}
	if err != nil {
		return err
	}
	// Sessions are bound with the key ring, which these tokens themselves do without.
	if err := h.runtime.load(r.Context()); err != nil {
		return err
	}
	if s.relay != nil && c.Access.ID != (sessions.ID{}) && s.vault.Revocations.Revoked(c.Access.ID) {
		return sessions.ErrRevoked
	}
	return nil
}

// issuesTokens reports whether tokens of ours are good at s. Where a provider issues them, one from before
// that was so is not.
func (s *site) issuesTokens() bool { return s.auth != nil && s.relay == nil }

// ownToken opens a token that was sealed here, and holds its owner to the allow rules as they are now.
func (h *Handler) ownToken(ctx context.Context, s *site, res *resource, token string, a *sessions.Access) error {
	err := s.openOwn(token, res, a)
	if errors.Is(err, sessions.ErrUnavailable) && h.runtime.load(ctx) == nil {
		err = s.openOwn(token, res, a)
	}
	switch {
	case err != nil:
		return err
	case a.Resource != res.URI:
		return errAudience
	case !s.admits(a, res):
		return errNotAdmitted
	}
	return nil
}

func (s *site) openOwn(token string, res *resource, a *sessions.Access) error {
	if strings.HasPrefix(token, sessions.UserToken.Prefix()) {
		if err := s.vault.OpenUserToken(token, res.URI, a); !errors.Is(err, sessions.ErrOtherResource) {
			return err
		}
		return errAudience
	}
	return s.vault.OpenAccess(token, a)
}

// admits compares the owner of a token with the configuration as it is now. A client that acts in its own
// name is no person for the allow-lists, not even for "allow any": it is its entry that admits it.
func (s *site) admits(a *sessions.Access, res *resource) bool {
	if a.UserIssuer == s.issuer {
		return s.machines.Admits(a.ClientID, res.URI)
	}
	person, gone := s.people.Find(a.UserIssuer, a.Subject)
	if gone {
		return false
	}
	if person != nil {
		a.Groups = person.JoinedGroups // a reload may have changed them
	}
	return s.admitsPerson(res, a.Email, a.Groups)
}

// admitsPerson reports whether the allow rules let somebody use res.
func (s *site) admitsPerson(res *resource, email, groups string) bool {
	return s.policy.Allows(email, groups) && (res.Policy == nil || res.Policy.Allows(email, groups))
}

// serviceToken checks a token that the operator gave to a program. Such a token is its own permission;
// allow rules are about people.
func (s *site) serviceToken(token string, res *resource, addr string, now time.Time, c *caller) error {
	t, scope, err := s.tokens.Check(token, res.URI, addr, now)
	if t == nil {
		return err
	}
	expires := now.Add(maxTrust)
	if !t.Expires.IsZero() && t.Expires.Before(expires) {
		expires = t.Expires
	}
	c.Access = sessions.Access{
		ID: t.Fingerprint(), IssuedAt: now.Unix(), ExpiresAt: expires.Unix(), Resource: res.URI, Scope: scope,
		UserIssuer: s.issuer, Subject: t.Subject(), Name: t.Name, ClientID: t.Name, ClientName: t.Name,
	}
	c.listed = true
	return err // with whose token it is, for the log
}

// externalToken checks a token of somebody else's authorization server.
func (s *site) externalToken(ctx context.Context, token string, res *resource, now time.Time, c *caller) error {
	t, err := s.external.Check(ctx, token, func(audience string) bool { return s.resources.holds(res, audience) })
	if err != nil {
		return err
	}
	email, groups := t.User.VerifiedEmail(), strings.Join(t.User.Groups, ",")
	expires := now.Add(maxTrust)
	if !t.ExpiresAt.IsZero() && t.ExpiresAt.Before(expires) {
		expires = t.ExpiresAt
	}
	c.Access = sessions.Access{
		IssuedAt: now.Unix(), ExpiresAt: expires.Unix(), Resource: res.URI, Scope: t.Scope,
		UserIssuer: t.User.Issuer, Subject: t.User.Subject, Email: email, Name: t.User.Name, Groups: groups,
		ClientID: t.ClientID, ClientName: t.ClientID,
	}
	if s.relay != nil {
		// It may have gone out through us, and be ended before its time.
		c.Access.ID = s.vault.TokenID(token)
	}
	if !s.admitsPerson(res, email, groups) {
		return errNotAdmitted // whoever it is, the log says so
	}
	return nil
}

// maxBearer is how long a token may be here.
func (s *site) maxBearer() int {
	if s.external != nil {
		return external.MaxToken
	}
	return access.MaxToken
}
