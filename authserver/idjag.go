package authserver

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// grantProfile is what metadata calls identity assertions (draft-ietf-oauth-identity-assertion-authz-grant,
// "Resource Authorization Server Metadata").
const grantProfile = "urn:ietf:params:oauth:grant-profile:id-jag"

// AssertionIssuer is an identity provider whose assertions are accepted from clients.
type AssertionIssuer struct {
	Provider identity.Asserting

	// Clients maps what the provider calls a client to what it is called here. A client that is not in
	// it goes by one name in both places.
	Clients map[string]string
}

// clientID returns the id here of the client that an assertion names, "" for none. A client that has
// another name at the provider is not named by the one it has here: there it may be somebody else's.
func (i AssertionIssuer) clientID(asserted string) string {
	if id, ok := i.Clients[asserted]; ok {
		return id
	}
	for _, id := range i.Clients {
		if id == asserted {
			return ""
		}
	}
	return asserted
}

// assertionGrant exchanges an identity assertion (MCP Enterprise-Managed Authorization, section 5). The
// provider has signed the person in and decided that this client may act for them; who may come in at
// all is still decided here. There is no refresh token: the provider would lose its say.
func (s *Server) assertionGrant(r *http.Request, client *clients.Client, form url.Values) (*tokenResponse, *oauthError) {
	if client.Public() || !client.May(clients.GrantJWTBearer) {
		return nil, unauthorizedClient("identity assertions are for confidential clients that are registered for them")
	}
	issuer, a, refused := s.verifyAssertion(r, form.Get("assertion"))
	if refused != nil {
		return nil, refused
	}
	if issuer.clientID(a.ClientID) != client.ID {
		return nil, invalidGrant("the assertion was made for another client")
	}
	resource, refused := s.assertedResource(a.Resources, form["resource"])
	if refused != nil {
		return nil, refused
	}
	scopes, refused := limitedScopes(form.Get("scope"), a.Scopes, resource)
	if refused != nil {
		return nil, refused
	}
	now := s.Now()
	grant := sessions.Grant{
		ID: sessions.NewID(), User: s.userOf(a.User), ClientID: client.ID, ClientLabel: client.Label(), ClientName: client.Name,
		Resource: resource.URI, Scopes: scopes, CreatedAt: now, UsedAt: now, AuthTime: a.AuthTime, ClientAddr: s.ClientAddr(r),
	}
	if refused := s.admitAsserted(r, issuer, a, grant); refused != nil {
		return nil, refused
	}
	// Last of all, so that a request that can be corrected does not cost the assertion.
	switch err := s.Vault.Spend(r.Context(), "id_jag", a.User.Issuer+"\x00"+a.ID, a.RememberUntil.Sub(now)); {
	case errors.Is(err, sessions.ErrReused), errors.Is(err, sessions.ErrExpired):
		return nil, invalidGrant("the assertion has been used already")
	case err != nil:
		return nil, s.storeError("marking an assertion as used", err)
	}
	return s.issueGrant(r, grant, "")
}

// verifyAssertion finds the issuer of an assertion and has it verified.
func (s *Server) verifyAssertion(r *http.Request, assertion string) (AssertionIssuer, identity.Assertion, *oauthError) {
	var none AssertionIssuer
	if assertion == "" {
		return none, identity.Assertion{}, invalidRequest("assertion is missing")
	}
	name, err := identity.AssertionIssuer(assertion)
	if err != nil {
		return none, identity.Assertion{}, invalidGrant("the assertion is not a signed JWT with an issuer")
	}
	issuer, known := s.IDJAG[name]
	if !known {
		return none, identity.Assertion{}, invalidGrant("assertions of this issuer are not accepted here")
	}
	a, err := issuer.Provider.Assertion(r.Context(), assertion, s.Issuer)
	if err != nil {
		s.Logger.Warn("identity assertion refused", providerField(issuer.Provider), zap.Error(err))
		if errors.Is(err, identity.ErrUnavailable) {
			refused := unavailable()
			refused.description = "the identity provider that made the assertion cannot be reached; try again in a moment"
			return none, a, refused
		}
		return none, a, invalidGrant("the assertion did not pass verification; ask the identity provider for another")
	}
	return issuer, a, nil
}

// assertedResource finds the resource to grant: one that the assertion names, and where it names several
// the one that the request asks for (RFC 8707, section 2).
func (s *Server) assertedResource(asserted, indicators []string) (*Resource, *oauthError) {
	var granted []*Resource
	for _, indicator := range asserted {
		if resource := s.Resources.Find(indicator); resource != nil && !slices.Contains(granted, resource) {
			granted = append(granted, resource)
		}
	}
	switch {
	case len(granted) == 0:
		return nil, invalidTarget("the assertion names no resource of this server")
	case len(indicators) == 0 && len(granted) == 1:
		return granted[0], nil
	case len(indicators) == 0:
		return nil, invalidTarget("the assertion names several resources; say which one with the resource parameter")
	}
	resource, refused := s.findResource(indicators)
	if refused != nil {
		return nil, refused
	}
	for _, g := range granted {
		if g.URI == resource.URI {
			return g, nil
		}
	}
	return nil, invalidTarget("the assertion is not for this resource")
}

// admitAsserted applies the allow-lists, as after a sign-in.
func (s *Server) admitAsserted(r *http.Request, issuer AssertionIssuer, a identity.Assertion, g sessions.Grant) *oauthError {
	event := s.grantEvent(r, audit.SignIn, g)
	event.Grant, event.Provider = "", issuer.Provider.ID()
	rule, err := s.Policy.Check(a.User)
	if err == nil {
		_, err = s.admits(g.Resource, a.User)
	}
	if err != nil {
		event.Reason = rulesAgainst(err)
		s.Audit.Record(r.Context(), event)
		return invalidGrant("this person may not use this server; ask its operator").known()
	}
	event.Allowed, event.Reason = true, rule
	s.Audit.Record(r.Context(), event)
	return nil
}
