package external

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// MaxToken bounds a token in bytes. Those with many groups in them are long.
	MaxToken = 16 << 10
	// entryLife is how long a good token is taken for good without another look, and so for how long
	// at most an issuer's revocation goes unnoticed.
	entryLife = time.Minute
)

// Servers are the issuers whose tokens are accepted, one or several.
type Servers []*Server

// NewServers joins servers. At most one of them may have to be asked about tokens that do not say
// whose they are: others would get to see tokens that are none of theirs.
func NewServers(servers []*Server) (Servers, error) {
	asked := 0
	for i, s := range servers {
		for _, other := range servers[:i] {
			if other.config.Issuer == s.config.Issuer {
				return nil, fmt.Errorf("authorization_server %s is given twice", s.config.Issuer)
			}
		}
		if s.config.Introspection != nil {
			asked++
		}
	}
	if asked > 1 {
		return nil, errors.New("two authorization servers have introspection, and an opaque token does not say which of them to ask; leave it to one")
	}
	return servers, nil
}

// Issuers are the issuer identifiers, in the order of the configuration.
func (ss Servers) Issuers() []string {
	issuers := make([]string, 0, len(ss))
	for _, s := range ss {
		issuers = append(issuers, s.config.Issuer)
	}
	return issuers
}

// Check returns what token says if it is good for the resource that here recognises by a value of
// aud. The error wraps [ErrInvalid], perhaps as [ErrExpired] or [ErrAudience], or [ErrUnavailable], or is a *[MissingScope] together with the
// token. Texts of errors are for the log, and hold nothing of the token.
func (ss Servers) Check(ctx context.Context, token string, here func(audience string) bool) (*Token, error) {
	err := fmt.Errorf("%w: nobody's", ErrInvalid)
	for _, s := range ss {
		var t *Token
		if t, err = s.check(ctx, token, here); !errors.Is(err, errOtherIssuer) {
			return t, err
		}
	}
	return nil, err
}

// errOtherIssuer means that another server may know the token.
var errOtherIssuer = fmt.Errorf("%w: it is of another issuer", ErrInvalid)

// MissingScope is the answer for a token that is good for too little.
type MissingScope struct {
	// Needed are the scopes that a token needs, separated by spaces.
	Needed string
}

// Error implements error.
func (m *MissingScope) Error() string { return ErrScope.Error() }

// Is makes a MissingScope recognisable as [ErrScope].
func (m *MissingScope) Is(target error) bool { return target == ErrScope }

func (s *Server) check(ctx context.Context, token string, here func(string) bool) (*Token, error) {
	if len(token) > MaxToken {
		return nil, fmt.Errorf("%w: too long", ErrInvalid)
	}
	key := sha256.Sum256([]byte(token))
	t, _ := s.good.get(key, s.config.Now())
	if t == nil {
		var err error
		if t, err = s.look(ctx, key, token, here); err != nil {
			return nil, err
		}
	}
	if !s.meant(t.audience, here) {
		return nil, ErrAudience
	}
	for _, scope := range s.config.RequiredScopes {
		if !hasScope(t.Scope, scope) {
			return t, &MissingScope{Needed: s.RequiredScope()}
		}
	}
	return t, nil
}

// look checks a token that was not seen lately.
func (s *Server) look(ctx context.Context, key [sha256.Size]byte, token string, here func(string) bool) (*Token, error) {
	var t *Token
	var err error
	isJWT := strings.Count(token, ".") == 2
	switch {
	case isJWT && (s.config.JWKS != "" || s.config.Introspection == nil):
		t, err = s.verify(ctx, token, here)
	case isJWT:
		// It says whose it is, and need not be shown to anybody else.
		issuer, ok := claimedIssuer(token)
		switch {
		case ok && issuer != s.config.Issuer:
			return nil, errOtherIssuer
		case ok && !canonical(token):
			return nil, fmt.Errorf("%w: not spelled as it was issued", ErrInvalid)
		}
		return s.ask(ctx, key, token)
	case s.config.Introspection != nil:
		return s.ask(ctx, key, token)
	default:
		return nil, errOtherIssuer
	}
	if err != nil {
		return nil, err
	}
	s.good.put(key, t, s.remember(t), s.config.Now())
	return t, nil
}

// remember is until when a token that is good now may be taken for good.
func (s *Server) remember(t *Token) time.Time {
	until := s.config.Now().Add(entryLife)
	if !t.ExpiresAt.IsZero() && t.ExpiresAt.Before(until) {
		return t.ExpiresAt
	}
	return until
}

// meant reports whether a token with this aud is for the resource that here recognises (RFC 9068,
// section 4; MCP authorization, "Token Audience Binding and Validation").
func (s *Server) meant(audience []string, here func(string) bool) bool {
	if len(audience) == 0 {
		return s.config.AllowMissingAudience
	}
	for _, a := range audience {
		if here(a) || slices.Contains(s.config.Audiences, a) {
			return true
		}
	}
	return false
}

func hasScope(scope, want string) bool {
	for scope != "" {
		var one string
		one, scope, _ = strings.Cut(scope, " ")
		if one == want {
			return true
		}
	}
	return false
}
