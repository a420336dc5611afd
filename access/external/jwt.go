package external

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// verifying bounds how many signatures are computed at a time, in the whole process: whoever floods it
// with forged tokens must not get all of its cores.
var verifying = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))

// maxWait bounds how long a token waits for its turn.
const maxWait = 2 * time.Second

// verify checks a JWT. What is cheap comes first; the signature, which is not, comes last. Nothing of
// the token is believed before.
func (s *Server) verify(ctx context.Context, token string, here func(string) bool) (*Token, error) {
	// The algorithm is one of the configured ones, none of which is "none" or symmetric (RFC 8725,
	// sections 3.1 and 3.2).
	jws, err := jose.ParseSignedCompact(token, s.algorithms)
	if err != nil || !canonical(token) {
		return nil, fmt.Errorf("%w: not a compact JWS of an accepted algorithm", ErrInvalid)
	}
	header := jws.Signatures[0].Protected
	if err := s.checkHeader(header); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	claims := identity.Claims{}
	if json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims) != nil {
		return nil, fmt.Errorf("%w: the claims are not a JSON object", ErrInvalid)
	}
	if claims.Text("iss") != s.config.Issuer {
		return nil, errOtherIssuer
	}
	// RFC 9068, section 2.2: exp is required.
	if _, ok := claims.Seconds("exp"); !ok {
		return nil, fmt.Errorf("%w: it does not say when it expires", ErrInvalid)
	}
	t, err := s.token(claims)
	if err != nil {
		return nil, err
	}
	if !s.meant(t.audience, here) {
		return nil, ErrAudience
	}
	return t, s.signed(ctx, jws, header)
}

// canonical reports whether each part of a JWT is spelled as encoders spell it. Decoders pass over bits at the
// end of a part, and the signature is computed on what they make of it, so that there would be many spellings of one
// token: whoever remembers tokens, to refuse them, must not be led past by another one.
func canonical(token string) bool {
	strict := base64URL.Strict()
	for part := range strings.SplitSeq(token, ".") {
		if _, err := strict.DecodeString(part); err != nil {
			return false
		}
	}
	return true
}

func (s *Server) checkHeader(header jose.Header) error {
	// RFC 7515, section 4.1.11: what is critical and not understood makes the token invalid. Nothing
	// is understood.
	if _, ok := header.ExtraHeaders["crit"]; ok {
		return errors.New("it has critical header parameters")
	}
	typ, there := header.ExtraHeaders[jose.HeaderType]
	text, isText := typ.(string)
	if there && !isText {
		return errors.New("its type is no text")
	}
	switch strings.TrimPrefix(strings.ToLower(text), "application/") { // RFC 7515, section 4.1.9
	case "at+jwt":
		return nil
	case "", "jwt":
		if !s.config.RequireAccessTokenType {
			return nil
		}
	}
	return errors.New("its type is not that of an access token")
}

// signed checks the signature. Keys come from the issuer's key set only: jwk, jku and x5u headers are
// not looked at (RFC 8725, section 3.5).
func (s *Server) signed(ctx context.Context, jws *jose.JSONWebSignature, header jose.Header) error {
	set, err := s.keys(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	keys, err := set.Fitting(ctx, header)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if len(keys) == 0 {
		return fmt.Errorf("%w: not signed with a key of the issuer", ErrInvalid)
	}
	if err := wait(ctx, verifying); err != nil {
		return err
	}
	defer func() { <-verifying }()
	for _, key := range keys {
		if _, err := jws.Verify(key.Key); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: the signature is wrong", ErrInvalid)
}

// wait takes a place, or gives up.
func wait(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return fmt.Errorf("%w: too many tokens to check at once", ErrUnavailable)
}

// claimedIssuer reads the issuer that a JWT names, without believing it.
func claimedIssuer(token string) (string, bool) {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	raw, err := base64URL.DecodeString(payload)
	if err != nil {
		return "", false
	}
	claims := identity.Claims{}
	if json.Unmarshal(raw, &claims) != nil || !claims.Has("iss") {
		return "", false
	}
	return claims.Text("iss"), true
}
