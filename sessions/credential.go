package sessions

import (
	"context"
	"errors"
	"time"
)

// Credential is what a person gave for use in their name at the upstream of one resource: a token that
// they typed in, or what an authorization server issued for them.
type Credential struct {
	// Version is fresh whenever Secret changes. Whoever keeps a copy learns from [Vault.Supersede] that it
	// is one of the past.
	Version ID `json:"version"`
	// User is [User.Key]; Resource the resource's identifier.
	User     string `json:"user"`
	Resource string `json:"resource"`
	// Source names the authorization server it came from, and the client it was issued to; empty for a
	// token that was typed in.
	Source string `json:"source,omitempty"`
	// Issuer is that authorization server itself, which Source may name only by way of another server. No
	// other one gets to see Refresh.
	Issuer string `json:"issuer,omitempty"`
	// Secret is what the upstream gets. Empty: it ended, and the person has to connect again.
	Secret string `json:"secret,omitempty"`
	// Refresh is the refresh token that came with it.
	Refresh string `json:"refresh,omitempty"`
	// ExpiresAt is when Secret ends, zero if nobody said.
	ExpiresAt time.Time `json:"expires_at,omitzero"`

	// CreatedAt is when the person gave it; ChangedAt is when Secret was renewed last.
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at"`
	// UsedAt is when it was used last, give or take a day.
	UsedAt time.Time `json:"used_at,omitzero"`
	// LeftAt is when a provider refused the person; zero again once the credential is used after that.
	LeftAt time.Time `json:"left_at,omitzero"`

	// AskedAt is set while a replica refreshes it; RetryAt is before when nobody should try again.
	AskedAt time.Time `json:"asked_at,omitzero"`
	RetryAt time.Time `json:"retry_at,omitzero"`
}

// LoadCredential returns the credential of a user ([User.Key]) for a resource. The error is [ErrNotFound],
// [ErrInvalid] or [ErrUnavailable].
func (v *Vault) LoadCredential(ctx context.Context, user, resource string) (Credential, error) {
	key := v.credentialKey(user, resource)
	var c Credential
	if err := v.get(ctx, key, &c); err != nil {
		return Credential{}, err
	}
	return c, c.belongs(user, resource)
}

// UpdateCredential creates or changes a credential atomically and keeps it for ttl from now on. change may
// be called several times. It gets what is there, or a credential of the zero Version, and may refuse
// with an error, which is returned as it is, together with what is there. The other errors are
// [ErrInvalid] and [ErrUnavailable].
func (v *Vault) UpdateCredential(ctx context.Context, user, resource string, ttl time.Duration, change func(*Credential) error) (Credential, error) {
	key := v.credentialKey(user, resource)
	var c Credential
	err := v.update(ctx, "changing a credential", key, func(old []byte) ([]byte, time.Duration, error) {
		c = Credential{User: user, Resource: resource}
		if old != nil {
			c = Credential{}
			if err := v.openRecord(key, old, &c); err != nil {
				return nil, 0, err
			}
		}
		found := c
		if err := change(&c); err != nil {
			c = found
			return nil, 0, err
		}
		if err := c.belongs(user, resource); err != nil {
			return nil, 0, err
		}
		value, err := v.sealRecord(key, c)
		return value, ttl, err
	})
	return c, err
}

// TakeCredential returns a credential and deletes it. The errors are those of [Vault.LoadCredential].
func (v *Vault) TakeCredential(ctx context.Context, user, resource string) (Credential, error) {
	key := v.credentialKey(user, resource)
	// Not Delete, which an update under way could undo.
	sealed, err := v.Store.Take(ctx, key)
	if err != nil {
		return Credential{}, storeError("taking a credential", err)
	}
	var c Credential
	if err := v.openRecord(key, sealed, &c); err != nil {
		return Credential{}, err
	}
	return c, c.belongs(user, resource)
}

// LeaverLife is for how long the credentials of somebody are kept whom their identity provider has refused.
// It is not at once, since a provider that has forgotten about a sign-in says the same as about
// somebody who has left: whoever signs in again and uses a credential keeps it.
const LeaverLife = 7 * 24 * time.Hour

// abandonCredentials makes the credentials of a user, given by [User.Key], end soon.
func (v *Vault) abandonCredentials(ctx context.Context, user string) error {
	keys, err := v.Store.List(ctx, v.key("credential", user)+"/")
	if err != nil {
		return unavailable("listing credentials", err)
	}
	for _, key := range keys {
		err := v.update(ctx, "letting a credential end", key, func(old []byte) ([]byte, time.Duration, error) {
			var c Credential
			if old == nil {
				return nil, 0, ErrNotFound
			}
			if err := v.openRecord(key, old, &c); err != nil {
				return nil, 0, err
			}
			if c.LeftAt.IsZero() {
				c.LeftAt = v.now()
			}
			value, err := v.sealRecord(key, c)
			return value, max(time.Second, c.LeftAt.Add(LeaverLife).Sub(v.now())), err
		})
		// One that nobody can open is nobody's use; it ends by itself.
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrInvalid) {
			return err
		}
	}
	return nil
}

// Supersede tells every replica to ask the store before it uses what it keeps of a version, for as long as
// ttl: here at once, elsewhere within two seconds. It comes before the change, so that a change which
// nobody hears of does not happen.
func (v *Vault) Supersede(ctx context.Context, version ID, ttl time.Duration) error {
	if version == (ID{}) || v.Revocations == nil {
		return nil
	}
	return v.Revocations.Revoke(ctx, version, ttl)
}

// Superseded reports whether a copy of this version must not be used without asking the store.
func (v *Vault) Superseded(version ID) bool { return v.revoked(version) }

// The store key is sealed into a record too; this is for the day when somebody changes how keys are made.
func (c *Credential) belongs(user, resource string) error {
	if c.User != user || c.Resource != resource {
		return errors.Join(ErrInvalid, errors.New("a credential cannot pass to another user or resource"))
	}
	return nil
}

func (v *Vault) credentialKey(user, resource string) string {
	return v.key("credential", user) + "/" + digest(resource)
}
