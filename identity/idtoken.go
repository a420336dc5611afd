package identity

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// clockSkew is how far the provider's clock may be off ours.
const clockSkew = time.Minute

// verify checks an ID token as OpenID Connect Core 1.0, section 3.1.3.7, asks for, and returns its
// claims.
func (o *OIDC) verify(ctx context.Context, md *metadata, token, nonce string) (claims, error) {
	c, err := o.verifyRefreshed(ctx, md, token, nonce)
	if err == nil && !c.has("nonce") {
		// Section 3.1.3.7, number 11.
		return nil, fmt.Errorf("%w: ID token has no nonce", ErrRefused)
	}
	return c, err
}

// verifyRefreshed is verify for a token that came of a refresh: that may leave the nonce out, but
// not have another one (OpenID Connect Core 1.0, section 12.2).
func (o *OIDC) verifyRefreshed(ctx context.Context, md *metadata, token, nonce string) (claims, error) {
	v := &verification{keys: md.keys}
	for _, alg := range o.config.AllowedAlgorithms {
		v.algorithms = append(v.algorithms, jose.SignatureAlgorithm(alg))
	}
	// go-oidc checks signature, issuer, audience and expiry.
	verified, err := oidc.NewVerifier(o.config.Issuer, v, &oidc.Config{
		ClientID:             o.config.ClientID,
		SupportedSigningAlgs: o.config.AllowedAlgorithms,
		Now:                  func() time.Time { return o.config.Now().Add(-clockSkew) },
	}).Verify(ctx, token)
	if err != nil {
		return nil, v.explain(err)
	}
	c := claims{}
	if err := verified.Claims(&c); err != nil {
		return nil, fmt.Errorf("%w: ID token is not a JSON object", ErrRefused)
	}
	if err := o.checkClaims(c, verified, nonce); err != nil {
		return nil, fmt.Errorf("%w: ID token %w", ErrRefused, err)
	}
	return c, nil
}

// explain words an error of go-oidc anew: the original quotes what the token says.
func (v *verification) explain(err error) error {
	var expired *oidc.TokenExpiredError
	switch {
	case v.unavailable != nil:
		return fmt.Errorf("%w: reading the provider's keys: %w", ErrUnavailable, v.unavailable)
	case errors.As(err, &expired):
		return fmt.Errorf("%w: ID token is expired", ErrRefused)
	case !v.signed:
		return fmt.Errorf("%w: ID token is malformed, or not signed by a key of the provider with an allowed algorithm", ErrRefused)
	}
	return fmt.Errorf("%w: ID token has malformed claims, or is of another issuer or for another audience", ErrRefused)
}

// checkClaims does what go-oidc leaves to its callers, or does more generously.
func (o *OIDC) checkClaims(c claims, verified *oidc.IDToken, nonce string) error {
	now := float64(o.config.Now().Unix())
	issued, ok := c.seconds("iat")
	if !ok || issued > now+clockSkew.Seconds() {
		return errors.New("is issued in the future, or at no time")
	}
	if notBefore, ok := c.seconds("nbf"); c.has("nbf") && (!ok || notBefore > now+clockSkew.Seconds()) {
		return errors.New("is not valid yet")
	}
	// An empty nonce would match a token whose nonce is no text.
	if c.has("nonce") && (nonce == "" || subtle.ConstantTimeCompare([]byte(c.text("nonce")), []byte(nonce)) != 1) {
		return errors.New("has another nonce")
	}
	// Numbers 4 and 5: with several audiences the token must say that it was made for us.
	azp := c.text("azp")
	if c.has("azp") && azp != o.config.ClientID || len(verified.Audience) > 1 && azp == "" {
		return errors.New("was made for another authorized party")
	}
	sub := c.text("sub")
	if sub == "" || sub != verified.Subject || len(sub) > maxSubject || !printableASCII(sub) {
		return errors.New("has no usable subject")
	}
	return nil
}

// user turns verified claims into a user, asking the UserInfo endpoint for what the ID token does
// not say.
func (o *OIDC) user(ctx context.Context, md *metadata, idToken claims, accessToken string) (User, error) {
	if err := o.checkHostedDomain(idToken); err != nil {
		return User{}, err
	}
	email, groups, name := idToken, idToken, idToken
	noEmail := !idToken.has(o.config.EmailClaim)
	noGroups := o.wantsGroups && !idToken.has(o.config.GroupsClaim)
	if md.UserInfoEndpoint != "" && (noEmail || noGroups) {
		info, err := o.userInfo(ctx, md, idToken.text("sub"), accessToken)
		if err != nil {
			return User{}, err
		}
		// An address and its verification are taken from the same place, never mixed.
		if noEmail {
			email = info
		}
		if !idToken.has(o.config.GroupsClaim) {
			groups = info
		}
		if !idToken.has("name") {
			name = info
		}
	}
	u := User{
		Issuer:  o.config.Issuer,
		Subject: idToken.text("sub"),
		Email:   email.email(o.config.EmailClaim),
		Name:    cleanName(name.text("name")),
		Groups:  groups.groups(o.config.GroupsClaim),
	}
	u.EmailVerified = u.Email != "" && (email.isTrue("email_verified") || o.config.TrustUnverifiedEmail)
	return u, nil
}

// userInfo asks the UserInfo endpoint about the owner of accessToken, who must be sub.
func (o *OIDC) userInfo(ctx context.Context, md *metadata, sub, accessToken string) (claims, error) {
	raw := map[string]json.RawMessage{}
	if err := fetchJSON(ctx, o.client, md.UserInfoEndpoint, accessToken, &raw); err != nil {
		return nil, fmt.Errorf("%w: reading UserInfo: %w", ErrUnavailable, err)
	}
	info := claims(raw)
	// OpenID Connect Core 1.0, section 5.3.2: otherwise the answer must not be used.
	if info.text("sub") != sub {
		return nil, fmt.Errorf("%w: UserInfo is about another subject than the ID token", ErrRefused)
	}
	return info, nil
}

// checkHostedDomain demands one of the configured values of Google's hd claim. It is a condition
// in addition to the allow-list: hd is not the domain of the e-mail address.
func (o *OIDC) checkHostedDomain(c claims) error {
	if len(o.config.RequireHostedDomain) == 0 {
		return nil
	}
	hd := asciiLower(c.text("hd"))
	for _, domain := range o.config.RequireHostedDomain {
		if hd == domain {
			return nil
		}
	}
	return fmt.Errorf("%w: account is not in a required hosted domain", ErrDenied)
}
