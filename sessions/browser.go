package sessions

import (
	"context"
	"time"
)

// Browser is the session of a signed-in browser. The record stays in the store; the cookie is a sealed handle.
type Browser struct {
	ID        ID        `json:"id"`
	User      User      `json:"user"`
	AuthTime  time.Time `json:"auth_time,omitzero"`
	ExpiresAt time.Time `json:"expires_at"`
	Provider  string    `json:"provider,omitempty"`
	// Upstream is the sign-in at the provider, where that can be asked about again; see [Upstream].
	Upstream ID `json:"upstream,omitzero"`
	// LogoutHint is what the provider wants to see again when the person signs out, opaque here.
	LogoutHint string `json:"logout_hint,omitempty"`
}

// CreateBrowser stores a session for ttl and returns the cookie. Its ID is always fresh, whatever b says, so
// that no session from before the sign-in lives on in it (session fixation).
func (v *Vault) CreateBrowser(ctx context.Context, b Browser, ttl time.Duration) (cookie string, err error) {
	h := handle{id: NewID(), expires: v.now().Add(ttl)}
	b.ID, b.ExpiresAt = h.id, h.expires
	if err := v.put(ctx, v.browserKey(h), b, ttl); err != nil {
		return "", err
	}
	return v.sealHandle(BrowserSession, h)
}

// LoadBrowser returns the session of a cookie. The error is [ErrInvalid], [ErrExpired], [ErrNotFound] when the
// person signed out, or [ErrUnavailable].
func (v *Vault) LoadBrowser(ctx context.Context, cookie string) (Browser, error) {
	h, err := v.openHandle(BrowserSession, cookie)
	if err != nil {
		return Browser{}, err
	}
	if h.expired(v.now()) {
		return Browser{}, ErrExpired
	}
	var b Browser
	err = v.get(ctx, v.browserKey(h), &b)
	return b, err
}

// DeleteBrowser ends the session of a cookie, on every replica. It is no error if it has ended before.
func (v *Vault) DeleteBrowser(ctx context.Context, cookie string) error {
	h, err := v.openHandle(BrowserSession, cookie)
	if err != nil {
		return err
	}
	if err := v.Store.Delete(ctx, v.browserKey(h)); err != nil {
		return unavailable("deleting a browser session", err)
	}
	return nil
}

func (v *Vault) browserKey(h handle) string { return v.key("browser", digest(h.id.String())) }
