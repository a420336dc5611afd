package authserver

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// machineSubject stands before the client id in the subject of a client that acts in its own name. Its
// issuer is this server, which is no provider's.
const machineSubject = "client:"

// Machines are the clients that may act in their own name, by client id, each with the identifiers of the
// resources where it may. The operator's entry takes the place of the allow-lists, which are about people.
type Machines map[string][]string

// Admits reports whether a client may act in its own name at a resource. It does not allocate.
func (m Machines) Admits(clientID, resource string) bool {
	return slices.Contains(m[clientID], resource)
}

// machineGrant gives a client a token of its own (OAuth 2.1, section 4.2; MCP extension "OAuth Client
// Credentials"). There is no refresh token: the client can ask again at any time (section 4.2.3).
func (s *Server) machineGrant(r *http.Request, client *clients.Client, form url.Values) (*tokenResponse, *oauthError) {
	if client.Source != clients.Preregistered || client.Public() || !client.May(clients.GrantClientCredentials) {
		return nil, unauthorizedClient("client_credentials is for clients that the operator registered for it")
	}
	resource, refused := s.machineResource(client, form["resource"])
	if refused != nil {
		return nil, refused
	}
	scopes, refused := limitedScopes(form.Get("scope"), client.Scopes, resource)
	if refused != nil {
		return nil, refused
	}
	now := s.Now()
	return s.issueGrant(r, sessions.Grant{
		ID: sessions.NewID(), User: sessions.User{Issuer: s.Issuer, Subject: machineSubject + client.ID, Name: client.Name},
		ClientID: client.ID, ClientLabel: client.Label(), ClientName: client.Name, Resource: resource.URI, Scopes: scopes,
		CreatedAt: now, UsedAt: now, ClientAddr: s.ClientAddr(r),
	}, "")
}

// machineResource finds the resource that a client asks a token for, among those it may use. It may leave
// the parameter out where there is no choice.
func (s *Server) machineResource(client *clients.Client, indicators []string) (*Resource, *oauthError) {
	if allowed := s.Machines[client.ID]; len(indicators) == 0 && len(allowed) == 1 {
		indicators = allowed
	}
	resource, refused := s.findResource(indicators)
	if refused != nil {
		return nil, refused
	}
	if !s.Machines.Admits(client.ID, resource.URI) {
		return nil, invalidTarget("this client may not use this resource; ask the operator")
	}
	return resource, nil
}
