package authserver

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

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
	scopes, refused := machineScopes(form.Get("scope"), client.Scopes, resource.Scopes)
	if refused != nil {
		return nil, refused
	}
	now := s.Now()
	return s.beginGrant(r, sessions.Grant{
		ID: sessions.NewID(), User: sessions.User{Issuer: s.Issuer, Subject: machineSubject + client.ID, Name: client.Name},
		ClientID: client.ID, ClientLabel: client.Label(), ClientName: client.Name, Resource: resource.URI, Scopes: scopes,
		CreatedAt: now, UsedAt: now, ClientAddr: s.ClientAddr(r),
	}, false)
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

// machineScopes turns a requested scope into what the client gets: of the scopes that exist at the
// resource those that are allowed, which is all of them where nothing is said. Clients take
// what they ask for from metadata and challenges, which name every scope there is, so what is not allowed
// is left out as long as something is left (RFC 6749, section 3.3).
func machineScopes(requested string, allowed, existing []string) ([]string, *oauthError) {
	if !validScope(requested) {
		return nil, invalidScope("scope holds a character that is not allowed, or is longer than 4 KiB")
	}
	asked := strings.Fields(requested)
	var may, granted []string
	forbidden := false
	for _, scope := range existing {
		permitted := allowed == nil || slices.Contains(allowed, scope)
		wanted := slices.Contains(asked, scope)
		forbidden = forbidden || wanted && !permitted
		if permitted {
			may = append(may, scope)
			if wanted {
				granted = append(granted, scope)
			}
		}
	}
	switch {
	case len(granted) > 0:
		return granted, nil
	case forbidden:
		return nil, invalidScope("this client may not have the scopes it asks for; ask the operator")
	}
	return may, nil
}
