package idp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const tokenLife = 5 * time.Minute

var errNotFound = errors.New("not found")

// storage is what zitadel/oidc asks its host for: users, clients, pending requests and tokens.
type storage struct {
	key signingKey

	mu       sync.Mutex
	users    map[string]User // by subject
	clients  map[string]*client
	requests map[string]*authRequest
	codes    map[string]string // code to request id
	tokens   map[string]issuedToken
	renewals map[string]*renewal // by refresh token
	logins   int
	logouts  []string // subjects
	session  string   // the subject who is signed in, in every browser; "": nobody
	revoked  int      // access tokens
	issued   []string
}

type issuedToken struct {
	subject  string
	scopes   []string
	audience []string
	clientID string
	expires  time.Time
}

func newStorage() (*storage, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the signing key: %w", err)
	}
	return &storage{
		key:      signingKey{id: rand.Text(), private: private},
		users:    make(map[string]User),
		clients:  make(map[string]*client),
		requests: make(map[string]*authRequest),
		codes:    make(map[string]string),
		tokens:   make(map[string]issuedToken),
		renewals: make(map[string]*renewal),
	}, nil
}

func (s *storage) addUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[u.Subject] = u
}

func (s *storage) addClient(id, secret string, redirectURIs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[id] = &client{id: id, secret: secret, redirectURIs: redirectURIs}
}

func (s *storage) loginCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logins
}

// finishLogin checks the password of the user called username, by e-mail address, and ties the
// user to the pending request.
func (s *storage) finishLogin(requestID, username, password string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := s.requests[requestID]
	if req == nil {
		return false
	}
	for _, u := range s.users {
		if u.Email == username && subtle.ConstantTimeCompare([]byte(u.Password), []byte(password)) == 1 {
			req.subject, req.done, req.authTime = u.Subject, true, time.Now()
			s.logins++
			return true
		}
	}
	return false
}

func (s *storage) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := &authRequest{id: rand.Text(), request: *r}
	if c := s.clients[r.ClientID]; c != nil && c.resource != nil {
		req.audience = c.resource.Audience
	}
	s.requests[req.id] = req
	return req.copy(), nil
}

func (s *storage) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := s.requests[id]
	if req == nil {
		return nil, errNotFound
	}
	return req.copy(), nil
}

func (s *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	id := s.codes[code]
	s.mu.Unlock()
	return s.AuthRequestByID(ctx, id)
}

func (s *storage) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[code] = id
	s.issued = append(s.issued, code)
	return nil
}

func (s *storage) DeleteAuthRequest(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, id)
	for code, request := range s.codes {
		if request == id {
			delete(s.codes, code)
		}
	}
	return nil
}

func (s *storage) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, expires := rand.Text(), time.Now().Add(tokenLife)
	token := issuedToken{subject: r.GetSubject(), scopes: r.GetScopes(), audience: r.GetAudience(), expires: expires}
	if request, ok := r.(op.AuthRequest); ok {
		token.clientID = request.GetClientID()
	}
	s.tokens[id] = token
	return id, expires, nil
}

func (s *storage) RevokeToken(_ context.Context, id, _, _ string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.tokens[id]; ok {
		s.revoked++
	}
	delete(s.tokens, id)
	s.revoke(id)
	return nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) { return s.key, nil }

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) { return []op.Key{publicKey{s.key}}, nil }

func (s *storage) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[id]
	if c == nil {
		return nil, errNotFound
	}
	return c, nil
}

func (s *storage) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[id]
	if c == nil || subtle.ConstantTimeCompare([]byte(c.secret), []byte(secret)) != 1 {
		return errors.New("wrong client credentials")
	}
	return nil
}

func (s *storage) Health(context.Context) error { return nil }

var _ op.Storage = (*storage)(nil)
