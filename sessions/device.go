package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Device is a device authorization (RFC 8628): what a device asked for, and what somebody at a browser
// decided about it.
type Device struct {
	ID       ID       `json:"id"`
	UserCode UserCode `json:"user_code"`
	ClientID string   `json:"client_id"`
	Resource string   `json:"resource"`
	Scopes   []string `json:"scopes,omitempty"`
	// ClientAddr is where the device asked from.
	ClientAddr string    `json:"client_addr,omitempty"`
	ExpiresAt  time.Time `json:"expires_at"`

	Decision DeviceDecision `json:"decision,omitempty"`
	// User, AuthTime and Upstream are those of the browser where access was allowed.
	User     User      `json:"user,omitzero"`
	AuthTime time.Time `json:"auth_time,omitzero"`
	Upstream ID        `json:"upstream,omitzero"`
	Provider string    `json:"provider,omitempty"`
	// OfflineAccess tells whether refresh tokens were agreed to.
	OfflineAccess bool `json:"offline_access,omitempty"`
}

// DeviceDecision is what became of a device authorization.
type DeviceDecision string

// The decisions.
const (
	DevicePending DeviceDecision = ""
	DeviceAllowed DeviceDecision = "allowed"
	DeviceDenied  DeviceDecision = "denied"
)

// DeviceRef names a device authorization to those who may decide about it. The user code alone would be
// too little: a later authorization may get the same one.
type DeviceRef struct {
	ID       ID       `json:"i"`
	UserCode UserCode `json:"c"`
}

// Ref returns the reference of d.
func (d Device) Ref() DeviceRef { return DeviceRef{d.ID, d.UserCode} }

// userCodeTries is how often a user code is drawn that is in use already, before it is an error. With a
// million authorizations pending, one draw in 25,600 hits one of them.
const userCodeTries = 5

// IssueDevice stores d for ttl under a fresh user code, and returns the device code and the record. It is
// the one record of an authorization: the device code holds the user code, sealed, and both find it.
func (v *Vault) IssueDevice(ctx context.Context, d Device, ttl time.Duration) (deviceCode string, issued Device, err error) {
	d.ID, d.ExpiresAt, d.Decision = NewID(), v.now().Add(ttl), DevicePending
	for range userCodeTries {
		d.UserCode = newUserCode()
		if err = v.putDevice(ctx, d, ttl); !errors.Is(err, errCodeInUse) {
			break
		}
	}
	if err != nil {
		return "", Device{}, err
	}
	plain := append(handle{id: d.ID, expires: d.ExpiresAt}.append(nil), d.UserCode...)
	deviceCode, err = v.Ring.Seal(DeviceCode, v.Tenant, plain)
	return deviceCode, d, err
}

var errCodeInUse = errors.New("user code is in use")

// putDevice never replaces another authorization.
func (v *Vault) putDevice(ctx context.Context, d Device, ttl time.Duration) error {
	key := v.deviceKey(d.UserCode)
	if ttl <= 0 {
		return fmt.Errorf("storing a device authorization: %w", ErrExpired)
	}
	return v.update(ctx, "storing a device authorization", key, func(old []byte) ([]byte, time.Duration, error) {
		if old != nil {
			return nil, 0, errCodeInUse
		}
		sealed, err := v.sealRecord(key, d)
		return sealed, ttl, err
	})
}

// FindDevice returns the authorization that a person has typed the code of. One that was decided about
// is not found again. The error is [ErrNotFound] or [ErrUnavailable].
func (v *Vault) FindDevice(ctx context.Context, code UserCode) (Device, error) {
	d, err := v.getDevice(ctx, code)
	switch {
	case err != nil:
		return Device{}, err
	case d.Decision != DevicePending, !v.now().Before(d.ExpiresAt):
		return Device{}, ErrNotFound
	}
	return d, nil
}

// AllowDevice lets the device have what it asked for, as the person signed in at b, with refresh tokens
// if offlineAccess was agreed to. Of any number of decisions about one authorization, on any number of
// replicas, the first one counts; the others get [ErrNotFound], as does one that comes too late.
func (v *Vault) AllowDevice(ctx context.Context, ref DeviceRef, b Browser, offlineAccess bool) error {
	return v.decideDevice(ctx, ref, func(d *Device) {
		d.Decision, d.User, d.AuthTime, d.Upstream, d.Provider = DeviceAllowed, b.User, b.AuthTime, b.Upstream, b.Provider
		d.OfflineAccess = offlineAccess
	})
}

