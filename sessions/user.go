package sessions

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// User is who signed in. Issuer and Subject identify them for ever (OpenID Connect Core 1.0, section 2, sub);
// the rest is what the identity provider said last.
type User struct {
	Issuer  string   `json:"iss"`
	Subject string   `json:"sub"`
	Email   string   `json:"email,omitempty"`
	Name    string   `json:"name,omitempty"`
	Groups  []string `json:"groups,omitempty"`
}

// Key identifies the user in store keys: 32 hexadecimal digits of a hash over issuer and subject.
func (u User) Key() string {
	key := u.key()
	return hex.EncodeToString(key[:])
}

func (u User) key() [16]byte {
	// The issuer's length stands first, so that no part of it can pass for a part of the subject.
	framed := binary.BigEndian.AppendUint64(nil, uint64(len(u.Issuer)))
	framed = append(framed, u.Issuer...)
	framed = append(framed, u.Subject...)
	sum := sha256.Sum256(framed)
	return [16]byte(sum[:16])
}
