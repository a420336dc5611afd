package sessions

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxUserTokenLife bounds the life of a user token. It is below the time for which the ring keeps
	// the key that sealed it.
	MaxUserTokenLife = 365 * 24 * time.Hour
	// MaxUserTokens bounds how many live user tokens a person has.
	MaxUserTokens      = 100
	maxUserTokenName   = 64
	userTokenDelimiter = " "
)

// ErrTooMany means that the person has as many user tokens as anybody may have.
var ErrTooMany = errors.New("too many tokens")

// PersonalToken is a user token: one that a signed-in person made for scripts and headless machines. It stands for
// that person, and is held to the same allow rules as their access tokens.
type PersonalToken struct {
	ID ID `json:"id"`
	// User is the person as the provider described them when the token was made. As in an access
	// token, the e-mail address is a verified one.
	User User `json:"user"`
	// Name is what the person calls it.
	Name string `json:"name"`
	// Resources are the protected resources it opens, at least one.
	Resources []string  `json:"resources"`
	Scopes    []string  `json:"scopes,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is at most [MaxUserTokenLife] after CreatedAt.
	ExpiresAt time.Time `json:"expires_at"`
	// Upstream is the sign-in at the identity provider that the token rests on, where that can be asked about
	// again; see [Upstream]. Provider is the provider's id.
	Upstream ID     `json:"upstream,omitzero"`
	Provider string `json:"provider,omitempty"`
}

// Label is the client under which requests with the token appear in logs and headers.
func (t PersonalToken) Label() string { return "put-" + hex.EncodeToString(t.ID[:8]) }

// MintUserToken returns a new token. It is the only time that anybody sees it: the store keeps what
// lists it, under the user, and nothing that would open a resource. ID and CreatedAt are chosen here.
// The error is [ErrTooMany], [ErrNotFound] if the sign-in of t has ended, [ErrUnavailable], or says what is
// wrong with t.
func (v *Vault) MintUserToken(ctx context.Context, t PersonalToken) (token string, minted PersonalToken, err error) {
	now := v.now().Truncate(time.Second)
	t.ID, t.CreatedAt, t.ExpiresAt = NewID(), now, t.ExpiresAt.Truncate(time.Second)
	if err := t.check(now); err != nil {
		return "", PersonalToken{}, fmt.Errorf("making a user token: %w", err)
	}
	// Sealing comes first, since it can find the token too long, and storing before anybody gets to see
	// it: there is no token that is not listed.
	plain, err := t.access().appendBinary(nil)
	if err != nil {
		return "", PersonalToken{}, err
	}
	if token, err = v.Ring.Seal(UserToken, v.Tenant, plain); err != nil {
		return "", PersonalToken{}, err
	}
	if len(token) > maxAccessText {
		return "", PersonalToken{}, errors.New("making a user token: it would be longer than 4 KiB; choose fewer resources")
	}
	keys, err := v.Store.List(ctx, v.key("usertoken", t.User.Key())+"/")
	if err != nil {
		return "", PersonalToken{}, unavailable("counting user tokens", err)
	}
	if len(keys) >= MaxUserTokens {
		return "", PersonalToken{}, ErrTooMany
	}
	if t.Upstream != (ID{}) {
		// What a token rests on is kept as long as the token.
		up, err := v.UpdateUpstream(ctx, t.User, t.Upstream, t.ExpiresAt.Sub(now), func(*Upstream) error { return nil })
		if err != nil {
			return "", PersonalToken{}, err
		}
		if up.Relayed != nil {
			t.Upstream = ID{} // it is one client's, who may end it
		}
	}
	if err := v.put(ctx, v.userTokenKey(t.User.Key(), t.ID), t, t.ExpiresAt.Sub(now)); err != nil {
		return "", PersonalToken{}, err
	}
	return token, t, nil
}

func (t PersonalToken) check(now time.Time) error {
	switch life := t.ExpiresAt.Sub(now); {
	case life <= 0:
		return errors.New("it would have expired already")
	case life > MaxUserTokenLife:
		return errors.New("it would live longer than a year")
	case t.User.Subject == "":
		return errors.New("it has no user")
	case len(t.Resources) == 0:
		return errors.New("it opens no resource")
	case t.Name == "" || utf8.RuneCountInString(t.Name) > maxUserTokenName || strings.TrimSpace(t.Name) != t.Name ||
		!utf8.ValidString(t.Name) || strings.ContainsFunc(t.Name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return fmt.Errorf("its name is empty, longer than %d characters, or has invisible ones", maxUserTokenName)
	}
	for _, text := range slices.Concat(t.Resources, t.Scopes) {
		if text == "" || strings.Contains(text, userTokenDelimiter) {
			return errors.New("a resource or a scope is empty or has a space")
		}
	}
	return nil
}

// access is what the token says, in the form of an access token. It is sealed as another kind, so
// neither opens as the other.
func (t PersonalToken) access() *Access {
	return &Access{
		ID: t.ID, IssuedAt: t.CreatedAt.Unix(), ExpiresAt: t.ExpiresAt.Unix(),
		Resource: strings.Join(t.Resources, userTokenDelimiter), Scope: strings.Join(t.Scopes, " "),
		UserIssuer: t.User.Issuer, Subject: t.User.Subject, Email: t.User.Email, Name: t.User.Name,
		Groups: strings.Join(t.User.Groups, ","), ClientID: t.Label(), ClientName: t.Name,
	}
}

// OpenUserToken reads a user token into a, as [Vault.OpenAccess] reads an access token, for use at
// resource. It asks no store. The error is [ErrInvalid], [ErrOtherResource], upon which a is filled in
// too, [ErrExpired], [ErrRevoked] or [ErrUnavailable].
func (v *Vault) OpenUserToken(token, resource string, a *Access) error {
	if err := v.open(UserToken, token, a); err != nil {
		return err
	}
	for resources := a.Resource; resources != ""; {
		var one string
		one, resources, _ = strings.Cut(resources, userTokenDelimiter)
		if one == resource {
			a.Resource = one
			return nil
		}
	}
	return ErrOtherResource
}

// LoadUserToken returns a token of a user, given by [User.Key]. The error is [ErrNotFound], [ErrInvalid] or
// [ErrUnavailable].
func (v *Vault) LoadUserToken(ctx context.Context, user string, id ID) (PersonalToken, error) {
	if len(user) != 32 || !lowerHex(user) {
		return PersonalToken{}, fmt.Errorf("loading a user token: malformed user key: %w", ErrInvalid)
	}
	var t PersonalToken
	err := v.get(ctx, v.userTokenKey(user, id), &t)
	return t, err
}

// ListUserTokens returns the live user tokens of a user, given by [User.Key], oldest first. One whose
// revocation has failed halfway is among them: it may be alive on other replicas.
func (v *Vault) ListUserTokens(ctx context.Context, user string) ([]PersonalToken, error) {
	if len(user) != 32 || !lowerHex(user) {
		return nil, fmt.Errorf("listing user tokens: malformed user key: %w", ErrInvalid)
	}
	keys, err := v.Store.List(ctx, v.key("usertoken", user)+"/")
	if err != nil {
		return nil, unavailable("listing user tokens", err)
	}
	var tokens []PersonalToken
	for _, key := range keys {
		var t PersonalToken
		err := v.get(ctx, key, &t)
		switch {
		// Ended meanwhile, or sealed with a key that is gone, so that the token does not open either.
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrInvalid):
			continue
		case err != nil:
			return nil, err
		case !v.now().Before(t.ExpiresAt):
			continue
		}
		tokens = append(tokens, t)
	}
	slices.SortFunc(tokens, func(a, b PersonalToken) int {
		if order := a.CreatedAt.Compare(b.CreatedAt); order != 0 {
			return order
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	return tokens, nil
}

// RevokeUserToken ends a token of a user, given by [User.Key]: here at once, on other replicas within
// two seconds. It is no error if the user has no such token; somebody else's stays as it is. It can be
// repeated after an error.
func (v *Vault) RevokeUserToken(ctx context.Context, user string, id ID) error {
	if len(user) != 32 || !lowerHex(user) {
		return fmt.Errorf("revoking a user token: malformed user key: %w", ErrInvalid)
	}
	key := v.userTokenKey(user, id)
	var t PersonalToken
	switch err := v.get(ctx, key, &t); {
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrInvalid):
		// The record does not say how long the token lives, so it is taken to be as long as any.
		t.ExpiresAt = v.now().Add(MaxUserTokenLife)
	case err != nil:
		return err
	}
	// The record goes last: as long as it is there, somebody sees the token and can try again.
	if v.Revocations != nil {
		if err := v.Revocations.Revoke(ctx, id, t.ExpiresAt.Sub(v.now())); err != nil {
			return err
		}
	}
	if err := v.Store.Delete(ctx, key); err != nil {
		return unavailable("deleting a user token", err)
	}
	return nil
}

func (v *Vault) userTokenKey(user string, id ID) string {
	return v.key("usertoken", user) + "/" + digest(id.String())
}
