package external

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

const (
	// skew is how far the issuer's clock may be off ours.
	skew = time.Minute
	// maxScope bounds the scopes of a token in bytes; they go on in a header.
	maxScope = 4 << 10
	// lastSecond is the end of the year 9999. Times beyond it are mistakes.
	lastSecond = 253402300799
)

var base64URL = base64.RawURLEncoding

// token turns claims, of a JWT or of an introspection answer, into a Token. Whether they can be
// believed is for the caller to find out.
func (s *Server) token(c identity.Claims) (*Token, error) {
	if err := s.checkUse(c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	expires, err := s.checkTimes(c)
	if err != nil {
		return nil, err
	}
	audience, ok := c.Texts("aud")
	if !ok && c.Has("aud") {
		return nil, fmt.Errorf("%w: its audience is malformed", ErrInvalid)
	}
	user, err := c.User(s.config.Issuer, s.config.Names)
	if err != nil {
		return nil, fmt.Errorf("%w: it %w", ErrInvalid, err)
	}
	return &Token{
		User: user, ClientID: s.client(c), Scope: s.scope(c), ExpiresAt: expires, audience: audience,
	}, nil
}

// checkUse refuses tokens that were not made to be shown to a resource, or not as a bearer token.
func (s *Server) checkUse(c identity.Claims) error {
	switch {
	case c.Has("cnf"):
		// RFC 7800: it is bound to a key, whose possession a bearer does not prove.
		return errors.New("it is bound to a key")
	case c.Has("at_hash"), c.Has("c_hash"), c.Has("events"):
		// OpenID Connect Core 1.0, section 3.3.2.11; RFC 8417, section 2.2. RFC 9068, section 4, has a type to
		// tell these apart by, which many issuers do not write.
		return errors.New("it is an ID token or a security event token")
	}
	// What Keycloak, RFC 7662 and Amazon Cognito call the kind of a token.
	for _, name := range []string{"typ", "token_type", "token_use"} {
		switch strings.ToLower(c.Text(name)) {
		case "", "bearer", "access", "access_token", "at+jwt", "jwt":
		default:
			return errors.New("it is not a bearer access token")
		}
	}
	return nil
}

func (s *Server) checkTimes(c identity.Claims) (expires time.Time, err error) {
	now := float64(s.config.Now().Unix())
	if exp, ok := c.Seconds("exp"); ok {
		if exp <= now {
			return expires, ErrExpired
		}
		if exp > lastSecond {
			return expires, fmt.Errorf("%w: its expiry is beyond all time", ErrInvalid)
		}
		expires = time.Unix(int64(exp), 0)
	} else if c.Has("exp") {
		return expires, fmt.Errorf("%w: its expiry is malformed", ErrInvalid)
	}
	for _, name := range []string{"nbf", "iat"} {
		if at, ok := c.Seconds(name); c.Has(name) && (!ok || at > now+skew.Seconds()) {
			return expires, fmt.Errorf("%w: it is not valid yet", ErrInvalid)
		}
	}
	return expires, nil
}

// scope returns the scopes of a token: RFC 9068, section 2.2.3, has a text in scope; Okta, Entra ID
// and others write scp, a text or an array.
func (s *Server) scope(c identity.Claims) string {
	name := s.config.ScopesClaim
	if name == "" {
		if name = "scope"; !c.Has(name) {
			name = "scp"
		}
	}
	texts, _ := c.Texts(name)
	var b strings.Builder
	for _, text := range texts {
		for scope := range strings.SplitSeq(text, " ") {
			if !validScope(scope) || hasScope(b.String(), scope) || b.Len()+1+len(scope) > maxScope {
				continue
			}
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(scope)
		}
	}
	return b.String()
}

// validScope is scope-token of RFC 6749, section 3.3.
func validScope(scope string) bool {
	for i := range len(scope) {
		if c := scope[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return scope != ""
}

func (s *Server) client(c identity.Claims) string {
	names := []string{"client_id", "azp", "cid", "appid"}
	if s.config.ClientClaim != "" {
		names = []string{s.config.ClientClaim}
	}
	for _, name := range names {
		if id := c.Text(name); id != "" && len(id) <= 255 && !strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
			return id
		}
	}
	return ""
}
