package idp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Resource is what the access tokens of a client are for, where the provider is the authorization
// server of a resource and not only a place to sign in.
type Resource struct {
	Audience []string
	Scopes   []string
	// Opaque makes tokens that only the provider can read. By default they are JWTs.
	Opaque bool
}

// AddResourceClient registers a confidential client whose access tokens are for resource.
func (p *Provider) AddResourceClient(id, secret string, resource Resource, redirectURIs ...string) {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	p.storage.clients[id] = &client{id: id, secret: secret, redirectURIs: redirectURIs, resource: &resource}
}

// EndTokens ends every access token of u, as an operator of the provider may.
func (p *Provider) EndTokens(u User) {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	for id, token := range p.storage.tokens {
		if token.subject == u.Subject {
			delete(p.storage.tokens, id)
		}
	}
}

func (r *Resource) tokenType() op.AccessTokenType {
	if r == nil || r.Opaque {
		return op.AccessTokenTypeBearer
	}
	return op.AccessTokenTypeJWT
}

func (r *Resource) has(scope string) bool { return r != nil && slices.Contains(r.Scopes, scope) }

// GetPrivateClaimsFromScopes is not asked: GetPrivateClaimsFromRequest is.
func (s *storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

// GetPrivateClaimsFromRequest adds to a JWT what the resource needs to know of the user.
func (s *storage) GetPrivateClaimsFromRequest(_ context.Context, r op.TokenRequest, _ []string) (map[string]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.users[r.GetSubject()]
	if !ok {
		return nil, errNotFound
	}
	return map[string]any{
		"scope": strings.Join(r.GetScopes(), " "), "email": u.Email, "email_verified": u.EmailVerified, "groups": u.Groups,
	}, nil
}

// SetIntrospectionFromToken tells a resource about a token that it was shown.
func (s *storage) SetIntrospectionFromToken(_ context.Context, answer *oidc.IntrospectionResponse, id, subject, _ string) error {
	s.mu.Lock()
	token, ok := s.tokens[id]
	s.mu.Unlock()
	if !ok || token.subject != subject || time.Now().After(token.expires) {
		return errors.New("token is invalid or has expired")
	}
	info := new(oidc.UserInfo)
	if err := s.setClaims(info, subject, []string{oidc.ScopeEmail, oidc.ScopeProfile}); err != nil {
		return err
	}
	answer.SetUserInfo(info)
	answer.Audience, answer.Scope, answer.ClientID = token.audience, token.scopes, token.clientID
	answer.TokenType, answer.Expiration = oidc.BearerToken, oidc.FromTime(token.expires)
	return nil
}

var _ op.CanGetPrivateClaimsFromRequest = (*storage)(nil)
