package clients

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Authenticate returns the client that c proves to be. For a public client naming itself is all there
// is. A client with a secret may send it either way, whichever it registered: clients do. A client with
// a key sends an assertion, once; it may go without if its document offers that, too.
//
// The error is ErrUnknown, ErrAuthentication or ErrUnavailable.
func (g *Registry) Authenticate(ctx context.Context, c Credentials) (*Client, error) {
	client, err := g.Lookup(ctx, c.ClientID)
	if err != nil {
		return nil, err
	}
	if err := g.authenticate(ctx, client, c); err != nil {
		return nil, err
	}
	return client, nil
}

func (g *Registry) authenticate(ctx context.Context, client *Client, c Credentials) error {
	switch client.AuthMethod {
	case AuthSecretBasic, AuthSecretPost:
		return g.checkSecret(client, c)
	case AuthNone, AuthPrivateKeyJWT:
	default:
		return fmt.Errorf("%w: its method is not supported", ErrAuthentication)
	}
	public := client.AuthMethod == AuthNone || client.mayOmitAssertion
	switch {
	case c.Secret != "":
		// It takes itself for another client than the one registered here.
		return fmt.Errorf("%w: a client without a secret sent one", ErrAuthentication)
	case c.Assertion != "" && client.keys.usable() && g.config.Spend != nil:
		return g.checkAssertion(ctx, client, c.Assertion)
	case c.Assertion != "":
		return fmt.Errorf("%w: a client without keys sent an assertion", ErrAuthentication)
	case !public:
		return fmt.Errorf("%w: the assertion is missing", ErrAuthentication)
	}
	return nil
}

func (g *Registry) checkSecret(client *Client, c Credentials) error {
	if c.Secret == "" {
		return fmt.Errorf("%w: the secret is missing", ErrAuthentication)
	}
	matches, err := g.secretMatcher(client)
	if err != nil {
		return err
	}
	// RFC 6749, section 2.3.1, has the secret form-encoded in Basic credentials; many clients send it
	// as it is. Base64 secrets hold "+", which the decoding changes.
	if matches(c.Secret) || c.rawSecret != "" && matches(c.rawSecret) {
		return nil
	}
	return fmt.Errorf("%w: the secret is wrong", ErrAuthentication)
}

func (g *Registry) secretMatcher(client *Client) (func(string) bool, error) {
	if client.Source == Preregistered {
		if client.Secret == (SecretHash{}) {
			return nil, fmt.Errorf("%w: no secret is configured", ErrAuthentication)
		}
		return client.Secret.matches, nil
	}
	want, err := g.ring.Derive(sessions.ClientSecret, g.config.Tenant, client.ID)
	if errors.Is(err, sessions.ErrUnavailable) {
		return nil, fmt.Errorf("%w: deriving a client secret: %w", ErrUnavailable, err)
	}
	if err != nil || want == "" {
		return nil, fmt.Errorf("%w: its key is gone", ErrAuthentication)
	}
	return func(secret string) bool {
		return subtle.ConstantTimeCompare([]byte(secret), []byte(want)) == 1
	}, nil
}
