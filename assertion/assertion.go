// Package assertion tells an upstream who is calling in a form that it can verify: a short-lived JWT,
// signed with a key of the ring. It knows nothing of requests or headers; callers give it the access
// token they have checked.
package assertion

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxCached bounds how many assertions are kept for reuse.
const maxCached = 4096

// Keys are what assertions are signed and verified with. sessions.Ring has them.
type Keys interface {
	SigningKey(tenant string) (sessions.SigningKey, error)
	SigningKeys(tenant string) ([]sessions.SigningKey, error)
}

// Config makes a Signer.
type Config struct {
	Keys Keys
	// Issuer is the iss of every assertion, and the tenant whose keys sign.
	Issuer string
	// Lifetime is how long an assertion is good.
	Lifetime time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Signer makes assertions for one issuer. It is safe for concurrent use.
//
// A signature costs as much as a fifth of a proxied request, so an assertion is used again for up to
// half of its life, whichever requests the same access token brings.
type Signer struct {
	config Config
	sign   func(sessions.SigningKey, any) (string, error)

	mu    sync.RWMutex
	ready map[sessions.Access]ready
}

// ready is an assertion that can be used again.
type ready struct {
	text  string
	until time.Time
}

// New returns a Signer.
func New(c Config) *Signer {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Signer{config: c, sign: sign, ready: make(map[sessions.Access]ready)}
}

// claims is what an assertion says (RFC 7519, section 4.1; OpenID Connect Core, section 5.1; RFC
// 8693, section 4).
type claims struct {
	Issuer     string   `json:"iss"`
	Audience   string   `json:"aud"`
	Subject    string   `json:"sub"`
	IDProvider string   `json:"idp,omitempty"` // who knows the person by that subject
	Email      string   `json:"email,omitempty"`
	Name       string   `json:"name,omitempty"`
	Groups     []string `json:"groups,omitempty"`
	ClientID   string   `json:"client_id,omitempty"`
	ClientName string   `json:"client_name,omitempty"`
	Scope      string   `json:"scope,omitempty"`
	IssuedAt   int64    `json:"iat"`
	ExpiresAt  int64    `json:"exp"`
	ID         string   `json:"jti"`
}

// For returns an assertion of what a says. It is good for the resource of a only, and no longer than
// a is. Two access tokens never share one: everything that a says is part of the question. It does
// not allocate when there is one ready. The error may wrap [sessions.ErrUnavailable].
func (s *Signer) For(a *sessions.Access) (string, error) {
	now := s.config.Now()
	s.mu.RLock()
	r := s.ready[*a]
	s.mu.RUnlock()
	if now.Before(r.until) {
		return r.text, nil
	}
	key, err := s.config.Keys.SigningKey(s.config.Issuer)
	if err != nil {
		return "", fmt.Errorf("signing an identity assertion: %w", err)
	}
	life := s.config.Lifetime
	if left := time.Unix(a.ExpiresAt, 0).Sub(now); a.ExpiresAt != 0 && left < life {
		life = left
	}
	c := claims{
		Issuer: s.config.Issuer, Audience: a.Resource, Subject: a.Subject, IDProvider: a.UserIssuer, Email: a.Email,
		Name: a.Name, ClientID: a.ClientID, ClientName: a.ClientName, Scope: a.Scope,
		IssuedAt: now.Unix(), ExpiresAt: now.Add(life).Unix(), ID: sessions.NewID().String(),
	}
	if a.Groups != "" {
		c.Groups = strings.Split(a.Groups, ",")
	}
	text, err := s.sign(key, c)
	if err != nil {
		return "", fmt.Errorf("signing an identity assertion: %w", err)
	}
	s.keep(*a, ready{text: text, until: now.Add(life / 2)}, now)
	return text, nil
}

// keep makes room when there is none: first what can be used no more, then anything, since to sign
// once more is all that it costs.
func (s *Signer) keep(a sessions.Access, r ready, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ready) >= maxCached {
		maps.DeleteFunc(s.ready, func(_ sessions.Access, old ready) bool { return !now.Before(old.until) })
		for key := range s.ready {
			if len(s.ready) <= maxCached*3/4 {
				break
			}
			delete(s.ready, key)
		}
	}
	s.ready[a] = r
}

// KeySet returns the JWK Set (RFC 7517, section 5) to verify assertions with. The error may wrap
// [sessions.ErrUnavailable].
func (s *Signer) KeySet() ([]byte, error) {
	keys, err := s.config.Keys.SigningKeys(s.config.Issuer)
	if err != nil {
		return nil, fmt.Errorf("listing the keys of identity assertions: %w", err)
	}
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(keys))}
	for _, key := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: key.Private.Public(), KeyID: key.ID, Algorithm: string(jose.ES256), Use: "sig"})
	}
	return json.Marshal(set)
}

func sign(key sessions.SigningKey, claims any) (string, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key.Private, KeyID: key.ID}},
		(&jose.SignerOptions{}).WithType("JWT"),
	)
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// Interface guards
var _ Keys = (*sessions.Ring)(nil)
