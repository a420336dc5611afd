package sessions

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"
)

// Relayed belongs to a sign-in at a provider whose own access tokens are what the client gets. Such a
// sign-in is of one grant and has its ID: two clients never share what a provider issued.
type Relayed struct {
	// ClientID is the client that the tokens were issued for.
	ClientID string `json:"client_id"`
	// Generation is that of the refresh token of ours which went out with the newest access token.
	// Older ones have been exchanged at the provider already.
	Generation uint32 `json:"generation,omitempty"`
	// Tokens are the access tokens that may still be good, the newest last.
	Tokens []RelayedToken `json:"tokens,omitempty"`
}

// RelayedToken is one access token of a provider, by its [Vault.TokenID].
type RelayedToken struct {
	ID        ID        `json:"id"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Add notes a token, and forgets those that have expired.
func (r *Relayed) Add(t RelayedToken, now time.Time) {
	r.Tokens = append(r.Live(now), t)
}

// Live are the tokens that may still be good.
func (r *Relayed) Live(now time.Time) []RelayedToken {
	return slices.DeleteFunc(slices.Clone(r.Tokens), func(t RelayedToken) bool { return !now.Before(t.ExpiresAt) })
}

// TokenID names a token that somebody else has issued, for [Revocations]. Another tenant's name for it is
// another one.
func (v *Vault) TokenID(token string) ID {
	h := sha256.New()
	h.Write([]byte("relayed token\x00" + v.Tenant + "\x00" + token))
	return ID(h.Sum(nil)[:len(ID{})])
}

// RelayedOf returns the sign-in of the grant that a refresh token is of, whether or not the grant has
// ended meanwhile, and the token's generation. The error is [ErrInvalid], [ErrNotFound] or [ErrUnavailable].
func (v *Vault) RelayedOf(ctx context.Context, refresh string) (Upstream, uint32, error) {
	token, err := v.openRefresh(refresh)
	if err != nil {
		return Upstream{}, 0, err
	}
	var u Upstream
	err = v.get(ctx, v.key("upstream", token.userKey())+"/"+digest(token.grant.String()), &u)
	if err == nil && u.Relayed == nil {
		err = ErrNotFound
	}
	return u, token.generation, err
}

// DeleteUpstream forgets a sign-in and ends nothing. It is no error if there is none.
func (v *Vault) DeleteUpstream(ctx context.Context, user User, id ID) error {
	if err := v.Store.Delete(ctx, v.upstreamKey(user, id)); err != nil {
		return unavailable("deleting a sign-in", err)
	}
	return nil
}
