package oauthclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/publicnet"
)

// Tokens is what an authorization server issued.
type Tokens struct {
	Access, Refresh string
	Expires         time.Time // of the access token; zero if nobody said
	Scope           string    // empty if nobody said
	IDToken         string    // not looked at
}

const (
	// maxToken bounds a token where Config does not: servers commonly take 8 KiB of one header.
	maxToken = 8 << 10
	// maxTokenLife bounds what a server says about the end of a token, so that no arithmetic overflows.
	maxTokenLife = 10 * 365 * 24 * time.Hour
)

var errTooLarge = errors.New("its answer is too large")

// Exchange redeems a code (RFC 6749, section 4.1.3; RFC 7636, section 4.5). extra are further parameters, which may
// be nil. The error is ErrServerDown, ErrGrantEnded if the code is refused, or another one.
func (c *Client) Exchange(ctx context.Context, code, verifier, redirectURI string, extra url.Values) (Tokens, error) {
	return c.token(ctx, extra, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {redirectURI},
	})
}

// Refresh gets new tokens (RFC 6749, section 6). ErrGrantEnded is final; any other error may go away.
func (c *Client) Refresh(ctx context.Context, refresh string, extra url.Values) (Tokens, error) {
	return c.token(ctx, extra, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
}

func (c *Client) token(ctx context.Context, extra, form url.Values) (Tokens, error) {
	md, err := c.Metadata(ctx)
	if err != nil {
		return Tokens{}, err
	}
	if resource := c.resource(md); resource != "" {
		form.Set("resource", resource)
	}
	for name, values := range extra {
		form[name] = values
	}
	asked := c.config.Now()
	status, body, err := c.post(ctx, md, md.TokenEndpoint, form)
	if err != nil {
		return Tokens{}, fmt.Errorf("%w: %w", ErrServerDown, err)
	}
	return parseTokens(status, body, asked, c.config.MaxToken)
}

// Revoke ends what was issued, as far as the server lets us (RFC 7009). Where there is a refresh token,
// it is the grant. An error means that the tokens may live on: ErrServerDown that trying again may help.
func (c *Client) Revoke(ctx context.Context, access, refresh string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	md, err := c.Metadata(ctx)
	if err != nil {
		return err
	}
	if md.RevocationEndpoint == "" {
		return ErrNoRevocation
	}
	var failed error
	for _, token := range []struct{ hint, value string }{{"refresh_token", refresh}, {"access_token", access}} {
		if token.value == "" {
			continue
		}
		status, _, err := c.post(ctx, md, md.RevocationEndpoint, url.Values{"token": {token.value}, "token_type_hint": {token.hint}})
		switch {
		case err != nil:
			err = fmt.Errorf("%w: %w", ErrServerDown, err)
		case unanswered(status):
			err = fmt.Errorf("%w: its revocation endpoint answered with status %d", ErrServerDown, status)
		case status != http.StatusOK && status != http.StatusNoContent:
			err = fmt.Errorf("it answered with status %d", status)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// ErrNoRevocation means that the server has no revocation endpoint: its tokens live on until they end.
var ErrNoRevocation = errors.New("it has no revocation endpoint")

// unanswered tells answers that say nothing about what was asked.
func unanswered(status int) bool { return status == http.StatusTooManyRequests || status >= 500 }

// post sends a form with the client's authentication. Secrets go by the Authorization header unless the
// server takes them in the body only (RFC 6749, section 2.3.1).
func (c *Client) post(ctx context.Context, md *Metadata, address string, form url.Values) (status int, body []byte, err error) {
	inBody := c.config.ClientSecret == "" ||
		slices.Contains(md.AuthMethods, "client_secret_post") && !slices.Contains(md.AuthMethods, "client_secret_basic")
	if inBody {
		form.Set("client_id", c.config.ClientID)
		if c.config.ClientSecret != "" {
			form.Set("client_secret", c.config.ClientSecret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, errors.New("its address cannot be requested")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !inBody {
		req.SetBasicAuth(url.QueryEscape(c.config.ClientID), url.QueryEscape(c.config.ClientSecret))
	}
	return c.do(req)
}

// do sends a request and reads a bounded answer. Its errors hold nothing that the other side has worded.
func (c *Client) do(req *http.Request) (status int, body []byte, err error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "caddy-mcp-auth")
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, nil, cause(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return 0, nil, cause(err)
	}
	if len(body) > maxDocument {
		return 0, nil, errTooLarge
	}
	return resp.StatusCode, body, nil
}

// endedErrors are the answers that mean that only the person can mend it, by RFC 6749, section 5.2, and as
// servers use those of OpenID Connect Core 1.0, section 3.1.2.6, when an account was disabled or needs
// attention. bad_refresh_token is GitHub's word.
var endedErrors = []string{"invalid_grant", "bad_refresh_token", "interaction_required", "login_required", "consent_required"}

// parseTokens reads a token response (RFC 6749, sections 5.1 and 5.2). Some servers answer errors with
// status 200.
func parseTokens(status int, body []byte, asked time.Time, longest int) (Tokens, error) {
	var answer struct {
		AccessToken  string          `json:"access_token"`
		TokenType    string          `json:"token_type"`
		RefreshToken string          `json:"refresh_token"`
		ExpiresIn    json.RawMessage `json:"expires_in"`
		Scope        json.RawMessage `json:"scope"`
		IDToken      string          `json:"id_token"`
		Error        string          `json:"error"`
	}
	if unanswered(status) {
		return Tokens{}, fmt.Errorf("%w: its token endpoint answered with status %d", ErrServerDown, status)
	}
	if json.Unmarshal(body, &answer) != nil {
		return Tokens{}, fmt.Errorf("its token endpoint gave no JSON object (status %d)", status)
	}
	switch {
	case slices.Contains(endedErrors, answer.Error):
		return Tokens{}, ErrGrantEnded
	case answer.Error != "" || status != http.StatusOK:
		return Tokens{}, fmt.Errorf("its token endpoint answered %s (status %d)", knownError(answer.Error), status)
	case !usable(answer.AccessToken, longest):
		return Tokens{}, errors.New("its token endpoint gave no usable access token")
	case answer.TokenType != "" && !strings.EqualFold(answer.TokenType, "bearer"):
		// RFC 6749, section 7.1: a token of a kind that is not understood must not be used.
		return Tokens{}, errors.New("its token endpoint gave a token that is no bearer token")
	case len(answer.RefreshToken) > longest:
		return Tokens{}, errors.New("its token endpoint gave a refresh token that is too long")
	}
	t := Tokens{Access: answer.AccessToken, Refresh: answer.RefreshToken, IDToken: answer.IDToken}
	_ = json.Unmarshal(answer.Scope, &t.Scope) // GitHub and others write arrays or commas; the token itself counts
	if life := lifetime(answer.ExpiresIn); life > 0 {
		t.Expires = asked.Add(life)
	}
	return t, nil
}

// usable reports whether a token can stand in a header as it is.
func usable(token string, longest int) bool {
	return token != "" && len(token) <= longest && printable(token) && !strings.Contains(token, " ")
}

// lifetime reads expires_in, which some servers write as a string. 0 means that nothing usable is there.
func lifetime(raw json.RawMessage) time.Duration {
	seconds, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return 0
	}
	if seconds > maxTokenLife.Seconds() {
		return maxTokenLife
	}
	return max(time.Second, time.Duration(seconds)*time.Second)
}

// knownError returns a code of RFC 6749, section 5.2, or of RFC 8707, and nothing else of what a server
// sent.
func knownError(code string) string {
	known := []string{
		"invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target",
		"access_denied", "server_error", "temporarily_unavailable", "incorrect_client_credentials", "redirect_uri_mismatch", "bad_verification_code",
	}
	if slices.Contains(known, code) {
		return code
	}
	return "an unknown error"
}

// cause reduces an error of a request to what helps the operator.
func cause(err error) error {
	var timeout net.Error
	switch {
	case errors.Is(err, publicnet.ErrRefused):
		return errors.New("its address is not public; if it is yours, allow private_networks")
	case errors.Is(err, publicnet.ErrNoHost):
		return publicnet.ErrNoHost
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("it did not answer in time")
	}
	return errors.New("it could not be reached, or its certificate is not trusted")
}
