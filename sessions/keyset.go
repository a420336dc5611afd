package sessions

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	keyIDSize  = 4
	secretSize = 32
)

type keyID [keyIDSize]byte

// ringKey is one secret of the ring with everything derived from it, ready for use.
type ringKey struct {
	id        keyID
	secret    []byte
	notBefore time.Time
	aeads     [kindCount]cipher.AEAD
	tags      *sync.Pool // of HMAC states, for Ring.Tag
}

// newRingKey derives one AES-256-GCM key per kind with HKDF-SHA256 (RFC 5869).
func newRingKey(id keyID, secret []byte, notBefore time.Time) (*ringKey, error) {
	k := &ringKey{id: id, secret: secret, notBefore: notBefore}
	for kind := range kindCount {
		derived, err := k.derive("seal", kind)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(derived)
		if err != nil {
			return nil, fmt.Errorf("making a cipher: %w", err)
		}
		if k.aeads[kind], err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("making a cipher: %w", err)
		}
	}
	tagging, err := hkdf.Key(sha256.New, secret, nil, "mcp_auth v1 tag", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	k.tags = &sync.Pool{New: func() any { return &tagState{Hash: hmac.New(sha256.New, tagging)} }}
	return k, nil
}

func (k *ringKey) derive(purpose string, kind Kind) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, k.secret, nil, "mcp_auth v1 "+purpose+": "+kinds[kind].label, 32)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}
	return key, nil
}

// keyset is the ring at one moment. It is never changed, only replaced.
type keyset struct {
	keys   []*ringKey // in order of preference for sealing
	loaded time.Time
	static bool
}

func (s *keyset) find(id keyID) *ringKey {
	for _, k := range s.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// sealing returns the key to seal with: the most preferred one that every replica has had time to
// load. A clock behind all of them still gets the oldest, which everybody has.
func (s *keyset) sealing(now time.Time) *ringKey {
	for _, k := range s.keys {
		if !now.Before(k.notBefore) {
			return k
		}
	}
	return s.keys[len(s.keys)-1]
}

// stale reports whether another replica may already seal with a key that is not in s.
func (s *keyset) stale(now time.Time) bool {
	return !s.static && now.Sub(s.loaded) > settling
}

// staticKeyset makes a ring of secrets that the operator gave. Their ids follow from the secrets, so that
// replicas and restarts agree on them.
func staticKeyset(secrets [][]byte) (*keyset, error) {
	set := &keyset{static: true}
	for i, secret := range secrets {
		if err := checkSecret(secret); err != nil {
			return nil, fmt.Errorf("checking key %d: %w", i+1, err)
		}
		derived, err := hkdf.Key(sha256.New, secret, nil, "mcp_auth v1 key id", keyIDSize)
		if err != nil {
			return nil, fmt.Errorf("deriving a key id: %w", err)
		}
		id := keyID(derived)
		if set.find(id) != nil {
			return nil, fmt.Errorf("checking key %d: it is the same as one before it", i+1)
		}
		key, err := newRingKey(id, bytes.Clone(secret), time.Time{})
		if err != nil {
			return nil, err
		}
		set.keys = append(set.keys, key)
	}
	return set, nil
}

func checkSecret(secret []byte) error {
	switch {
	case len(secret) < secretSize:
		return fmt.Errorf("it has %d bytes; at least %d are needed, from a random source such as \"openssl rand -base64 32\"", len(secret), secretSize)
	case bytes.Count(secret, secret[:1]) == len(secret):
		return errors.New("all its bytes are equal; it must come from a random source such as \"openssl rand -base64 32\"")
	}
	return nil
}
