package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Begin implements Redirecting.
func (g *GitHub) Begin(_ context.Context, a Attempt) (string, error) {
	// RFC 7636, section 4.1, for the verifier.
	if a.State == "" || a.RedirectURI == "" || len(a.Verifier) < 43 || len(a.Verifier) > 128 {
		return "", errors.New("beginning a sign-in: attempt is incomplete")
	}
	challenge := sha256.Sum256([]byte(a.Verifier))
	values := url.Values{
		"response_type":         {"code"},
		"client_id":             {g.config.ClientID},
		"redirect_uri":          {a.RedirectURI},
		"scope":                 {githubScopes},
		"state":                 {a.State},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	if a.Prompt != "" {
		// The only value that GitHub knows. Whoever is to sign in again must at least be asked.
		values.Set("prompt", "select_account")
	}
	return g.web + "/login/oauth/authorize?" + values.Encode(), nil
}

// Finish implements Redirecting.
func (g *GitHub) Finish(ctx context.Context, a Attempt, params url.Values) (User, error) {
	ctx, cancel := context.WithTimeout(ctx, finishTimeout)
	defer cancel()
	if err := g.slots.enter(ctx); err != nil {
		return User{}, err
	}
	defer g.slots.leave()
	code, err := g.callback(a, params)
	if err != nil {
		return User{}, err
	}
	token, err := g.token(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {a.RedirectURI}, "code_verifier": {a.Verifier},
	})
	if err != nil {
		if errors.Is(err, ErrDenied) {
			// Whoever opened the callback chose the code, so this says nothing of a person.
			return User{}, fmt.Errorf("%w: code was not accepted", ErrRefused)
		}
		return User{}, err
	}
	u, err := g.user(ctx, token.AccessToken)
	if err != nil {
		return User{}, err
	}
	u.Upstream, err = g.pack(token, u)
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// callback checks the authorization response and returns its code.
func (g *GitHub) callback(a Attempt, params url.Values) (string, error) {
	for _, values := range params {
		if len(values) != 1 {
			return "", fmt.Errorf("%w: a parameter of the callback is repeated", ErrRefused)
		}
	}
	if a.State != "" && subtle.ConstantTimeCompare([]byte(params.Get("state")), []byte(a.State)) != 1 {
		return "", fmt.Errorf("%w: callback has another state", ErrRefused)
	}
	// RFC 9207, section 2.4. The issuer that GitHub names for its authorization server has a path.
	if iss := params.Get("iss"); params.Has("iss") && iss != g.web && iss != g.web+"/login/oauth" {
		return "", fmt.Errorf("%w: callback is marked as coming from another provider", ErrRefused)
	}
	if params.Has("error") {
		return "", fmt.Errorf("%w: provider answered %s", ErrDenied, knownError(params.Get("error")))
	}
	code := params.Get("code")
	if code == "" || len(code) > maxCode {
		return "", fmt.Errorf("%w: callback has no usable code", ErrRefused)
	}
	return code, nil
}

// githubToken is an answer of the token endpoint. Errors come with status 200 too. The tokens of an
// OAuth app do not expire; those of a GitHub App may, and come with a refresh token then.
type githubToken struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int64  `json:"expires_in"`
	Error        string `json:"error"`
}

// token asks the token endpoint. ErrDenied means that the code or refresh token was not accepted.
func (g *GitHub) token(ctx context.Context, form url.Values) (*githubToken, error) {
	form.Set("client_id", g.config.ClientID)
	form.Set("client_secret", g.config.ClientSecret)
	token := new(githubToken)
	var status statusError
	err := postForm(ctx, g.client, g.web+"/login/oauth/access_token", form, token)
	switch {
	case errors.As(err, &status) && status == http.StatusBadRequest:
		token.Error = "invalid_grant"
	case err != nil:
		return nil, fmt.Errorf("%w: asking for a token: %w", ErrUnavailable, err)
	}
	switch token.Error {
	case "":
	case "bad_verification_code", "bad_refresh_token", "invalid_grant":
		return nil, fmt.Errorf("%w: token endpoint did not accept what it had given out", ErrDenied)
	case "incorrect_client_credentials", "redirect_uri_mismatch", "unverified_user_email":
		return nil, fmt.Errorf("%w: token endpoint answered %s", ErrUnavailable, token.Error)
	default:
		return nil, fmt.Errorf("%w: token endpoint answered %s", ErrUnavailable, knownError(token.Error))
	}
	if token.AccessToken == "" || !printableASCII(token.AccessToken) || asciiLower(token.TokenType) != "bearer" {
		return nil, fmt.Errorf("%w: token endpoint gave no usable access token", ErrRefused)
	}
	return token, nil
}

// upstreamGitHub is what the User.Upstream of GitHub holds.
type upstreamGitHub struct {
	AccessToken  string    `json:"a"`
	Expires      time.Time `json:"e,omitzero"`
	RefreshToken string    `json:"r,omitempty"`
	User         User      `json:"u"`
}

func (g *GitHub) pack(token *githubToken, u User) ([]byte, error) {
	if g.config.DisableRecheck {
		return nil, nil
	}
	up := upstreamGitHub{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken, User: u}
	if token.ExpiresIn > 0 {
		up.Expires = g.config.Now().Add(time.Duration(min(token.ExpiresIn, maxExpiresIn)) * time.Second)
	}
	return up.pack()
}

// maxExpiresIn keeps what the provider says of a token's life within what a duration can hold.
const maxExpiresIn = 400 * 24 * 3600

func (up upstreamGitHub) pack() ([]byte, error) {
	if len(up.AccessToken)+len(up.RefreshToken) > maxUpstreamToken {
		return nil, fmt.Errorf("%w: tokens are longer than 16 KiB", ErrRefused)
	}
	packed, err := json.Marshal(up)
	if err != nil {
		return nil, fmt.Errorf("encoding a token: %w", err)
	}
	return packed, nil
}

// Recheck implements Rechecker: the API is asked again with the access token of the sign-in, which
// GitHub withdraws when an account is suspended or the person takes the authorization back.
func (g *GitHub) Recheck(ctx context.Context, upstream []byte) (User, []byte, error) {
	var up upstreamGitHub
	if json.Unmarshal(upstream, &up) != nil || up.AccessToken == "" || up.User.Subject == "" {
		return User{}, nil, fmt.Errorf("%w: what is known of the sign-in cannot be read", ErrRefused)
	}
	if g.config.DisableRecheck {
		return up.User, nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, recheckTimeout)
	defer cancel()
	if err := g.slots.enter(ctx); err != nil {
		return User{}, nil, err
	}
	defer g.slots.leave()
	var renewed []byte
	if up.RefreshToken != "" && !up.Expires.IsZero() && !g.config.Now().Before(up.Expires.Add(-clockSkew)) {
		token, err := g.token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {up.RefreshToken}})
		if err != nil {
			return User{}, nil, err
		}
		// Kept whatever happens next: the old pair is void.
		if renewed, err = g.pack(token, up.User); err != nil {
			return User{}, nil, err
		}
		if err := json.Unmarshal(renewed, &up); err != nil {
			return User{}, renewed, fmt.Errorf("reading a token back: %w", err)
		}
	}
	u, err := g.user(ctx, up.AccessToken)
	if err != nil {
		return User{}, renewed, err
	}
	if u.Subject != up.User.Subject {
		return User{}, renewed, fmt.Errorf("%w: access token is another account's", ErrRefused)
	}
	up.User = u
	packed, err := up.pack()
	if err != nil {
		return User{}, renewed, err
	}
	return u, packed, nil
}
