package clients

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// AssertionType is the only client_assertion_type there is (RFC 7523, section 2.2).
const AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

const (
	maxAssertion     = 8 << 10
	maxAssertionLife = 5 * time.Minute
	maxJTI           = 256
	clockSkew        = time.Minute // of clients, whose clocks are not ours
	keyRefresh       = time.Minute // how often an unknown key makes a key set be fetched again
)

// assertedClient returns the client that an assertion claims to come from, before anything is
// verified: client_id may be left out beside an assertion (RFC 7521, section 4.2).
func assertedClient(assertion string) (string, error) {
	token, err := parseAssertion(assertion)
	if err != nil {
		return "", err
	}
	var claims jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&claims); err != nil || claims.Subject == "" {
		return "", fmt.Errorf("%w: the assertion has no subject", ErrAuthentication)
	}
	return claims.Subject, nil
}

func parseAssertion(assertion string) (*jwt.JSONWebToken, error) {
	if len(assertion) > maxAssertion {
		return nil, fmt.Errorf("%w: the assertion is too long", ErrAuthentication)
	}
	token, err := jwt.ParseSigned(assertion, assertionAlgorithms)
	if err != nil || len(token.Headers) != 1 {
		return nil, fmt.Errorf("%w: the assertion is not a JWT with an accepted signature algorithm", ErrAuthentication)
	}
	return token, nil
}

// checkAssertion verifies a client assertion (RFC 7523, section 3) and marks it as used.
func (g *Registry) checkAssertion(ctx context.Context, client *Client, assertion string) error {
	token, err := parseAssertion(assertion)
	if err != nil {
		return err
	}
	claims, err := g.verify(ctx, client, token)
	if err != nil {
		return err
	}
	if err := g.checkClaims(client, claims); err != nil {
		return fmt.Errorf("%w: the assertion %w", ErrAuthentication, err)
	}
	// The client chooses its jti, so two clients may choose the same.
	sum := sha256.Sum256([]byte(client.ID + "\x00" + claims.ID))
	life := claims.Expiry.Time().Add(clockSkew).Sub(g.now())
	switch err := g.config.Spend(ctx, hex.EncodeToString(sum[:]), life); {
	case errors.Is(err, sessions.ErrReused):
		return fmt.Errorf("%w: the assertion was used before", ErrAuthentication)
	case err != nil:
		return fmt.Errorf("%w: marking an assertion as used: %w", ErrUnavailable, err)
	}
	return nil
}

// verify returns the claims of token once one of the client's keys has verified its signature. A key
// that is not known yet may have been published since the set was fetched.
func (g *Registry) verify(ctx context.Context, client *Client, token *jwt.JSONWebToken) (jwt.Claims, error) {
	keys, err := g.clientKeys(ctx, client, 0)
	if err != nil {
		return jwt.Claims{}, err
	}
	candidates := keys.candidates(token.Headers[0])
	if len(candidates) == 0 && client.keys.uri != "" {
		if keys, err = g.clientKeys(ctx, client, keyRefresh); err != nil {
			return jwt.Claims{}, err
		}
		candidates = keys.candidates(token.Headers[0])
	}
	for _, key := range candidates {
		var claims jwt.Claims
		if token.Claims(key.Key, &claims) == nil {
			return claims, nil
		}
	}
	return jwt.Claims{}, fmt.Errorf("%w: none of the client's keys made the assertion", ErrAuthentication)
}

func (g *Registry) clientKeys(ctx context.Context, client *Client, maxAge time.Duration) (keySet, error) {
	if client.keys.uri == "" {
		return client.keys.inline, nil
	}
	keys, err := g.documents.keys.get(ctx, client.keys.uri, maxAge)
	if errors.Is(err, ErrUnknown) {
		// The client is known; what is missing is the means to authenticate it.
		return nil, fmt.Errorf("%w: fetching its keys: %w", ErrUnavailable, err)
	}
	return keys, err
}

func (g *Registry) checkClaims(client *Client, c jwt.Claims) error {
	now := g.now()
	if c.Issuer != client.ID || c.Subject != client.ID {
		return errors.New("is of another client")
	}
	if !g.isAudience(c.Audience) {
		return errors.New("is for another server")
	}
	switch {
	case c.Expiry == nil:
		return errors.New("has no expiry")
	case !now.Before(c.Expiry.Time().Add(clockSkew)):
		return errors.New("has expired")
	case c.Expiry.Time().After(now.Add(maxAssertionLife + clockSkew)):
		return errors.New("lives longer than 5 minutes")
	case c.NotBefore != nil && c.NotBefore.Time().After(now.Add(clockSkew)):
		return errors.New("is not valid yet")
	case c.IssuedAt != nil && c.IssuedAt.Time().After(now.Add(clockSkew)):
		return errors.New("was issued in the future")
	case c.ID == "" || len(c.ID) > maxJTI:
		return errors.New("has no usable jti")
	}
	return nil
}

// isAudience reports whether an assertion is meant for this server and no other: one that several
// servers accept could be passed on from one to the next.
func (g *Registry) isAudience(audience jwt.Audience) bool {
	for _, a := range audience {
		if a != g.config.Tenant && (a != g.config.TokenEndpoint || a == "") {
			return false
		}
	}
	return len(audience) > 0
}
