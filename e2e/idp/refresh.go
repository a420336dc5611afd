package idp

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"
)

// renewal is what a refresh token stands for. A token that was used stays, so that a second use is
// known for one and ends the whole family, as the strict providers do.
type renewal struct {
	*family
	used bool
}

type family struct {
	clientID, subject string
	scopes, audience  []string
	authTime          time.Time
	ended             bool
}

func (r *renewal) GetAMR() []string          { return []string{"pwd"} }
func (r *renewal) GetAudience() []string     { return append([]string{r.clientID}, r.audience...) }
func (r *renewal) GetAuthTime() time.Time    { return r.authTime }
func (r *renewal) GetClientID() string       { return r.clientID }
func (r *renewal) GetScopes() []string       { return r.scopes }
func (r *renewal) GetSubject() string        { return r.subject }
func (r *renewal) SetCurrentScopes([]string) {}

func (s *storage) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	access, expires, err := s.CreateAccessToken(ctx, r)
	if err != nil {
		return "", "", time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := &renewal{family: &family{subject: r.GetSubject(), scopes: slices.Clone(r.GetScopes()), authTime: time.Now()}}
	if request, ok := r.(op.AuthRequest); ok {
		next.clientID, next.authTime = request.GetClientID(), request.GetAuthTime()
	}
	if c := s.clients[next.clientID]; c != nil && c.resource != nil {
		next.audience = c.resource.Audience
	}
	if old := s.renewals[current]; old != nil {
		old.used = true
		next.family = old.family
	}
	token := rand.Text()
	s.renewals[token] = next
	s.issued = append(s.issued, token)
	return access, token, expires, nil
}

func (s *storage) TokenRequestByRefreshToken(_ context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.renewals[token]
	if r != nil && r.used {
		r.ended = true
	}
	if r == nil || r.ended {
		return nil, op.ErrInvalidRefreshToken
	}
	if _, ok := s.users[r.subject]; !ok {
		return nil, op.ErrInvalidRefreshToken
	}
	return r, nil
}

// GetRefreshTokenInfo names a refresh token for its revocation.
func (s *storage) GetRefreshTokenInfo(_ context.Context, clientID, token string) (subject, id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.renewals[token]
	if r == nil || r.clientID != clientID {
		return "", "", op.ErrInvalidRefreshToken
	}
	return r.subject, token, nil
}

// revoke ends the family of a refresh token, if id is one.
func (s *storage) revoke(id string) {
	if r := s.renewals[id]; r != nil {
		r.ended = true
	}
}

// Revoked counts what applications have revoked: access tokens that were good, and families of refresh tokens.
func (p *Provider) Revoked() (accessTokens, families int) {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	ended := make(map[*family]bool)
	for _, r := range p.storage.renewals {
		ended[r.family] = r.ended
	}
	for _, end := range ended {
		if end {
			families++
		}
	}
	return p.storage.revoked, families
}

func (s *storage) TerminateSession(_ context.Context, subject, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logouts = append(s.logouts, subject)
	return nil
}

// RemoveUser closes an account, as when somebody leaves.
func (p *Provider) RemoveUser(u User) {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	delete(p.storage.users, u.Subject)
}

// Logouts lists the subjects whom an application sent here to sign out.
func (p *Provider) Logouts() []string {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	return slices.Clone(p.storage.logouts)
}

// Renewals counts the refresh tokens that were used.
func (p *Provider) Renewals() int {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	n := 0
	for _, r := range p.storage.renewals {
		if r.used {
			n++
		}
	}
	return n
}

// AllowLogoutReturn registers an address that browsers are sent back to after signing out.
func (p *Provider) AllowLogoutReturn(clientID, address string) {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	p.storage.clients[clientID].logoutURIs = []string{address}
}

var _ op.RefreshTokenRequest = (*renewal)(nil)
