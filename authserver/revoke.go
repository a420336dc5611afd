package authserver

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// revoke is the revocation endpoint (RFC 7009). A refresh token ends its grant and with it every
// access token of the grant; an access token ends alone. A token that is unknown, expired or
// revoked already is answered with 200, since the client has what it wants (section 2.2).
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) *oauthError {
	form, refused := readForm(w, r)
	if refused != nil {
		return refused
	}
	token := form.Get("token")
	if token == "" {
		return invalidRequest("token is missing")
	}
	client, refused := s.authenticateClient(w, r, form)
	if refused != nil {
		return refused
	}
	// The kind shows in the token itself; token_type_hint is not needed (section 2.1).
	revokeKind := s.revokeAccess
	switch {
	case strings.HasPrefix(token, sessions.RefreshToken.Prefix()):
		revokeKind = s.revokeRefresh
	case s.Relay != nil:
		revokeKind = s.revokeRelayedAccess
	}
	if refused := revokeKind(r, client, token); refused != nil {
		return refused
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Access-Control-Allow-Origin", "*")
	w.WriteHeader(http.StatusOK)
	return nil
}

var errNotYours = &oauthError{code: "invalid_grant", description: "the token was issued to another client"}

func (s *Server) revokeAccess(r *http.Request, client *clients.Client, token string) *oauthError {
	var access sessions.Access
	err := s.Vault.OpenAccess(token, &access)
	again := errors.Is(err, sessions.ErrRevoked)
	if err != nil && !again {
		return alreadyGone(err)
	}
	if access.ClientID != client.Label() {
		return errNotYours
	}
	left := time.Unix(access.ExpiresAt, 0).Sub(s.Now()) + time.Minute
	if err := s.Vault.Revocations.Revoke(r.Context(), access.ID, left); err != nil {
		return s.storeError("revoking an access token", err)
	}
	if again {
		return nil // only made sure: the store may have failed the first time
	}
	s.Audit.Record(r.Context(), audit.Event{
		Type: audit.Revocation, Allowed: true, Reason: "access token", By: audit.ByClient,
		Subject: access.Subject, Email: access.Email, ClientID: access.ClientID, ClientName: access.ClientName,
		Resource: access.Resource, Grant: access.Grant.String(), ClientAddr: s.ClientAddr(r),
	})
	return nil
}

func (s *Server) revokeRefresh(r *http.Request, client *clients.Client, token string) *oauthError {
	grant, err := s.loadGrant(r, token)
	// An old generation is as good a proof of possession as the current one.
	if err != nil && !errors.Is(err, sessions.ErrReused) {
		if refused := alreadyGone(err); refused != nil || s.Relay == nil {
			return refused
		}
		return s.revokeIssuedAgain(r, client, token)
	}
	if grant.ClientID != client.ID {
		return errNotYours
	}
	if err := s.Vault.RevokeGrant(r.Context(), grant.User.Key(), grant.ID); err != nil {
		return s.storeError("revoking a grant", err)
	}
	s.recordRevocation(r, grant, audit.ByClient, "refresh token")
	return s.revokeIssued(r, grant)
}

// alreadyGone turns the error of a token that opens nothing into success, and only that: a store
// that cannot be reached must not look like a revocation.
func alreadyGone(err error) *oauthError {
	if errors.Is(err, sessions.ErrUnavailable) {
		return unavailable()
	}
	return nil
}
