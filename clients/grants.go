package clients

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Grant types (RFC 6749; RFC 8628, section 3.4; RFC 7523, section 2.1).
const (
	GrantCode              = "authorization_code"
	GrantRefresh           = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// May reports whether the client is registered for a grant type.
func (c *Client) May(grantType string) bool { return slices.Contains(c.GrantTypes, grantType) }

// Public reports whether somebody could name the client without proving to be it.
func (c *Client) Public() bool { return c.AuthMethod == AuthNone || c.mayOmitAssertion }

// MayRefresh reports whether the client registered for refresh tokens.
func (c *Client) MayRefresh() bool { return c.May(GrantRefresh) }

// grantNames are the words of the configuration. The long names have a short one, too.
var grantNames = map[string]string{
	"authorization_code": GrantCode,
	"refresh_token":      GrantRefresh,
	"client_credentials": GrantClientCredentials,
	"device_code":        GrantDeviceCode,
	"jwt_bearer":         GrantJWTBearer,
}

// ParseGrantType returns the grant type that a word of the configuration means, which is its name or, for
// the two that are URNs, the end of it.
func ParseGrantType(word string) (string, error) {
	for short, name := range grantNames {
		if word == short || word == name {
			return name, nil
		}
	}
	return "", fmt.Errorf("grant type %q is unknown; there are authorization_code, refresh_token, client_credentials, device_code and jwt_bearer", word)
}

// checkStaticGrants checks that the grant types of a preregistered client go together with the rest of it.
func checkStaticGrants(c *Client) error {
	if len(c.GrantTypes) == 0 {
		c.GrantTypes = grantTypes(true, false)
	}
	for _, name := range c.GrantTypes {
		if known, err := ParseGrantType(name); err != nil || known != name {
			return fmt.Errorf("grant type %q is unknown", name)
		}
	}
	switch public := c.AuthMethod == AuthNone; {
	case c.May(GrantCode) && len(c.RedirectURIs) == 0:
		return errors.New("has no redirect URI: nowhere to answer it")
	case !c.May(GrantCode) && len(c.RedirectURIs) > 0:
		return errors.New("has redirect URIs, which only the grant type authorization_code uses")
	case c.May(GrantRefresh) && !c.May(GrantCode) && !c.May(GrantDeviceCode):
		return errors.New("has the grant type refresh_token, but none that gives refresh tokens out: authorization_code or device_code")
	case public && c.May(GrantClientCredentials):
		// RFC 6749, section 4.4: confidential clients only.
		return errors.New("has the grant type client_credentials, but nothing to prove who it is; give it a secret")
	case public && c.May(GrantJWTBearer):
		return errors.New("has the grant type jwt_bearer, but nothing to prove who it is; give it a secret")
	case !c.May(GrantClientCredentials) && len(c.Scopes)+len(c.Resources) > 0:
		return errors.New("has scopes or resources, which limit the grant type client_credentials only")
	}
	for _, scope := range c.Scopes {
		if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return fmt.Errorf("has %q among its scopes, which is no scope (RFC 6749, section 3.3)", scope)
		}
	}
	return nil
}

// grantTypes are those of a client that people authorize in a browser.
func grantTypes(refresh, device bool) []string {
	granted := []string{GrantCode}
	if refresh {
		granted = append(granted, GrantRefresh)
	}
	if device {
		granted = append(granted, GrantDeviceCode)
	}
	return granted
}
