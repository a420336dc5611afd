package authserver

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// codeGrant exchanges an authorization code (OAuth 2.1, section 4.1.3). A wrong resource indicator
// is answered before the code is used up, so that a client can correct it; everything else that is
// wrong uses it up.
func (s *Server) codeGrant(r *http.Request, client *clients.Client, form url.Values) (*tokenResponse, *oauthError) {
	presented := form.Get("code")
	if presented == "" {
		return nil, invalidRequest("code is missing")
	}
	code, err := s.Vault.LoadCode(r.Context(), presented)
	if err != nil {
		return nil, s.codeError(r, client, form, code, err)
	}
	if refused := s.sameResource(form["resource"], code.Resource); refused != nil {
		return nil, refused
	}
	if code, err = s.Vault.RedeemCode(r.Context(), presented); err != nil {
		return nil, s.codeError(r, client, form, code, err)
	}
	if refused := checkCode(client, form, code); refused != nil {
		s.discardOf(r.Context(), code.User, code.Upstream)
		return nil, refused
	}
	resource := s.Resources.Find(code.Resource)
	if resource == nil || !s.stillAdmitted(code.User, resource) {
		s.discardOf(r.Context(), code.User, code.Upstream)
		return nil, invalidGrant("the authorization no longer stands; authorize again")
	}
	now := s.Now()
	return s.beginGrant(r, sessions.Grant{
		ID: code.Grant, User: code.User, ClientID: code.ClientID, ClientLabel: code.ClientLabel,
		ClientName: code.ClientName, RedirectHost: code.RedirectHost, Resource: code.Resource, Scopes: code.Scopes,
		CreatedAt: now, UsedAt: now, AuthTime: code.AuthTime, ClientAddr: s.ClientAddr(r),
		Upstream: code.Upstream, Provider: code.Provider,
	}, code.OfflineAccess)
}

// beginGrant keeps a grant and issues its first tokens. One that cannot be refreshed is kept as long as
// its access token lives, so that its person sees it and can end it.
func (s *Server) beginGrant(r *http.Request, grant sessions.Grant, refreshable bool) (*tokenResponse, *oauthError) {
	if s.Relay != nil {
		return s.beginRelayed(r, grant, refreshable)
	}
	life, policy := s.lifetimesOf(grant)
	if !refreshable {
		policy = sessions.GrantPolicy{Sliding: life}
	}
	refresh, err := s.Vault.CreateGrant(r.Context(), grant, policy)
	switch {
	case errors.Is(err, sessions.ErrRevoked):
		// The code was replayed while it was being exchanged.
		return nil, invalidGrant("the code has been used more than once")
	case err != nil:
		return nil, s.storeError("creating a grant", err)
	case !refreshable:
		refresh = ""
	}
	return s.issueGrant(r, grant, refresh)
}

// issueGrant issues the first access token of a grant.
func (s *Server) issueGrant(r *http.Request, grant sessions.Grant, refresh string) (*tokenResponse, *oauthError) {
	answer, err := s.issueAccess(grant, grant.Scopes)
	if err != nil {
		return nil, s.storeError("issuing an access token", err)
	}
	answer.RefreshToken = refresh
	event := s.grantEvent(r, audit.TokenIssued, grant)
	event.Allowed = true
	s.Audit.Record(r.Context(), event)
	return answer, nil
}

// checkCode compares a token request with the authorization request that the code stands for.
func checkCode(client *clients.Client, form url.Values, code sessions.Code) *oauthError {
	if code.ClientID != client.ID {
		return invalidGrant("the code was issued to another client")
	}
	// Clients of OAuth 2.1 leave redirect_uri out; where it is sent it has to be right (section 10.2).
	if uri := form.Get("redirect_uri"); uri != "" && uri != code.RedirectURI {
		return invalidGrant("redirect_uri is not the one of the authorization request")
	}
	if !verifierMatches(form.Get("code_verifier"), code.Challenge) {
		return invalidGrant("code_verifier does not match the code_challenge")
	}
	return nil
}

// replayed is the reason of what happens to a grant when something of it was used twice.
const replayed = "used before; the grant has ended"

// codeError answers for a code that cannot be exchanged. When it has been exchanged before, and
// whoever presents it now could have done that too, one of the two stole it and the grant ends
// (RFC 6749, section 4.1.2). Anybody else must not be able to end it.
func (s *Server) codeError(r *http.Request, client *clients.Client, form url.Values, code sessions.Code, err error) *oauthError {
	if !errors.Is(err, sessions.ErrReused) {
		if errors.Is(err, sessions.ErrUnavailable) {
			return unavailable()
		}
		return invalidGrant("the code is not valid, or has expired")
	}
	if checkCode(client, form, code) == nil {
		if err := s.revokeGrant(r.Context(), sessions.Grant{ID: code.Grant, User: code.User, Upstream: code.Upstream}); err != nil {
			return s.storeError("revoking the grant of a replayed code", err)
		}
		event := s.grantEvent(r, audit.CodeReplayed, sessions.Grant{
			ID: code.Grant, User: code.User, ClientLabel: code.ClientLabel, ClientName: code.ClientName, Resource: code.Resource,
		})
		event.Reason = replayed
		s.Audit.Record(r.Context(), event)
		return invalidGrant("the code has been used already").known()
	}
	return invalidGrant("the code has been used already")
}

func (s *Server) storeError(doing string, err error) *oauthError {
	if errors.Is(err, sessions.ErrUnavailable) {
		return unavailable()
	}
	return s.internal(doing, err)
}
