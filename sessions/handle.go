package sessions

import (
	"encoding/binary"
	"time"
)

const (
	handleVersion = 1
	handleSize    = 1 + len(ID{}) + 8
)

// handle is what a sealed reference to a record says: which one, and until when, so that an old
// one is refused without asking the store.
type handle struct {
	id      ID
	expires time.Time
}

func (h handle) expired(now time.Time) bool { return !now.Before(h.expires) }

func (v *Vault) sealHandle(k Kind, h handle) (string, error) {
	return v.Ring.Seal(k, v.Tenant, h.append(make([]byte, 0, handleSize)))
}

func (h handle) append(b []byte) []byte {
	b = append(b, handleVersion)
	b = append(b, h.id[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(h.expires.UnixNano()))
}

func (v *Vault) openHandle(k Kind, sealed string) (handle, error) {
	plain, err := v.Ring.Open(k, v.Tenant, sealed)
	if err != nil {
		return handle{}, err
	}
	return parseHandle(plain)
}

func parseHandle(plain []byte) (handle, error) {
	if len(plain) != handleSize || plain[0] != handleVersion {
		return handle{}, ErrInvalid
	}
	return handle{
		id:      ID(plain[1:]),
		expires: time.Unix(0, int64(binary.BigEndian.Uint64(plain[1+len(ID{}):]))),
	}, nil
}
