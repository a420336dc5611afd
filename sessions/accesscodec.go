package sessions

import (
	"encoding/binary"
	"errors"
	"math"
)

const (
	accessVersion = 1
	accessFixed   = 1 + 2*len(ID{}) + 2*8
	accessTexts   = 9
)

var errAccessField = errors.New("issuing an access token: a field is longer than 64 KiB")

// texts lists the variable fields in the order in which they lie in a token.
func (a *Access) texts() [accessTexts]*string {
	return [...]*string{
		&a.Resource, &a.Scope, &a.UserIssuer, &a.Subject, &a.Email, &a.Name, &a.Groups, &a.ClientID, &a.ClientName,
	}
}

// appendBinary appends the version, both ids, both times, and each text after its length in two bytes.
func (a *Access) appendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, accessVersion)
	dst = append(dst, a.ID[:]...)
	dst = append(dst, a.Grant[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.IssuedAt))
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.ExpiresAt))
	for _, text := range a.texts() {
		if len(*text) > math.MaxUint16 {
			return nil, errAccessField
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(*text)))
		dst = append(dst, *text...)
	}
	return dst, nil
}

// decode reads what appendBinary wrote, and nothing else. All texts share one allocation.
func (a *Access) decode(plain []byte) error {
	if len(plain) < accessFixed || plain[0] != accessVersion {
		return ErrInvalid
	}
	copy(a.ID[:], plain[1:])
	copy(a.Grant[:], plain[1+len(a.ID):])
	a.IssuedAt = int64(binary.BigEndian.Uint64(plain[accessFixed-16:]))
	a.ExpiresAt = int64(binary.BigEndian.Uint64(plain[accessFixed-8:]))
	rest := string(plain[accessFixed:])
	for _, text := range a.texts() {
		if len(rest) < 2 {
			return ErrInvalid
		}
		n := int(rest[0])<<8 | int(rest[1])
		if len(rest) < 2+n {
			return ErrInvalid
		}
		*text, rest = rest[2:2+n], rest[2+n:]
	}
	if rest != "" {
		return ErrInvalid
	}
	return nil
}
