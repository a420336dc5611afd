package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// recheckTimeout bounds a re-check: a client waits, and it has no page to show meanwhile.
	recheckTimeout = 6 * time.Second
	// maxUpstreamToken bounds a token of the provider's that is kept.
	maxUpstreamToken = 16 << 10
	// shortestRefresh is the life below which a refresh token is not worth keeping: it would end
	// while its owner sleeps, and signing people out each night tells nothing of who has left.
	shortestRefresh = 24 * time.Hour
)

// upstreamOIDC is what an OIDC provider's User.Upstream holds.
type upstreamOIDC struct {
	RefreshToken string `json:"r"`
	Nonce        string `json:"n"`
	// User is the person at the last check.
	User User `json:"u"`
}

// upstream packs what a later Recheck needs; nil if the provider gave no usable refresh token.
func (o *OIDC) upstream(token *oauth2.Token, u User, nonce string) ([]byte, error) {
	if o.config.DisableRecheck || token.RefreshToken == "" || shortLived(token) {
		return nil, nil
	}
	return packOIDC(upstreamOIDC{RefreshToken: token.RefreshToken, Nonce: nonce, User: u})
}

// shortLived tells refresh tokens that end with a session at the provider. Keycloak says so in this
// member, and gives longer ones to those who ask for the scope offline_access; 0 means no end.
func shortLived(token *oauth2.Token) bool {
	seconds, ok := token.Extra("refresh_expires_in").(float64)
	return ok && seconds > 0 && seconds < shortestRefresh.Seconds()
}

func packOIDC(up upstreamOIDC) ([]byte, error) {
	if len(up.RefreshToken) > maxUpstreamToken {
		return nil, fmt.Errorf("%w: refresh token is longer than 16 KiB", ErrRefused)
	}
	packed, err := json.Marshal(up)
	if err != nil {
		return nil, fmt.Errorf("encoding a refresh token: %w", err)
	}
	return packed, nil
}

// Recheck implements Rechecker: it uses the refresh token (OpenID Connect Core 1.0, section 12).
func (o *OIDC) Recheck(ctx context.Context, upstream []byte) (User, []byte, error) {
	var up upstreamOIDC
	if json.Unmarshal(upstream, &up) != nil || up.RefreshToken == "" || up.User.Subject == "" {
		return User{}, nil, fmt.Errorf("%w: what is known of the sign-in cannot be read", ErrRefused)
	}
	if o.config.DisableRecheck {
		return up.User, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, recheckTimeout)
	defer cancel()
	if err := o.slots.enter(ctx); err != nil {
		return User{}, nil, err
	}
	defer o.slots.leave()
	md, err := o.metadata(ctx)
	if err != nil {
		return User{}, nil, err
	}
	token, err := o.refresh(ctx, md, up.RefreshToken)
	if err != nil {
		return User{}, nil, err
	}
	// From here on the new refresh token is kept whatever happens: the old one may be void.
	up.RefreshToken = token.RefreshToken
	u, err := o.refreshed(ctx, md, token, up)
	if err == nil {
		up.User = u
	}
	packed, packing := packOIDC(up)
	if err = errors.Join(err, packing); err != nil {
		return User{}, packed, err
	}
	return u, packed, nil
}

// finalErrors are the answers to a refresh token that mean the person has to sign in again, by
// RFC 6749, section 5.2, and as providers use those of OpenID Connect Core 1.0, section 3.1.2.6,
// when an account was disabled or needs attention. All others speak of the configuration.
var finalErrors = []string{"invalid_grant", "access_denied", "interaction_required", "login_required", "consent_required"}

// refresh exchanges a refresh token. The token it returns always has one, the old or a new one.
func (o *OIDC) refresh(ctx context.Context, md *metadata, refreshToken string) (*oauth2.Token, error) {
	source := o.oauth2(md, Attempt{}).TokenSource(oidc.ClientContext(ctx, o.client), &oauth2.Token{RefreshToken: refreshToken})
	token, err := source.Token()
	var answer *oauth2.RetrieveError
	switch {
	case errors.As(err, &answer) && answer.Response.StatusCode < 500 && slices.Contains(finalErrors, answer.ErrorCode):
		return nil, fmt.Errorf("%w: provider answered %s to the refresh token", ErrDenied, answer.ErrorCode)
	case errors.As(err, &answer):
		return nil, fmt.Errorf("%w: refreshing: provider answered %s: %w",
			ErrUnavailable, knownError(answer.ErrorCode), statusError(answer.Response.StatusCode))
	case err != nil:
		return nil, fmt.Errorf("%w: refreshing: %w", ErrUnavailable, cause(err))
	}
	return token, nil
}

// refreshed returns what the provider says of the person now: in a new ID token, or at the UserInfo
// endpoint if the refresh gave none. With neither, the refresh itself is all there is to know.
func (o *OIDC) refreshed(ctx context.Context, md *metadata, token *oauth2.Token, up upstreamOIDC) (User, error) {
	var said claims
	idToken, _ := token.Extra("id_token").(string)
	switch {
	case idToken != "":
		c, err := o.verifyRefreshed(ctx, md, idToken, up.Nonce)
		if err != nil {
			return User{}, err
		}
		// OpenID Connect Core 1.0, section 12.2.
		if c.text("sub") != up.User.Subject {
			return User{}, fmt.Errorf("%w: refreshed ID token is about another subject", ErrRefused)
		}
		said = c
	case md.UserInfoEndpoint != "":
		info, err := o.userInfo(ctx, md, up.User.Subject, token.AccessToken)
		if err != nil {
			return User{}, err
		}
		said = info
		only := *md
		only.UserInfoEndpoint = "" // it has been asked
		md = &only
	default:
		return up.User, nil
	}
	return o.user(ctx, md, said, token.AccessToken)
}
