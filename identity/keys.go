package identity

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// keysLife is how long a key that the provider has withdrawn may still be accepted.
	keysLife = time.Hour
	// keysRest is the time between two fetches on account of signatures that no known key made, so
	// that a flood of them reaches the provider once.
	keysRest = 30 * time.Second
)

var errNoKeys = errors.New("no usable key in the key set")

// keySet is the key set of one provider. The remote key set of go-oidc keeps withdrawn keys for
// good and fetches again for every bad signature, so this one takes its place.
type keySet struct {
	document document[[]jose.JSONWebKey]
}

func (o *OIDC) newKeySet(uri string) *keySet {
	return &keySet{document: document[[]jose.JSONWebKey]{
		now: o.config.Now,
		fetch: func(ctx context.Context) ([]jose.JSONWebKey, error) {
			return fetchKeys(func(into any) error { return fetchJSON(ctx, o.client, uri, "", into) })
		},
	}}
}

// fetchKeys returns the public keys of a JWK Set that may verify signatures, skipping those it
// does not understand (RFC 7517, section 5).
func fetchKeys(get func(into any) error) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := get(&set); err != nil {
		return nil, err
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) != nil || !key.Valid() || !key.IsPublic() || key.Use != "" && key.Use != "sig" {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

// verification verifies the signature of one ID token. go-oidc hides the errors of a key set, so
// what came of it is kept here: a key set that cannot be had is not a bad signature.
type verification struct {
	keys        *keySet
	algorithms  []jose.SignatureAlgorithm
	unavailable error
	signed      bool
}

// VerifySignature implements oidc.KeySet. Keys come from the pinned key set only: jwk, jku and x5u
// headers are not looked at (RFC 8725, section 3.5).
func (v *verification) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(token, v.algorithms)
	if err != nil {
		return nil, errors.New("not a compact JWS of an allowed algorithm")
	}
	// An unknown key may be one that the provider has begun to use since the last fetch.
	var tried time.Time
	for _, maxAge := range []time.Duration{keysLife, keysRest} {
		e, err := v.keys.document.get(ctx, maxAge)
		if err != nil {
			v.unavailable = err
			return nil, err
		}
		if e.at.Equal(tried) {
			break
		}
		if payload, ok := verifyWith(e.value, jws); ok {
			v.signed = true
			return payload, nil
		}
		tried = e.at
	}
	return nil, errors.New("not signed by a key of the provider")
}

// verifyWith verifies jws with the keys that fit its headers. The key decides the algorithm as
// much as the header does (RFC 8725, section 3.1).
func verifyWith(keys []jose.JSONWebKey, jws *jose.JSONWebSignature) ([]byte, bool) {
	header := jws.Signatures[0].Header
	for _, key := range keys {
		if !fits(key, header) {
			continue
		}
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// fits reports whether key may have made a signature with this header.
func fits(key jose.JSONWebKey, header jose.Header) bool {
	return (header.KeyID == "" || key.KeyID == header.KeyID) && (key.Algorithm == "" || key.Algorithm == header.Algorithm)
}

// Interface guard
var _ oidc.KeySet = (*verification)(nil)
