package sessions

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// signingOverlap is how long the public half of a key is shown after the next one took its place.
// Nothing that is signed here lives as long.
const signingOverlap = 24 * time.Hour

// SigningKey is a P-256 key of one tenant. It is derived from a key of the ring, so that it needs no
// record of its own, is known to every replica, and is rotated with the ring.
type SigningKey struct {
	// ID is the JWK thumbprint (RFC 7638): it follows from the public key and tells nothing else.
	ID      string
	Private *ecdsa.PrivateKey
}

// SigningKey returns the key that signs for tenant now, or [ErrUnavailable].
func (r *Ring) SigningKey(tenant string) (SigningKey, error) {
	set := r.keys.Load()
	if set == nil {
		return SigningKey{}, errNotLoaded
	}
	return set.sealing(r.now()).signing(tenant)
}

// SigningKeys returns every key of tenant that somebody may have to verify with: the one that signs
// now, those that will sign next, and those that signed until a day ago. The error is
// [ErrUnavailable].
func (r *Ring) SigningKeys(tenant string) ([]SigningKey, error) {
	set := r.keys.Load()
	if set == nil {
		return nil, errNotLoaded
	}
	var keys []SigningKey
	for i, k := range set.keys {
		// A key that the operator gave has no time at which the next one took over.
		if i > 0 && !set.static && !r.now().Before(set.keys[i-1].notBefore.Add(signingOverlap)) {
			break
		}
		key, err := k.signing(tenant)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// signing derives the key of a tenant: random numbers below the order of the curve, until one is
// usable (FIPS 186-5, appendix A.2.2). The first is, but for one in 2^32.
func (k *ringKey) signing(tenant string) (SigningKey, error) {
	for attempt := range 16 {
		// The attempt stands before the tenant and holds no colon, so no two inputs read the same.
		label := "mcp_auth v1 sign " + strconv.Itoa(attempt) + ": " + tenant
		scalar, err := hkdf.Key(sha256.New, k.secret, nil, label, 32)
		if err != nil {
			return SigningKey{}, fmt.Errorf("deriving a signing key: %w", err)
		}
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
		if err != nil {
			continue // zero, or not below the order
		}
		id, err := thumbprint(&private.PublicKey)
		if err != nil {
			return SigningKey{}, err
		}
		return SigningKey{ID: id, Private: private}, nil
	}
	return SigningKey{}, errors.New("deriving a signing key: no usable scalar")
}

// thumbprint is RFC 7638, section 3: the required members in lexical order, without white space.
func thumbprint(public *ecdsa.PublicKey) (string, error) {
	point, err := public.Bytes() // 4 | X | Y
	if err != nil {
		return "", fmt.Errorf("encoding a public key: %w", err)
	}
	x, y := encoding.EncodeToString(point[1:33]), encoding.EncodeToString(point[33:])
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + x + `","y":"` + y + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
