package clients

import (
	"encoding/binary"
	"errors"
	"time"
)

// A dynamic client's id is its registration, sealed. Version 1, before sealing:
//
//	version byte | flags byte | issue time | name | client URI | number of redirect URIs | redirect URIs
//
// Numbers are unsigned varints, texts are preceded by their length.
const idVersion = 1

const (
	flagMethodMask = 0x03 // index into sealedMethods
	flagRefresh    = 0x04
	flagDevice     = 0x08
	flagsKnown     = flagMethodMask | flagRefresh | flagDevice
)

// sealedMethods are the methods of dynamic clients; the index is stored in ids, so the order is fixed.
var sealedMethods = [...]string{AuthNone, AuthSecretBasic, AuthSecretPost}

var errClientID = errors.New("malformed registration")

// appendRegistration appends the binary form of a dynamic client to b.
func appendRegistration(b []byte, c *Client) ([]byte, error) {
	flags, known := byte(0), false
	for i, method := range sealedMethods {
		if method == c.AuthMethod {
			flags, known = byte(i), true
		}
	}
	if !known || c.IssuedAt.Unix() < 0 || len(c.RedirectURIs) > maxRedirectURIs {
		return nil, errClientID
	}
	if c.MayRefresh() {
		flags |= flagRefresh
	}
	if c.May(GrantDeviceCode) {
		flags |= flagDevice
	}
	b = append(b, idVersion, flags)
	b = binary.AppendUvarint(b, uint64(c.IssuedAt.Unix()))
	b = appendText(b, c.Name)
	b = appendText(b, c.URI)
	b = binary.AppendUvarint(b, uint64(len(c.RedirectURIs)))
	for _, uri := range c.RedirectURIs {
		b = appendText(b, uri)
	}
	return b, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeRegistration reads what appendRegistration wrote. The bytes were authenticated, but perhaps
// written by another version of this code, so nothing is taken for granted.
func decodeRegistration(b []byte) (*Client, error) {
	r := reader{rest: b}
	version, flags := r.byte(), r.byte()
	issued := r.uvarint()
	c := &Client{Source: Dynamic, Name: r.text(), URI: r.text()}
	n := r.uvarint()
	if r.bad || version != idVersion || flags&^byte(flagsKnown) != 0 ||
		int(flags&flagMethodMask) >= len(sealedMethods) || issued > 1<<40 || n > maxRedirectURIs {
		return nil, errClientID
	}
	c.AuthMethod = sealedMethods[flags&flagMethodMask]
	c.GrantTypes = grantTypes(flags&flagRefresh != 0, flags&flagDevice != 0)
	c.IssuedAt = time.Unix(int64(issued), 0).UTC()
	c.RedirectURIs = make([]string, 0, n)
	for range n {
		c.RedirectURIs = append(c.RedirectURIs, r.text())
	}
	if r.bad || len(r.rest) != 0 {
		return nil, errClientID
	}
	return c, nil
}

// reader takes values off a byte string. After the first defect it returns zero values.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
