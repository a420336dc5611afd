package oauthclient

import (
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseTokens(t *testing.T) {
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, body string
		status     int
		want       Tokens
		err        string
	}{
		{"all of it", `{"access_token":"a","token_type":"Bearer","refresh_token":"r","expires_in":3600}`, 200, Tokens{Access: "a", Refresh: "r", Expires: now.Add(time.Hour)}, ""},
		{"the least", `{"access_token":"a"}`, 200, Tokens{Access: "a"}, ""},
		{"a lifetime in quotes", `{"access_token":"a","expires_in":"60"}`, 200, Tokens{Access: "a", Expires: now.Add(time.Minute)}, ""},
		{"a lifetime that is null", `{"access_token":"a","expires_in":null}`, 200, Tokens{Access: "a"}, ""},
		{"a lifetime of ages", `{"access_token":"a","expires_in":1e300}`, 200, Tokens{Access: "a", Expires: now.Add(maxTokenLife)}, ""},
		{"a lifetime in the past", `{"access_token":"a","expires_in":-1}`, 200, Tokens{Access: "a"}, ""},
		{"another type", `{"access_token":"a","token_type":"DPoP"}`, 200, Tokens{}, "no bearer token"},
		{"a line break in the token", `{"access_token":"a\r\nX-Admin: 1"}`, 200, Tokens{}, "no usable access token"},
		{"no token", `{}`, 200, Tokens{}, "no usable access token"},
		{"ended", `{"error":"invalid_grant"}`, 400, Tokens{}, ErrGrantEnded.Error()},
		{"ended, with status 200", `{"error":"bad_refresh_token"}`, 200, Tokens{}, ErrGrantEnded.Error()},
		{"another error", `{"error":"invalid_client"}`, 401, Tokens{}, "invalid_client"},
		{"an error in the server's own words", `{"error":"your secret is s3cret"}`, 400, Tokens{}, "an unknown error"},
		{"a failure", `{"error":"invalid_grant"}`, 503, Tokens{}, "status 503"},
		{"too many", `{"error":"invalid_grant"}`, 429, Tokens{}, "status 429"},
		{"with all that OpenID Connect adds", `{"access_token":"a","scope":"openid tools:read","id_token":"x.y.z"}`, 200, Tokens{Access: "a", Scope: "openid tools:read", IDToken: "x.y.z"}, ""},
		{"scopes in an array", `{"access_token":"a","scope":["tools:read"]}`, 200, Tokens{Access: "a"}, ""},
		{"a token that is too long", `{"access_token":"` + strings.Repeat("a", maxToken+1) + `"}`, 200, Tokens{}, "no usable access token"},
		{"an account that needs attention", `{"error":"interaction_required"}`, 400, Tokens{}, ErrGrantEnded.Error()},
		{"a form", `access_token=a`, 200, Tokens{}, "no JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseTokens(tc.status, []byte(tc.body), now, maxToken)
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%+v, %v; want %+v, %q", got, err, tc.want, tc.err)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Error("the error holds what the server has worded")
			}
		})
	}
}

func TestRevoke(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		down   bool // trying again may help
	}{
		{"ended", 200, false},
		{"ended, without a word", 204, false},
		{"not ended", 400, false},
		{"no answer", 503, true},
		{"too many questions", 429, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var revoked []string
			server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				revoked = append(revoked, r.PostFormValue("token_type_hint")+" "+r.PostFormValue("token"))
				w.WriteHeader(tc.status)
			})
			c := must(New(Config{Server: server, ClientID: "edge", AuthorizationEndpoint: server, TokenEndpoint: server, RevocationEndpoint: server}))(t)
			err := c.Revoke(t.Context(), "a", "r")
			if errors.Is(err, ErrServerDown) != tc.down || (err == nil) != (tc.status < 300) {
				t.Errorf("Revoke: %v", err)
			}
			if want := []string{"refresh_token r", "access_token a"}; !slices.Equal(revoked, want) {
				t.Errorf("revoked %q", revoked)
			}
		})
	}
	c := must(New(Config{Server: issuer, ClientID: "edge", AuthorizationEndpoint: issuer, TokenEndpoint: issuer}))(t)
	if err := c.Revoke(t.Context(), "a", "r"); !errors.Is(err, ErrNoRevocation) {
		t.Errorf("where there is nothing to revoke at: %v", err)
	}
}

func FuzzTokens(f *testing.F) {
	f.Add(200, []byte(`{"access_token":"a","token_type":"Bearer","refresh_token":"r","expires_in":"3600"}`))
	f.Add(400, []byte(`{"error":"invalid_grant"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		now := time.Unix(math.MaxInt32, 0)
		got, err := parseTokens(status, body, now, maxToken)
		if err == nil && (!usable(got.Access, maxToken) || !got.Expires.IsZero() && !got.Expires.After(now)) {
			t.Errorf("%+v passed", got)
		}
	})
}
