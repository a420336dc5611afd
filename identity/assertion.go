package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// assertionType is the typ of an Identity Assertion JWT Authorization Grant. Demanding it keeps ID
	// tokens, which the same keys sign, from being taken for one (RFC 8725, section 3.11).
	assertionType = "oauth-id-jag+jwt"

	maxAssertion     = 16 << 10
	maxAssertionLife = time.Hour
	maxJTI           = 256
	maxClientID      = 512
	maxResources     = 16
	maxScope         = 4 << 10
)

// Assertion is an Identity Assertion JWT Authorization Grant that passed verification: a provider says
// that a client may act for a person.
type Assertion struct {
	User User
	// ClientID is the client it was made for.
	ClientID string
	// Resources are the resource indicators in it, at least one.
	Resources []string
	// Scopes limit what may be granted; nil sets no limit.
	Scopes []string
	// ID is unique within the issuer. It must be remembered until RememberUntil, and refused when it
	// comes again.
	ID            string
	RememberUntil time.Time
	// AuthTime is when the person signed in there; zero if it does not say.
	AuthTime time.Time
}

// Asserting is a provider that can vouch for people to clients, who then come with its assertion instead
// of a browser. Implementations are safe for concurrent use.
type Asserting interface {
	Provider
	// Issuer is what the iss of its assertions is.
	Issuer() string
	// Assertion verifies an assertion made for audience. The error is ErrUnavailable, ErrRefused or
	// ErrDenied, and holds nothing that the assertion says.
	Assertion(ctx context.Context, token, audience string) (Assertion, error)
}

// AssertionIssuer returns the issuer that an assertion claims to be of, before anything is verified: it
// tells whose keys to verify it with.
func AssertionIssuer(token string) (string, error) {
	if len(token) > maxAssertion {
		return "", fmt.Errorf("%w: assertion is too long", ErrRefused)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("%w: assertion is not a signed JWT", ErrRefused)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	c := claims{}
	if err != nil || json.Unmarshal(payload, &c) != nil || c.text("iss") == "" {
		return "", fmt.Errorf("%w: assertion has no issuer", ErrRefused)
	}
	return c.text("iss"), nil
}

// Issuer implements Asserting.
func (o *OIDC) Issuer() string { return o.config.Issuer }

// Assertion implements Asserting (draft-ietf-oauth-identity-assertion-authz-grant, "Processing Rules"; RFC
// 7523, section 3). Keys, algorithms and the rules about e-mail addresses, groups and hosted domains are
// those of signing in: the draft has the subject be the same, and so is the person.
func (o *OIDC) Assertion(ctx context.Context, token, audience string) (Assertion, error) {
	if len(token) > maxAssertion {
		return Assertion{}, fmt.Errorf("%w: assertion is too long", ErrRefused)
	}
	if err := checkAssertionHeader(token, o.algorithms()); err != nil {
		return Assertion{}, fmt.Errorf("%w: assertion %w", ErrRefused, err)
	}
	md, err := o.metadata(ctx)
	if err != nil {
		return Assertion{}, err
	}
	v := &verification{keys: md.keys, algorithms: o.algorithms()}
	payload, err := v.VerifySignature(ctx, token)
	switch {
	case v.unavailable != nil:
		return Assertion{}, fmt.Errorf("%w: reading the provider's keys: %w", ErrUnavailable, v.unavailable)
	case err != nil:
		return Assertion{}, fmt.Errorf("%w: assertion is not signed by a key of the provider", ErrRefused)
	}
	c := claims{}
	if json.Unmarshal(payload, &c) != nil {
		return Assertion{}, fmt.Errorf("%w: assertion is not a JSON object", ErrRefused)
	}
	a, err := readAssertion(c, o.config.Issuer, audience, o.config.Now())
	if err != nil {
		return Assertion{}, fmt.Errorf("%w: assertion %w", ErrRefused, err)
	}
	if err := o.checkHostedDomain(c); err != nil {
		return Assertion{}, err
	}
	a.User = User{
		Issuer:  o.config.Issuer,
		Subject: c.text("sub"),
		Email:   c.email(o.config.EmailClaim),
		Name:    cleanName(c.text("name")),
		Groups:  c.groups(o.config.GroupsClaim),
	}
	a.User.EmailVerified = a.User.Email != "" && (c.isTrue("email_verified") || o.config.TrustUnverifiedEmail)
	return a, nil
}

func (o *OIDC) algorithms() []jose.SignatureAlgorithm {
	algorithms := make([]jose.SignatureAlgorithm, 0, len(o.config.AllowedAlgorithms))
	for _, alg := range o.config.AllowedAlgorithms {
		algorithms = append(algorithms, jose.SignatureAlgorithm(alg))
	}
	return algorithms
}

// checkAssertionHeader refuses what is no assertion before anybody is asked for keys.
func checkAssertionHeader(token string, algorithms []jose.SignatureAlgorithm) error {
	jws, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return errors.New("is not a JWT with an allowed signature algorithm")
	}
	header := jws.Signatures[0].Protected
	typ, _ := header.ExtraHeaders[jose.HeaderType].(string)
	if !strings.EqualFold(typ, assertionType) {
		return errors.New("is not of type " + assertionType)
	}
	// RFC 7515, section 4.1.11: an extension that is not understood must not be ignored.
	if _, critical := header.ExtraHeaders["crit"]; critical {
		return errors.New("needs an extension that is not supported")
	}
	return nil
}

