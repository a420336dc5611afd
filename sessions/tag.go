package sessions

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
)

// macSize is half of SHA-256's output, the least that RFC 2104, section 5, allows.
const macSize = sha256.Size / 2

// tagState computes one tag at a time.
type tagState struct {
	hash.Hash
	sum [sha256.Size]byte
}

func (s *tagState) over(message []byte) []byte {
	s.Reset()
	s.Write(message) // never fails: see hash.Hash
	return s.Sum(s.sum[:0])[:macSize]
}

// Tag returns a keyed MAC of message, for values of others that are to be recognised later without
// keeping them. It is the same for the same message until the ring rotates. The caller frames the
// message, with what the tag is for and for whom.
func (r *Ring) Tag(message []byte) ([]byte, error) {
	set := r.keys.Load()
	if set == nil {
		return nil, errNotLoaded
	}
	key := set.sealing(r.now())
	state := key.tags.Get().(*tagState)
	defer key.tags.Put(state)
	return append([]byte(nil), state.over(message)...), nil
}

// Verify reports, in constant time, whether tag is one that [Ring.Tag] made for message with a key that the
// ring still holds.
func (r *Ring) Verify(message, tag []byte) bool {
	set := r.keys.Load()
	if set == nil {
		return false
	}
	ok := false
	for _, key := range set.keys {
		state := key.tags.Get().(*tagState)
		if hmac.Equal(state.over(message), tag) {
			ok = true
		}
		key.tags.Put(state)
	}
	return ok
}
