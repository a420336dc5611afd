package sessions

import (
	"context"
	"time"
)

// tombstone is how long a redeemed code is remembered, so that a replay is known for one.
const tombstone = 10 * time.Minute

// Code is an authorization code's record. The grant's id is chosen when the code is issued, so that a replay
// knows what to revoke.
type Code struct {
	ClientID      string    `json:"client_id"`
	RedirectURI   string    `json:"redirect_uri"`
	Challenge     string    `json:"challenge"`
	Resource      string    `json:"resource"`
	Scopes        []string  `json:"scopes,omitempty"`
	User          User      `json:"user"`
	ClientLabel   string    `json:"client_label,omitempty"`
	ClientName    string    `json:"client_name,omitempty"`
	RedirectHost  string    `json:"redirect_host,omitempty"`
	Grant         ID        `json:"grant"`
	AuthTime      time.Time `json:"auth_time,omitzero"`
	OfflineAccess bool      `json:"offline_access,omitempty"` // may get a refresh token
	Upstream      ID        `json:"upstream,omitzero"`        // handed on to the grant
	Provider      string    `json:"provider,omitempty"`       // handed on to the grant
}

type codeRecord struct {
	Code
	Redeemed bool `json:"redeemed,omitempty"`
}

// IssueCode stores c for ttl and returns the code.
func (v *Vault) IssueCode(ctx context.Context, c Code, ttl time.Duration) (string, error) {
	h := handle{id: NewID(), expires: v.now().Add(ttl)}
	if err := v.put(ctx, v.codeKey(h), codeRecord{Code: c}, ttl); err != nil {
		return "", err
	}
	return v.sealHandle(AuthorizationCode, h)
}

// LoadCode returns a code's record without consuming it. When it was redeemed in the last ten
// minutes, the error is [ErrReused] and the record is returned with it; otherwise the error is
// [ErrInvalid], [ErrExpired], [ErrNotFound] or [ErrUnavailable].
func (v *Vault) LoadCode(ctx context.Context, code string) (Code, error) {
	h, err := v.openCode(code)
	if err != nil {
		return Code{}, err
	}
	var rec codeRecord
	err = v.get(ctx, v.codeKey(h), &rec)
	return v.judgeCode(h, rec, err)
}

// RedeemCode consumes the code. Exactly one caller gets the record without an error, the others
// get it with [ErrReused] (RFC 6749, section 4.1.2: used once, and a second use revokes).
func (v *Vault) RedeemCode(ctx context.Context, code string) (Code, error) {
	h, err := v.openCode(code)
	if err != nil {
		return Code{}, err
	}
	key := v.codeKey(h)
	var rec codeRecord
	err = v.update(ctx, "redeeming a code", key, func(old []byte) ([]byte, time.Duration, error) {
		rec = codeRecord{}
		err := ErrNotFound
		if old != nil {
			err = v.openRecord(key, old, &rec)
		}
		if rec.Code, err = v.judgeCode(h, rec, err); err != nil {
			return nil, 0, err
		}
		spent, err := v.sealRecord(key, codeRecord{Code: rec.Code, Redeemed: true})
		return spent, tombstone, err
	})
	return rec.Code, err
}

// openCode refuses a code without asking the store once not even its tombstone can be there.
func (v *Vault) openCode(code string) (handle, error) {
	h, err := v.openHandle(AuthorizationCode, code)
	if err == nil && (handle{expires: h.expires.Add(tombstone)}).expired(v.now()) {
		err = ErrExpired
	}
	return h, err
}

// judgeCode says what a code is worth, given its record or the error of loading it.
func (v *Vault) judgeCode(h handle, rec codeRecord, err error) (Code, error) {
	switch expired := h.expired(v.now()); {
	case err == ErrNotFound && expired:
		return Code{}, ErrExpired
	case err != nil:
		return Code{}, err
	case rec.Redeemed:
		return rec.Code, ErrReused
	case expired:
		return Code{}, ErrExpired
	}
	return rec.Code, nil
}

func (v *Vault) codeKey(h handle) string { return v.key("code", digest(h.id.String())) }