// DenyDevice tells the device that it gets nothing. The errors are those of [Vault.AllowDevice].
func (v *Vault) DenyDevice(ctx context.Context, ref DeviceRef) error {
	return v.decideDevice(ctx, ref, func(d *Device) { d.Decision = DeviceDenied })
}

func (v *Vault) decideDevice(ctx context.Context, ref DeviceRef, decide func(*Device)) error {
	key := v.deviceKey(ref.UserCode)
	return v.update(ctx, "deciding about a device", key, func(old []byte) ([]byte, time.Duration, error) {
		d, err := v.openDevice(key, old)
		if err != nil {
			return nil, 0, err
		}
		left := d.ExpiresAt.Sub(v.now())
		if d.ID != ref.ID || d.Decision != DevicePending || left <= 0 {
			return nil, 0, ErrNotFound
		}
		decide(&d)
		sealed, err := v.sealRecord(key, d)
		return sealed, left, err
	})
}

// OpenDeviceCode returns what a device code names, without asking the store. The error is [ErrInvalid],
// [ErrExpired] or [ErrUnavailable].
func (v *Vault) OpenDeviceCode(deviceCode string) (DeviceRef, error) {
	plain, err := v.Ring.Open(DeviceCode, v.Tenant, deviceCode)
	if err != nil {
		return DeviceRef{}, err
	}
	if len(plain) != handleSize+userCodeLength {
		return DeviceRef{}, ErrInvalid
	}
	h, err := parseHandle(plain[:handleSize])
	if err != nil {
		return DeviceRef{}, err
	}
	code, ok := ParseUserCode(string(plain[handleSize:]))
	if !ok {
		return DeviceRef{}, ErrInvalid
	}
	if h.expired(v.now()) {
		return DeviceRef{}, ErrExpired
	}
	return DeviceRef{h.id, code}, nil
}

// LoadDevice returns a device authorization and leaves it where it is. The error is [ErrNotFound] when it
// has been taken, or [ErrUnavailable].
func (v *Vault) LoadDevice(ctx context.Context, ref DeviceRef) (Device, error) {
	d, err := v.getDevice(ctx, ref.UserCode)
	if err == nil && d.ID != ref.ID {
		err = ErrNotFound
	}
	if err != nil {
		return Device{}, err
	}
	return d, nil
}

// TakeDevice removes a device authorization that was allowed. Exactly one caller gets it, on any number
// of replicas; the others get [ErrNotFound].
func (v *Vault) TakeDevice(ctx context.Context, ref DeviceRef) (Device, error) {
	key := v.deviceKey(ref.UserCode)
	var d Device
	err := v.update(ctx, "taking a device authorization", key, func(old []byte) (_ []byte, _ time.Duration, err error) {
		if d, err = v.openDevice(key, old); err != nil {
			return nil, 0, err
		}
		if d.ID != ref.ID || d.Decision != DeviceAllowed {
			return nil, 0, ErrNotFound
		}
		return nil, 0, nil
	})
	if err != nil {
		return Device{}, err
	}
	return d, nil
}

func (v *Vault) getDevice(ctx context.Context, code UserCode) (Device, error) {
	key := v.deviceKey(code)
	sealed, err := v.Store.Get(ctx, key)
	if err != nil {
		return Device{}, storeError("loading a device authorization", err)
	}
	return v.openDevice(key, sealed)
}

// openDevice takes a record that does not open any more, since its key is gone, for none.
func (v *Vault) openDevice(key string, sealed []byte) (Device, error) {
	var d Device
	if sealed == nil {
		return d, ErrNotFound
	}
	err := v.openRecord(key, sealed, &d)
	if errors.Is(err, ErrInvalid) {
		err = ErrNotFound
	}
	return d, err
}

// deviceKey hides the user code as well as a hash can: whoever reads the store and tries all codes learns
// what to type, not what polls. They could decide about the device in their own name only.
func (v *Vault) deviceKey(code UserCode) string { return v.key("device", digest(string(code))) }
