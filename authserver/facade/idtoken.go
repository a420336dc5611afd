package facade

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func (p *Provider) openID() bool { return slices.Contains(p.settings.Scopes, "openid") }

// checkIDToken binds what was issued to this sign-in (OpenID Connect Core 1.0, section 3.1.3.7). It came from
// the token endpoint itself, over TLS, which stands in for its signature (number 6 there); who the person
// is, is read in the access token, as the guard will.
func (p *Provider) checkIDToken(token, nonce string) error {
	claims, err := unverified(token)
	if err != nil {
		return err
	}
	audience, _ := claims.Texts("aud")
	expires, ok := claims.Seconds("exp")
	switch {
	case claims.Text("iss") != p.settings.Issuer:
		return errors.New("is of another issuer")
	case !slices.Contains(audience, p.settings.ClientID):
		return errors.New("is for another client")
	case len(audience) > 1 && claims.Has("azp") && claims.Text("azp") != p.settings.ClientID:
		return errors.New("was issued to another client")
	case !ok || int64(expires) <= p.settings.Now().Add(-time.Minute).Unix():
		return errors.New("has expired")
	case claims.Text("nonce") != nonce:
		return errors.New("is of another sign-in")
	}
	return nil
}

// unverified reads the claims of a JWT without looking at its signature.
func unverified(token string) (identity.Claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("is missing or no JWT; take openid out of the scopes if the provider gives none")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	claims := identity.Claims{}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return nil, errors.New("cannot be read")
	}
	return claims, nil
}