// readAssertion checks the claims, all but those about the person.
func readAssertion(c claims, issuer, audience string, now time.Time) (Assertion, error) {
	if err := checkAssertionTimes(c, now); err != nil {
		return Assertion{}, err
	}
	sub, jti, client := c.text("sub"), c.text("jti"), c.text("client_id")
	switch {
	case c.text("iss") != issuer:
		return Assertion{}, errors.New("is of another issuer")
	case !c.isOnly("aud", audience):
		// One audience and no other: whoever else may use it could pass it on.
		return Assertion{}, errors.New("is for another authorization server, or for several")
	case sub == "" || len(sub) > maxSubject || !printableASCII(sub):
		return Assertion{}, errors.New("has no usable subject")
	case jti == "" || len(jti) > maxJTI:
		return Assertion{}, errors.New("has no usable jti")
	case client == "" || len(client) > maxClientID:
		return Assertion{}, errors.New("has no usable client_id")
	case c.has("cnf"):
		// "ID-JAG Contains cnf Claim but DPoP Proof is Not Presented": it must be refused.
		return Assertion{}, errors.New("needs proof of possession, which is not supported")
	case c.has("authorization_details"):
		// They may narrow what scope and resource say; passing them over would grant too much.
		return Assertion{}, errors.New("has authorization details, which are not supported")
	case c.has("tenant"), c.has("aud_tenant"):
		// The subject is unique within the tenant only, which signing in knows nothing of.
		return Assertion{}, errors.New("is of a tenant, which is not supported")
	}
	a := Assertion{ClientID: client, ID: jti}
	var ok bool
	if a.Resources, ok = c.texts("resource", maxResources); !ok || len(a.Resources) == 0 {
		return Assertion{}, errors.New("names no resource") // MCP Enterprise-Managed Authorization, section 4.3
	}
	if c.has("scope") {
		scope := c.text("scope")
		if len(scope) > maxScope || !c.isText("scope") {
			return Assertion{}, errors.New("has an unusable scope")
		}
		a.Scopes = append([]string{}, strings.Fields(scope)...)
	}
	expiry, _ := c.seconds("exp")
	a.RememberUntil = time.Unix(int64(expiry), 0).Add(clockSkew + time.Second)
	if at, ok := c.seconds("auth_time"); ok && at > 0 && at <= float64(now.Unix())+clockSkew.Seconds() {
		a.AuthTime = time.Unix(int64(at), 0).UTC()
	}
	return a, nil
}

func checkAssertionTimes(c claims, now time.Time) error {
	at, skew := float64(now.Unix()), clockSkew.Seconds()
	expiry, hasExpiry := c.seconds("exp")
	issued, hasIssued := c.seconds("iat")
	notBefore, hasNotBefore := c.seconds("nbf")
	switch {
	case !hasExpiry:
		return errors.New("has no expiry")
	case expiry <= at-skew:
		return errors.New("is expired")
	case expiry > at+maxAssertionLife.Seconds()+skew:
		// RFC 7523, section 3, number 4. It also bounds how long its jti is remembered.
		return errors.New("lives longer than an hour")
	case !hasIssued || issued > at+skew:
		return errors.New("is issued in the future, or at no time")
	case c.has("nbf") && (!hasNotBefore || notBefore > at+skew):
		return errors.New("is not valid yet")
	}
	return nil
}

// isText reports whether a member is a string.
func (c claims) isText(name string) bool {
	var s *string
	return json.Unmarshal(c[name], &s) == nil && s != nil
}

// isOnly reports whether a member is this string, or an array of it alone.
func (c claims) isOnly(name, value string) bool {
	values, ok := c.texts(name, 1)
	return ok && len(values) == 1 && values[0] == value && value != ""
}

// texts returns a member that is a string or an array of at most limit strings.
func (c claims) texts(name string, limit int) (values []string, ok bool) {
	if c.isText(name) {
		return []string{c.text(name)}, true
	}
	var members []*string
	if json.Unmarshal(c[name], &members) != nil || len(members) > limit {
		return nil, false
	}
	for _, m := range members {
		if m == nil {
			return nil, false
		}
		values = append(values, *m)
	}
	return values, true
}

// Interface guard
var _ Asserting = (*OIDC)(nil)
