package authserver

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// tokenResponse is RFC 6749, section 5.1. The scope is always said, since what was granted may be
// less than what was asked for (section 3.3).
type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
}

// token is the token endpoint (OAuth 2.1, section 3.2).
func (s *Server) token(w http.ResponseWriter, r *http.Request) *oauthError {
	form, refused := readForm(w, r)
	if refused != nil {
		return refused
	}
	name := form.Get("grant_type")
	if name == "" {
		return invalidRequest("grant_type is missing")
	}
	grant := s.grants[name]
	if grant == nil {
		return &oauthError{code: "unsupported_grant_type", description: "this server knows the grant types " + strings.Join(s.grantTypes(), ", ")}
	}
	client, refused := s.authenticateClient(w, r, form)
	if refused != nil {
		return refused
	}
	answer, refused := grant(r, client, form)
	if refused != nil {
		s.recordRefusal(r, name, client, refused)
		return refused
	}
	if s.OnToken != nil {
		s.OnToken(name)
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// grantFunc answers a token request of one grant type, for a client that has been authenticated.
type grantFunc func(*http.Request, *clients.Client, url.Values) (*tokenResponse, *oauthError)

// grantTypes lists the grant types that this server knows.
func (s *Server) grantTypes() []string { return slices.Sorted(maps.Keys(s.grants)) }

// issueAccess makes the access token of a grant. It is sealed to the resource: the guard compares it
// with the resource that a request is for (RFC 8707, section 2).
func (s *Server) issueAccess(g sessions.Grant, scopes []string) (*tokenResponse, error) {
	now := s.Now()
	scope := strings.Join(scopes, " ")
	lifetime, _ := s.lifetimesOf(g)
	token, err := s.Vault.IssueAccess(sessions.Access{
		ID:         sessions.NewID(),
		Grant:      g.ID,
		IssuedAt:   now.Unix(),
		ExpiresAt:  now.Add(lifetime).Unix(),
		Resource:   g.Resource,
		Scope:      scope,
		UserIssuer: g.User.Issuer,
		Subject:    g.User.Subject,
		Email:      g.User.Email,
		Name:       g.User.Name,
		Groups:     joinGroups(g.User.Groups),
		ClientID:   g.ClientLabel,
		ClientName: g.ClientName,
	})
	if err != nil {
		return nil, err
	}
	return &tokenResponse{
		AccessToken: token,
		TokenType:   "Bearer",
		ExpiresIn:   int64(lifetime / time.Second),
		Scope:       scope,
	}, nil
}

// sameResource checks the resource indicator of a token request: a token may be asked for the
// resource that was consented to and no other. Clients of older revisions send none.
func (s *Server) sameResource(indicators []string, granted string) *oauthError {
	for _, indicator := range indicators {
		resource := s.Resources.Find(indicator)
		if resource == nil || resource.URI != granted {
			return invalidTarget("resource is not the one that was authorized")
		}
	}
	return nil
}

// stillAdmitted compares a person with the configuration as it is now: somebody who left the allow-lists,
// or the users that it names, gets no further token.
func (s *Server) stillAdmitted(u sessions.User, resource *Resource) bool {
	if _, gone := s.people.Find(u.Issuer, u.Subject); gone {
		return false
	}
	groups := joinGroups(u.Groups)
	return s.Policy.Allows(u.Email, groups) && (resource.Policy == nil || resource.Policy.Allows(u.Email, groups))
}

func (s *Server) grantEvent(r *http.Request, kind audit.Type, g sessions.Grant) audit.Event {
	return audit.Event{
		Type: kind, Subject: g.User.Subject, Email: g.User.Email, ClientID: g.ClientLabel, ClientName: g.ClientName,
		Resource: g.Resource, Grant: g.ID.String(), ClientAddr: s.ClientAddr(r),
	}
}
