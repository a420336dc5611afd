package credentials

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

// tokens is what an authorization server issued, or what a person typed in.
type tokens struct {
	access, refresh string
	expires         time.Time // zero if nobody said
	issuer          string    // the server; empty if it was typed in
}

var (
	// errGrantEnded is the authorization server's word that a refresh token is good no more.
	errGrantEnded = errors.New("the refresh token is not valid any more")
	// errMoved means that another authorization server is named now than the one that issued a token or was
	// asked for a code. What one server has issued is not shown to another (RFC 9700, section 4.4).
	errMoved    = errors.New("another authorization server is named now")
	errTooLarge = errors.New("its answer is too large")
)

// maxTokenLife bounds what a server says about the end of a token, so that no arithmetic overflows.
const maxTokenLife = 10 * 365 * 24 * time.Hour

// exchange redeems a code (RFC 6749, section 4.1.3; RFC 7636, section 4.5).
func (o *OAuth) exchange(ctx context.Context, md *metadata, code, verifier, redirectURI string) (tokens, error) {
	return o.token(ctx, md, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {redirectURI},
	})
}

// refresh gets new tokens for a refresh token of issuer (RFC 6749, section 6). errGrantEnded is final; any
// other error may go away.
func (o *OAuth) refresh(ctx context.Context, issuer, refresh string) (tokens, error) {
	md, err := o.metadataOf(ctx, issuer)
	if err != nil {
		return tokens{}, err
	}
	return o.token(ctx, md, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
}

func (o *OAuth) token(ctx context.Context, md *metadata, form url.Values) (tokens, error) {
	if resource := o.resource(md); resource != "" {
		form.Set("resource", resource)
	}
	asked := o.config.Now()
	status, body, err := o.post(ctx, md, md.TokenEndpoint, form)
	if err != nil {
		return tokens{}, err
	}
	t, err := parseTokens(status, body, asked)
	t.issuer = md.Issuer
	return t, err
}

// revokeAll ends what issuer has issued, as far as it lets us (RFC 7009). Where there is a refresh token,
// it is the grant. An error means that the tokens may live on.
func (o *OAuth) revokeAll(ctx context.Context, issuer, access, refresh string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	md, err := o.metadataOf(ctx, issuer)
	if err != nil {
		return err
	}
	if md.RevocationEndpoint == "" {
		return errors.New("it has no revocation endpoint")
	}
	var failed error
	for _, token := range []struct{ hint, value string }{{"refresh_token", refresh}, {"access_token", access}} {
		if token.value == "" {
			continue
		}
		status, _, err := o.post(ctx, md, md.RevocationEndpoint, url.Values{"token": {token.value}, "token_type_hint": {token.hint}})
		if err == nil && status != http.StatusOK && status != http.StatusNoContent {
			err = fmt.Errorf("it answered with status %d", status)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// post sends a form with the client's authentication. Secrets go by the Authorization header unless the
// server takes them in the body only (RFC 6749, section 2.3.1).
func (o *OAuth) post(ctx context.Context, md *metadata, address string, form url.Values) (status int, body []byte, err error) {
	inBody := o.config.ClientSecret == "" ||
		slices.Contains(md.AuthMethods, "client_secret_post") && !slices.Contains(md.AuthMethods, "client_secret_basic")
	if inBody {
		form.Set("client_id", o.config.ClientID)
		if o.config.ClientSecret != "" {
			form.Set("client_secret", o.config.ClientSecret)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, errors.New("its address cannot be requested")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !inBody {
		req.SetBasicAuth(url.QueryEscape(o.config.ClientID), url.QueryEscape(o.config.ClientSecret))
	}
	return o.do(req)
}

// do sends a request and reads a bounded answer. Its errors hold nothing that the other side has worded.
func (o *OAuth) do(req *http.Request) (status int, body []byte, err error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "caddy-mcp-auth")
	resp, err := o.client.Do(req)
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

// parseTokens reads a token response (RFC 6749, sections 5.1 and 5.2). Some servers answer errors with
// status 200.
func parseTokens(status int, body []byte, asked time.Time) (tokens, error) {
	var answer struct {
		AccessToken  string          `json:"access_token"`
		TokenType    string          `json:"token_type"`
		RefreshToken string          `json:"refresh_token"`
		ExpiresIn    json.RawMessage `json:"expires_in"`
		Error        string          `json:"error"`
	}
	if status == http.StatusTooManyRequests || status >= 500 {
		return tokens{}, fmt.Errorf("its token endpoint answered with status %d", status)
	}
	if json.Unmarshal(body, &answer) != nil {
		return tokens{}, fmt.Errorf("its token endpoint gave no JSON object (status %d)", status)
	}
	switch {
	case answer.Error == "invalid_grant", answer.Error == "bad_refresh_token": // GitHub's word for it
		return tokens{}, errGrantEnded
	case answer.Error != "" || status != http.StatusOK:
		return tokens{}, fmt.Errorf("its token endpoint answered %s (status %d)", knownError(answer.Error), status)
	case CheckSecret(answer.AccessToken) != nil:
		return tokens{}, errors.New("its token endpoint gave no usable access token")
	case answer.TokenType != "" && !strings.EqualFold(answer.TokenType, "bearer"):
		// RFC 6749, section 7.1: a token of a kind that is not understood must not be used.
		return tokens{}, errors.New("its token endpoint gave a token that is no bearer token")
	case len(answer.RefreshToken) > maxSecret:
		return tokens{}, errors.New("its token endpoint gave a refresh token that is too long")
	}
	t := tokens{access: answer.AccessToken, refresh: answer.RefreshToken}
	if life := lifetime(answer.ExpiresIn); life > 0 {
		t.expires = asked.Add(life)
	}
	return t, nil
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
