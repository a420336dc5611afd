package sessions

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
)

const (
	nonceSize = 12
	tagSize   = 16
	// maxSealed bounds a sealed text, so that garbage is refused before it costs anything. The
	// longest honest ones are consent tickets, which carry an authorization request.
	maxSealed = 64 << 10
)

// encoding is strict: a text whose unused last bits are set is not the one that was issued.
var encoding = base64.RawURLEncoding.Strict()

var (
	errNotLoaded = fmt.Errorf("key ring not loaded: %w", ErrUnavailable)
	errStaleRing = fmt.Errorf("key ring not reloaded in time: %w", ErrUnavailable)
)

// scratch is working space for one Seal or Open.
type scratch struct{ text, raw, aad []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// release keeps s for the next one, unless an unusually long value has blown it up.
func (s *scratch) release() {
	if cap(s.text)+cap(s.raw) <= 32<<10 {
		scratches.Put(s)
	}
}

// appendAAD frames what a sealed value is bound to. The prefix holds no zero byte and the id has
// a fixed length, so no two combinations give the same bytes.
func appendAAD(dst []byte, k Kind, id keyID, tenant, place string) []byte {
	dst = append(dst, kinds[k].prefix...)
	dst = append(dst, 0)
	dst = append(dst, id[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(tenant)))
	dst = append(dst, tenant...)
	return append(dst, place...)
}

// Seal turns plaintext into a text of kind k that opens only as that kind and for that tenant.
func (r *Ring) Seal(k Kind, tenant string, plaintext []byte) (string, error) {
	if !k.textual() {
		return "", fmt.Errorf("sealing: kind %d has no text form", k)
	}
	if encoding.EncodedLen(keyIDSize+nonceSize+len(plaintext)+tagSize) > maxSealed {
		return "", errors.New("sealing: the value is too long")
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	raw, err := r.appendSealed(s.raw[:0], s, k, tenant, "", plaintext)
	if err != nil {
		return "", err
	}
	s.raw = raw
	s.text = encoding.AppendEncode(append(s.text[:0], kinds[k].prefix...), raw)
	return string(s.text), nil
}

// Open returns what was sealed. The error is [ErrInvalid] for everything that this ring did not
// seal as kind k for tenant, and [ErrUnavailable] if that cannot be told now.
func (r *Ring) Open(k Kind, tenant, sealed string) ([]byte, error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	plain, err := r.openIn(s, k, tenant, sealed)
	return bytes.Clone(plain), err
}

// openIn is [Ring.Open] with a result that lies in s.
func (r *Ring) openIn(s *scratch, k Kind, tenant, sealed string) ([]byte, error) {
	if !k.textual() {
		return nil, ErrInvalid
	}
	text, ok := strings.CutPrefix(sealed, kinds[k].prefix)
	// The decoder skips line breaks, which would give one token many spellings.
	if !ok || len(text) > maxSealed || strings.IndexByte(text, '\n') >= 0 || strings.IndexByte(text, '\r') >= 0 {
		return nil, ErrInvalid
	}
	s.text = append(s.text[:0], text...)
	raw, err := encoding.AppendDecode(s.raw[:0], s.text)
	if err != nil {
		return nil, ErrInvalid
	}
	s.raw = raw
	// The plaintext may take the place of what it was sealed in.
	return r.appendOpened(raw[min(len(raw), keyIDSize+nonceSize):][:0], s, k, tenant, "", raw)
}

// SealRecord seals a value at rest, bound to the store key under which it will lie, so that records cannot be
// exchanged for one another.
func (r *Ring) SealRecord(tenant, storeKey string, plaintext []byte) ([]byte, error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	return r.appendSealed(nil, s, Record, tenant, storeKey, plaintext)
}

// OpenRecord opens what [Ring.SealRecord] sealed for the same tenant and store key.
func (r *Ring) OpenRecord(tenant, storeKey string, sealed []byte) ([]byte, error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	return r.appendOpened(nil, s, Record, tenant, storeKey, sealed)
}

// Derive returns a secret text of kind k that belongs to a sealed public id, always the same one, made with
// the key that sealed the id. So a client secret needs no record, and lives as long as the client id. The id
// must be one of this ring and tenant.
func (r *Ring) Derive(k Kind, tenant, sealedID string) (string, error) {
	if !k.textual() {
		return "", fmt.Errorf("deriving: kind %d has no text form", k)
	}
	of, ok := kindOf(sealedID)
	if !ok {
		return "", ErrInvalid
	}
	if _, err := r.Open(of, tenant, sealedID); err != nil {
		return "", err
	}
	set := r.keys.Load()
	raw, err := encoding.DecodeString(strings.TrimPrefix(sealedID, kinds[of].prefix))
	if err != nil {
		return "", ErrInvalid
	}
	id := keyID(raw)
	key := set.find(id)
	if key == nil {
		return "", r.unknownKey(set)
	}
	secret, err := key.derive("derive", k)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(appendAAD(nil, k, id, tenant, sealedID))
	return kinds[k].prefix + encoding.EncodeToString(mac.Sum(nil)), nil
}

// appendSealed appends key id, nonce, ciphertext and tag. Random nonces of 96 bits are safe for 2^32 values
// per key (NIST SP 800-38D, section 8.3); each kind has a key of its own, for three months.
func (r *Ring) appendSealed(dst []byte, s *scratch, k Kind, tenant, place string, plaintext []byte) ([]byte, error) {
	set := r.keys.Load()
	if set == nil {
		return nil, errNotLoaded
	}
	key := set.sealing(r.now())
	s.aad = appendAAD(s.aad[:0], k, key.id, tenant, place)
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:])
	dst = append(dst, key.id[:]...)
	dst = append(dst, nonce[:]...)
	return key.aeads[k].Seal(dst, dst[len(dst)-nonceSize:], plaintext, s.aad), nil
}

func (r *Ring) appendOpened(dst []byte, s *scratch, k Kind, tenant, place string, raw []byte) ([]byte, error) {
	set := r.keys.Load()
	if set == nil {
		return nil, errNotLoaded
	}
	if len(raw) < keyIDSize+nonceSize+tagSize {
		return nil, ErrInvalid
	}
	id := keyID(raw[:keyIDSize])
	key := set.find(id)
	if key == nil {
		return nil, r.unknownKey(set)
	}
	s.aad = appendAAD(s.aad[:0], k, id, tenant, place)
	raw = raw[keyIDSize:]
	plain, err := key.aeads[k].Open(dst, raw[:nonceSize], raw[nonceSize:], s.aad)
	if err != nil {
		return nil, ErrInvalid
	}
	return plain, nil
}

// unknownKey asks Run to reload soon and says what that means for the value at hand. Usually it
// is garbage; but if this replica has not seen the ring for long, it may be genuine, and whoever
// holds it must not be told to throw it away.
func (r *Ring) unknownKey(set *keyset) error {
	if set.static {
		return ErrInvalid
	}
	select {
	case r.wanted <- struct{}{}:
	default:
	}
	if set.stale(r.now()) {
		return errStaleRing
	}
	return ErrInvalid
}
