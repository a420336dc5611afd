package sseproxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"hash"
	"sync"
)

// tagSize is half of SHA-256's output, the least RFC 2104, section 5, allows.
const tagSize = sha256.Size / 2

// minKey is the least number of bytes in a key.
const minKey = 32

// NewTagger returns a Tagger of HMAC-SHA-256, truncated to 128 bits. The first key tags, all verify.
func NewTagger(keys ...[]byte) (Tagger, error) {
	if len(keys) == 0 {
		return nil, errors.New("making a session tagger: no key")
	}
	t := make(keyTagger, 0, len(keys))
	for _, key := range keys {
		if len(key) < minKey {
			return nil, errors.New("making a session tagger: a key is shorter than 32 bytes")
		}
		key = append([]byte(nil), key...)
		t = append(t, &sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, key)} }})
	}
	return t, nil
}

// keyTagger holds a pool of ready HMAC states for each key.
type keyTagger []*sync.Pool

type mac struct {
	hash.Hash
	sum [sha256.Size]byte
}

func (m *mac) over(message []byte) []byte {
	m.Reset()
	m.Write(message) // never fails: see hash.Hash
	return m.Sum(m.sum[:0])[:tagSize]
}

func (t keyTagger) Tag(message []byte) ([]byte, error) {
	m := t[0].Get().(*mac)
	defer t[0].Put(m)
	return append([]byte(nil), m.over(message)...), nil
}

func (t keyTagger) Verify(message, tag []byte) bool {
	ok := false
	for _, key := range t {
		m := key.Get().(*mac)
		if hmac.Equal(m.over(message), tag) {
			ok = true
		}
		key.Put(m)
	}
	return ok
}
