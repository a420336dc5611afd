package identity

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// finishTimeout bounds everything that one callback asks of the provider: a person waits.
	finishTimeout = 14 * time.Second
	maxCode       = 8 << 10
)

// Begin implements Redirecting.
func (o *OIDC) Begin(ctx context.Context, a Attempt) (string, error) {
	// RFC 7636, section 4.1, for the verifier.
	if a.State == "" || a.Nonce == "" || a.RedirectURI == "" || len(a.Verifier) < 43 || len(a.Verifier) > 128 {
		return "", errors.New("beginning a sign-in: attempt is incomplete")
	}
	md, err := o.metadata(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)}
	for name, value := range o.config.AuthParams {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	if a.LoginHint != "" {
		options = append(options, oauth2.SetAuthURLParam("login_hint", a.LoginHint))
	}
	if prompt := joinPrompts(o.config.AuthParams["prompt"], a.Prompt); prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", prompt))
	}
	return o.oauth2(md, a).AuthCodeURL(a.State, options...), nil
}

// Finish implements Redirecting.
func (o *OIDC) Finish(ctx context.Context, a Attempt, params url.Values) (User, error) {
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	if err := o.slots.enter(ctx); err != nil {
		return User{}, err
	}
	defer o.slots.leave()
	md, err := o.metadata(ctx)
	if err != nil {
		return User{}, err
	}
	code, err := o.callback(a, params, md)
	if err != nil {
		return User{}, err
	}
	idToken, token, err := o.exchange(ctx, md, a, code)
	if err != nil {
		return User{}, err
	}
	claims, err := o.verify(ctx, md, idToken, a.Nonce)
	if err != nil {
		return User{}, err
	}
	u, err := o.user(ctx, md, claims, token.AccessToken)
	if err != nil {
		return User{}, err
	}
	if md.EndSessionEndpoint != "" && len(idToken) <= maxLogoutHint {
		u.LogoutHint = idToken
	}
	u.Upstream, err = o.upstream(token, u, a.Nonce)
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// callback checks the authorization response and returns its code.
func (o *OIDC) callback(a Attempt, params url.Values, md *metadata) (code string, err error) {
	for _, values := range params {
		// RFC 6749, section 3.1: parameters must not be included more than once.
		if len(values) != 1 {
			return "", fmt.Errorf("%w: a parameter of the callback is repeated", ErrRefused)
		}
	}
	if a.State != "" && subtle.ConstantTimeCompare([]byte(params.Get("state")), []byte(a.State)) != 1 {
		return "", fmt.Errorf("%w: callback has another state", ErrRefused)
	}
	// RFC 9207, section 2.4, also for errors: before anything else is believed.
	if iss, sent := params.Get("iss"), params.Has("iss"); sent && iss != o.config.Issuer || !sent && md.SendsIssuer {
		return "", fmt.Errorf("%w: callback is not marked as coming from the provider that was asked", ErrRefused)
	}
	if params.Has("error") {
		return "", fmt.Errorf("%w: provider answered %s", ErrDenied, knownError(params.Get("error")))
	}
	code = params.Get("code")
	if code == "" || len(code) > maxCode {
		return "", fmt.Errorf("%w: callback has no usable code", ErrRefused)
	}
	return code, nil
}

// exchange redeems the code for an ID token and the other tokens.
func (o *OIDC) exchange(ctx context.Context, md *metadata, a Attempt, code string) (idToken string, token *oauth2.Token, err error) {
	token, err = o.oauth2(md, a).Exchange(oidc.ClientContext(ctx, o.client), code, oauth2.VerifierOption(a.Verifier))
	var answer *oauth2.RetrieveError
	switch {
	case errors.As(err, &answer) && answer.Response.StatusCode < 500 && answer.Response.StatusCode != http.StatusTooManyRequests:
		return "", nil, fmt.Errorf("%w: token endpoint answered %s (status %d)",
			ErrRefused, knownError(answer.ErrorCode), answer.Response.StatusCode)
	case errors.As(err, &answer):
		return "", nil, fmt.Errorf("%w: redeeming the code: %w", ErrUnavailable, statusError(answer.Response.StatusCode))
	case err != nil:
		return "", nil, fmt.Errorf("%w: redeeming the code: %w", ErrUnavailable, cause(err))
	}
	idToken, _ = token.Extra("id_token").(string)
	if idToken == "" {
		return "", nil, fmt.Errorf("%w: token endpoint gave no ID token", ErrRefused)
	}
	return idToken, token, nil
}

// joinPrompts adds what an attempt asks for to what the operator always wants (OpenID Connect Core
// 1.0, section 3.1.2.1: a list), so that a client cannot ask the operator's wish away.
func joinPrompts(always, now string) string {
	values := strings.Fields(always)
	if now != "" && !slices.Contains(values, now) && !slices.Contains(values, "none") {
		values = append(values, now)
	}
	return strings.Join(values, " ")
}

func (o *OIDC) oauth2(md *metadata, a Attempt) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     o.config.ClientID,
		ClientSecret: o.config.ClientSecret,
		RedirectURL:  a.RedirectURI,
		Scopes:       o.config.Scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL:   md.AuthorizationEndpoint,
			TokenURL:  md.TokenEndpoint,
			AuthStyle: md.authStyle(o.config.ClientSecret),
		},
	}
}

// knownErrors are the registered codes of RFC 6749, sections 4.1.2.1 and 5.2, and of OpenID
// Connect Core 1.0, section 3.1.2.6.
var knownErrors = []string{
	"access_denied", "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope",
	"server_error", "temporarily_unavailable", "invalid_client", "invalid_grant", "unsupported_grant_type",
	"interaction_required", "login_required", "account_selection_required", "consent_required",
	"invalid_request_uri", "invalid_request_object", "request_not_supported", "request_uri_not_supported",
	"registration_not_supported",
}

// knownError returns code if it is a registered one. Whoever can open the callback chooses it, so
// nothing else of it is passed on.
func knownError(code string) string {
	if slices.Contains(knownErrors, code) {
		return code
	}
	return "an unknown error"
}
