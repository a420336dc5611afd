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

// ResourceServer is an upstream that may ask about tokens of the resource it serves.
type ResourceServer struct {
	// As clients.ResourceServer returned it.
	Client clients.Client
	// The identifier of its resource.
	Resource string
}

// resourceServers authenticates the resource servers. They are clients here and nowhere else.
type resourceServers struct {
	registry  *clients.Registry
	resources map[string]string // by client id
}

func newResourceServers(c Config) resourceServers {
	var all []clients.Client
	resources := make(map[string]string, len(c.ResourceServers))
	for _, rs := range c.ResourceServers {
		all = append(all, rs.Client)
		resources[rs.Client.ID] = rs.Resource
	}
	return resourceServers{clients.New(clients.Config{Tenant: c.Issuer, Now: c.Now, Static: all}), resources}
}

// introspection is RFC 7662, section 2.2. Of a token that is not good, or not the asker's business,
// nothing is said but that.
type introspection struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Username  string `json:"username,omitempty"`
	TokenType string `json:"token_type,omitempty"`
	ExpiresAt int64  `json:"exp,omitempty"`
	IssuedAt  int64  `json:"iat,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Audience  string `json:"aud,omitempty"`
	Issuer    string `json:"iss,omitempty"`
	ID        string `json:"jti,omitempty"`
	// IDProvider is who knows the person by that subject; two providers may use the same one.
	IDProvider string `json:"idp,omitempty"`
}

// introspect is the introspection endpoint (RFC 7662). A client may ask about its own tokens, a
// resource server about access tokens of its resource. Either has to prove who it is: whoever could
// ask without could try out tokens here (section 4).
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) *oauthError {
	form, refused := readForm(w, r)
	if refused != nil {
		return refused
	}
	credentials, err := clients.ParseCredentials(r, form)
	if err == nil && credentials.Method == clients.AuthNone {
		// Naming oneself proves nothing, whatever the client registered.
		return invalidClient("introspection is for clients that authenticate")
	}
	var answer introspection
	if resource, ok := s.resourceServers.resources[credentials.ClientID]; ok {
		refused = s.authenticateResourceServer(w, r, credentials)
		if refused == nil {
			answer, refused = s.introspectAccess(form.Get("token"), func(a *sessions.Access) bool { return a.Resource == resource })
		}
	} else {
		var client *clients.Client
		if client, refused = s.authenticateClient(w, r, form); refused == nil {
			answer, refused = s.introspectOwn(r, client, form.Get("token"))
		}
	}
	switch {
	case refused != nil:
		return refused
	case form.Get("token") == "":
		return invalidRequest("token is missing")
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (s *Server) authenticateResourceServer(w http.ResponseWriter, r *http.Request, c clients.Credentials) *oauthError {
	if _, err := s.resourceServers.registry.Authenticate(r.Context(), c); err != nil {
		s.recordSampled(r, audit.Event{Type: audit.ClientAuthentication, Reason: "wrong credentials", ClientID: c.ClientID})
		if r.Header.Get("Authorization") != "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="`+s.Issuer+`"`) // RFC 6749, section 5.2
		}
		return invalidClient("client authentication failed")
	}
	return nil
}

// introspectOwn answers a client about a token that was issued to it.
func (s *Server) introspectOwn(r *http.Request, client *clients.Client, token string) (introspection, *oauthError) {
	// The kind shows in the token itself; token_type_hint is not needed (section 2.1).
	if strings.HasPrefix(token, sessions.RefreshToken.Prefix()) {
		return s.introspectRefresh(r, client, token)
	}
	answer, refused := s.introspectAccess(token, func(a *sessions.Access) bool { return a.ClientID == client.Label() })
	if answer.Active {
		answer.ClientID = client.ID // as the client knows itself
	}
	return answer, refused
}

// introspectAccess answers for an access token with what the guard would make of it, provided that
// it concerns the asker.
func (s *Server) introspectAccess(token string, concerns func(*sessions.Access) bool) (introspection, *oauthError) {
	var a sessions.Access
	if err := s.Vault.OpenAccess(token, &a); err != nil {
		return introspection{}, unlessUnavailable(err)
	}
	resource := s.Resources.Find(a.Resource)
	if !concerns(&a) || resource == nil || resource.URI != a.Resource || !s.admitsAccess(resource, &a) {
		return introspection{}, nil
	}
	return introspection{
		Active: true, Scope: a.Scope, ClientID: a.ClientID, Username: a.Email, TokenType: "Bearer",
		ExpiresAt: a.ExpiresAt, IssuedAt: a.IssuedAt, Subject: a.Subject, Audience: a.Resource,
		Issuer: s.Issuer, ID: a.ID.String(), IDProvider: a.UserIssuer,
	}, nil
}

// introspectRefresh answers for a refresh token. It changes nothing, so an old one ends no family.
func (s *Server) introspectRefresh(r *http.Request, client *clients.Client, token string) (introspection, *oauthError) {
	grant, err := s.Vault.LoadGrant(r.Context(), token)
	if err != nil {
		return introspection{}, unlessUnavailable(err)
	}
	resource := s.Resources.Find(grant.Resource)
	if grant.ClientID != client.ID || resource == nil || !s.stillAdmitted(grant.User, resource) {
		return introspection{}, nil
	}
	return introspection{
		Active: true, Scope: strings.Join(grant.Scopes, " "), ClientID: client.ID, Username: grant.User.Email,
		ExpiresAt: unixOrZero(grant.ExpiresAt), IssuedAt: unixOrZero(grant.RotatedAt), Subject: grant.User.Subject,
		Audience: grant.Resource, Issuer: s.Issuer, IDProvider: grant.User.Issuer,
	}, nil
}

// admitsAccess compares the owner of an access token with the configuration as it is now.
func (s *Server) admitsAccess(resource *Resource, a *sessions.Access) bool {
	if a.UserIssuer == s.Issuer {
		return s.Machines.Admits(a.ClientID, resource.URI)
	}
	person, gone := s.people.Find(a.UserIssuer, a.Subject)
	if gone {
		return false
	}
	if person != nil {
		a.Groups = person.JoinedGroups
	}
	return s.Policy.Allows(a.Email, a.Groups) && (resource.Policy == nil || resource.Policy.Allows(a.Email, a.Groups))
}

// unlessUnavailable makes every reason not to be active the same, except that nothing can be said.
func unlessUnavailable(err error) *oauthError {
	if errors.Is(err, sessions.ErrUnavailable) {
		return unavailable()
	}
	return nil
}

func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
