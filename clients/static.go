package clients

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	minSecret   = 32
	maxStaticID = 256
)

// SecretHash is the SHA-256 of a client secret. Secrets are long and random, so a slow hash would add
// nothing but a way to exhaust the server.
type SecretHash [sha256.Size]byte

// HashSecret hashes a secret, so that it need not be kept. A short one is refused: it could be guessed
// at the token endpoint.
func HashSecret(secret string) (SecretHash, error) {
	if len(secret) < minSecret {
		return SecretHash{}, errors.New("the client secret is shorter than " + strconv.Itoa(minSecret) +
			` characters: take a random one, such as from "openssl rand -hex 32"`)
	}
	if strings.Count(secret, secret[:1]) == len(secret) {
		return SecretHash{}, errors.New("the client secret is one character over and over: take a random one")
	}
	return sha256.Sum256([]byte(secret)), nil
}

// ParseSecretHash reads a SHA-256 hash in hexadecimal, for configurations that do not hold the secret.
func ParseSecretHash(text string) (SecretHash, error) {
	var h SecretHash
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(h) {
		return SecretHash{}, errors.New("a client secret hash is the SHA-256 of the secret, 64 hexadecimal digits")
	}
	copy(h[:], b)
	return h, nil
}

func (h SecretHash) matches(secret string) bool {
	sum := sha256.Sum256([]byte(secret))
	return subtle.ConstantTimeCompare(h[:], sum[:]) == 1
}

// String keeps the hash out of logs.
func (h SecretHash) String() string {
	if h == (SecretHash{}) {
		return "no secret"
	}
	return "a secret"
}

// WithKeys returns c with the public keys that its assertions are verified with, as a JWK set (RFC 7517,
// section 5). It then authenticates by private_key_jwt.
func WithKeys(c Client, keySet []byte) (Client, error) {
	keys, err := parseKeys(keySet)
	if err != nil {
		return Client{}, fmt.Errorf("client %q: %w", c.ID, err)
	}
	usable := slices.ContainsFunc(keys, func(key jose.JSONWebKey) bool {
		return slices.ContainsFunc(assertionAlgorithms, func(alg jose.SignatureAlgorithm) bool { return suits(key.Key, string(alg)) })
	})
	if !usable {
		return Client{}, fmt.Errorf("client %q: its key set holds no key that signs with one of %s", c.ID, strings.Join(AssertionAlgorithms(), ", "))
	}
	c.keys = keySource{inline: keys}
	return c, nil
}

// CheckStatic checks a preregistered client at configuration time and returns it with its defaults:
// client_secret_basic for a client with a secret, private_key_jwt for one with keys and none for one without
// either; the authorization code grant with refresh tokens.
func CheckStatic(c Client, privateSchemes []string) (Client, error) {
	if err := checkStaticID(c.ID); err != nil {
		return Client{}, err
	}
	allowed := newSchemes(privateSchemes)
	for _, uri := range c.RedirectURIs {
		if _, err := parseRedirect(uri, allowed); err != nil {
			return Client{}, fmt.Errorf("client %q: redirect URI %q %w", c.ID, uri, err)
		}
	}
	secret := c.Secret != SecretHash{}
	switch {
	case c.keys.usable() && !secret && (c.AuthMethod == "" || c.AuthMethod == AuthPrivateKeyJWT):
		c.AuthMethod = AuthPrivateKeyJWT
	case c.keys.usable():
		return Client{}, fmt.Errorf("client %q has keys and a secret or another authentication method; one of them is enough", c.ID)
	case c.AuthMethod == "" && secret:
		c.AuthMethod = AuthSecretBasic
	case c.AuthMethod == "":
		c.AuthMethod = AuthNone
	case c.AuthMethod != AuthNone && c.AuthMethod != AuthSecretBasic && c.AuthMethod != AuthSecretPost:
		return Client{}, fmt.Errorf("client %q: the authentication method is none, client_secret_basic or client_secret_post", c.ID)
	case secret == (c.AuthMethod == AuthNone):
		return Client{}, fmt.Errorf("client %q: a secret and the authentication method %s do not go together", c.ID, c.AuthMethod)
	}
	if err := checkStaticGrants(&c); err != nil {
		return Client{}, fmt.Errorf("client %q %w", c.ID, err)
	}
	c.Name, c.Source, c.schemes = cleanName(c.Name), Preregistered, allowed
	return c, nil
}

func checkStaticID(id string) error {
	switch {
	case id == "":
		return errors.New("a client has no id")
	case len(id) > maxStaticID:
		return fmt.Errorf("a client id is longer than %d characters", maxStaticID)
	case strings.HasPrefix(id, sessions.ClientID.Prefix()):
		return fmt.Errorf("client %q: ids that start with %s belong to clients that registered themselves", id, sessions.ClientID.Prefix())
	case strings.HasPrefix(id, "https://"):
		return fmt.Errorf("client %q: ids that start with https:// belong to clients with a metadata document", id)
	}
	for i := 0; i < len(id); i++ {
		// RFC 6749, appendix A.1, without the space that would split it in logs and headers.
		if id[i] <= ' ' || id[i] > '~' {
			return errors.New("a client id has a space, control or non-ASCII character")
		}
	}
	return nil
}
