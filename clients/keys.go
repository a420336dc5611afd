package clients

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxKeys    = 32
	minRSABits = 2048
	// maxRSABits bounds what verifying costs: strangers choose their keys, and one that fills a document
	// takes a tenth of a second for each assertion, good or not.
	maxRSABits = 4096
)

// assertionAlgorithms are what client assertions may be signed with: asymmetric all, and strong.
var assertionAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA}

// AssertionAlgorithms returns the signature algorithms accepted in client assertions, for
// token_endpoint_auth_signing_alg_values_supported.
func AssertionAlgorithms() []string {
	names := make([]string, len(assertionAlgorithms))
	for i, alg := range assertionAlgorithms {
		names[i] = string(alg)
	}
	return names
}

// keySource is where the keys of a client are: in its document, or at a URL that the document names.
type keySource struct {
	inline keySet
	uri    string
}

func (s keySource) usable() bool { return len(s.inline) > 0 || s.uri != "" }

// readKeys reads jwks or jwks_uri, of which RFC 7591, section 2, allows one.
func (d Documents) readKeys(o object) (keySource, error) {
	uri, err := o.text("jwks_uri")
	if err != nil {
		return keySource{}, err
	}
	switch {
	case uri != "" && o.has("jwks"):
		return keySource{}, invalidMetadata("jwks and jwks_uri exclude each other")
	case uri != "":
		u, err := d.parseURL(uri)
		if err != nil {
			return keySource{}, invalidMetadata("jwks_uri " + err.Error())
		}
		if d.denies(u.host) {
			return keySource{}, invalidMetadata("jwks_uri is on a host that is not trusted here")
		}
		return keySource{uri: uri}, nil
	case o.has("jwks"):
		keys, err := parseKeys(o["jwks"])
		return keySource{inline: keys}, err
	}
	return keySource{}, nil
}

// keySet holds public keys that can verify an assertion.
type keySet []jose.JSONWebKey

// parseKeys reads a JWK set (RFC 7517, section 5). Keys of unknown types are passed over, as the RFC
// asks for; a private or symmetric key makes the whole set refused: everybody has it.
func parseKeys(body []byte) (keySet, error) {
	o, err := parseObject(body)
	if err != nil {
		return nil, fmt.Errorf("%w: the key set %w", errRefused, err)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(o["keys"], &raw); err != nil || len(raw) > maxKeys {
		return nil, fmt.Errorf("%w: the key set has no list of keys, or too many", errRefused)
	}
	keys := make(keySet, 0, len(raw))
	for _, r := range raw {
		var key jose.JSONWebKey
		if err := json.Unmarshal(r, &key); err != nil {
			continue
		}
		if !key.IsPublic() {
			return nil, fmt.Errorf("%w: the key set publishes a secret key", errRefused)
		}
		if key.Use == "" || key.Use == "sig" {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// candidates returns the keys that a signature with this header can come from.
func (s keySet) candidates(header jose.Header) keySet {
	var found keySet
	for _, key := range s {
		if (header.KeyID == "" || key.KeyID == header.KeyID) &&
			(key.Algorithm == "" || key.Algorithm == header.Algorithm) && suits(key.Key, header.Algorithm) {
			found = append(found, key)
		}
	}
	return found
}

func suits(key any, algorithm string) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return (algorithm == string(jose.RS256) || algorithm == string(jose.PS256)) && k.N.BitLen() >= minRSABits && k.N.BitLen() <= maxRSABits
	case *ecdsa.PublicKey:
		return algorithm == string(jose.ES256) && k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return algorithm == string(jose.EdDSA)
	}
	return false
}
