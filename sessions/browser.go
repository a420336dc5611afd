package sessions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Browser is the session of a signed-in browser. The record stays in the store; the cookie is a sealed handle.
type Browser struct {
	ID        ID        `json:"id"`
	User      User      `json:"user"`
	AuthTime  time.Time `json:"auth_time,omitzero"`
	ExpiresAt time.Time `json:"expires_at"`
	Provider  string    `json:"provider,omitempty"`
	// ClientAddr and UserAgent tell the person which browser it is.
	ClientAddr string `json:"client_addr,omitempty"`
	UserAgent  string `json:"user_agent,omitempty"`
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
	// The list comes first: no session may live that its person does not find there.
	if err := v.put(ctx, v.browserListKey(b.User.Key(), h.id), h.id, ttl); err != nil {
		return "", err
	}
	if err := v.put(ctx, v.browserKey(h.id), b, ttl); err != nil {
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
	err = v.get(ctx, v.browserKey(h.id), &b)
	return b, err
}

// ListBrowsers returns the live sessions of a user, given by [User.Key], the newest first.
func (v *Vault) ListBrowsers(ctx context.Context, user string) ([]Browser, error) {
	if len(user) != 32 || !lowerHex(user) {
		return nil, fmt.Errorf("listing browser sessions: malformed user key: %w", ErrInvalid)
	}
	keys, err := v.Store.List(ctx, v.key("browsers", user)+"/")
	if err != nil {
		return nil, unavailable("listing browser sessions", err)
	}
	var all []Browser
	for _, key := range keys {
		var id ID
		var b Browser
		err := v.get(ctx, key, &id)
		if err == nil {
			err = v.get(ctx, v.browserKey(id), &b)
		}
		switch {
		// Ended meanwhile, or sealed with a key that is gone, so that the cookie does not open either.
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalid):
			continue
		case err != nil:
			return nil, err
		case b.User.Key() != user, !v.now().Before(b.ExpiresAt):
			continue
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b Browser) int {
		if order := b.AuthTime.Compare(a.AuthTime); order != 0 {
			return order
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	return all, nil
}

// DeleteBrowser ends the session of a cookie, on every replica. It is no error if it has ended before.
func (v *Vault) DeleteBrowser(ctx context.Context, cookie string) error {
	h, err := v.openHandle(BrowserSession, cookie)
	if err != nil {
		return err
	}
	var b Browser
	if err := v.get(ctx, v.browserKey(h.id), &b); errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil && !errors.Is(err, ErrInvalid) {
		return err
	}
	return v.deleteBrowser(ctx, b.User.Key(), h.id)
}

// EndBrowser ends a session of a user, given by [User.Key], on every replica. It is no error if the user
// has no such session; somebody else's stays as it is.
func (v *Vault) EndBrowser(ctx context.Context, user string, id ID) error {
	if len(user) != 32 || !lowerHex(user) {
		return fmt.Errorf("ending a browser session: malformed user key: %w", ErrInvalid)
	}
	var b Browser
	switch err := v.get(ctx, v.browserKey(id), &b); {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalid):
		return nil // no cookie opens it
	case err != nil:
		return err
	case b.User.Key() != user:
		return nil
	}
	return v.deleteBrowser(ctx, user, id)
}

// deleteBrowser deletes the session before its place in the list, so that one that is left over after an
// error can be found and ended.
func (v *Vault) deleteBrowser(ctx context.Context, user string, id ID) error {
	for _, key := range []string{v.browserKey(id), v.browserListKey(user, id)} {
		if err := v.Store.Delete(ctx, key); err != nil {
			return unavailable("deleting a browser session", err)
		}
	}
	return nil
}

func (v *Vault) browserKey(id ID) string { return v.key("browser", digest(id.String())) }

func (v *Vault) browserListKey(user string, id ID) string {
	return v.key("browsers", user) + "/" + digest(id.String())
}
