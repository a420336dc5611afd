package authserver

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestClientAuthentication(t *testing.T) {
	w := newWorld(t)
	type credentials struct {
		name         string
		basic        string // user:password as they are sent, before base64
		id, secret   string // in the body; "-" leaves them out
		status       int
		wwwChallenge bool
	}
	for _, tc := range []credentials{
		{"basic", "confidential:" + secretOfConfidential, "-", "-", 200, false},
		{"basic, with the id in the body as well", "confidential:" + secretOfConfidential, "confidential", "-", 200, false},
		{"in the body", "", "confidential", secretOfConfidential, 200, false},
		{"basic with a wrong secret", "confidential:" + strings.ToUpper(secretOfConfidential), "-", "-", 401, true},
		{"basic with an empty secret", "confidential:", "-", "-", 401, true},
		{"basic with a part of the secret", "confidential:" + secretOfConfidential[:35], "-", "-", 401, true},
		{"a wrong secret in the body", "", "confidential", "wrong", 401, false},
		{"no secret", "", "confidential", "-", 401, false},
		{"nothing", "", "-", "-", 401, false},
		{"a secret both ways", "confidential:" + secretOfConfidential, "confidential", secretOfConfidential, 400, false},
		{"two clients", "confidential:" + secretOfConfidential, "web", "-", 400, false},
		{"basic without a colon", "confidential", "-", "-", 401, true},
		{"basic of an unknown client", "nobody:" + secretOfConfidential, "-", "-", 401, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code := w.newBrowser().code("client_id", "confidential")
			r := formRequest(TokenPath, with(url.Values{
				"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier},
			}, "client_id", tc.id, "client_secret", tc.secret))
			if user, password, found := strings.Cut(tc.basic, ":"); found {
				r.SetBasicAuth(user, password)
			} else if tc.basic != "" {
				r.Header.Set("Authorization", "Basic "+tc.basic)
			}
			got := w.decode(w.send(r))
			if (got.header.Get("WWW-Authenticate") != "") != tc.wwwChallenge {
				t.Errorf("WWW-Authenticate %q", got.header.Get("WWW-Authenticate"))
			}
			if tc.status == 200 {
				if got.status != 200 {
					t.Errorf("status %d %s: %s", got.status, got.Error, got.Description)
				}
				return
			}
			// RFC 6749, section 5.2: more than one mechanism is a malformed request.
			got.wantError(t, tc.status, map[int]string{400: "invalid_request", 401: "invalid_client"}[tc.status])
			if strings.Contains(got.body, "0123456789") {
				t.Error("the answer repeats the secret")
			}
		})
	}
	t.Run("of a client that registered itself", func(t *testing.T) {
		got := w.registration("application/json", `{"redirect_uris":["`+callback+`"],"token_endpoint_auth_method":"client_secret_basic"}`)
		other := w.registered("client_secret_post")
		for secret, status := range map[string]int{got.ClientSecret: 200, got.ClientSecret + "A": 401, "": 401, secretOfConfidential: 401} {
			code := w.newBrowser().code("client_id", got.ClientID)
			if a := w.exchange(code, "client_id", got.ClientID, "client_secret", secret); a.status != status {
				t.Errorf("status %d %s, want %d", a.status, a.Error, status)
			}
		}
		code := w.newBrowser().code("client_id", other)
		w.exchange(code, "client_id", other, "client_secret", got.ClientSecret).wantError(t, 401, "invalid_client")
	})
	t.Run("by several Authorization headers is malformed", func(t *testing.T) {
		r := formRequest(TokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}})
		r.SetBasicAuth("confidential", secretOfConfidential)
		r.Header.Add("Authorization", r.Header.Get("Authorization"))
		w.decode(w.send(r)).wantError(t, 400, "invalid_request")
	})
	t.Run("by a bearer token is none", func(t *testing.T) {
		r := formRequest(TokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}})
		r.Header.Set("Authorization", "Bearer "+w.tokens().AccessToken)
		w.decode(w.send(r)).wantError(t, 401, "invalid_client")
	})
}

// URLs end in logs, so credentials in them count for nothing (RFC 6749, section 2.3.1).
func TestParametersInTheURLAreNotSeen(t *testing.T) {
	w := newWorld(t)
	got := w.tokens()
	for path, form := range map[string]url.Values{
		TokenPath:  {"grant_type": {"refresh_token"}, "refresh_token": {got.RefreshToken}, "client_id": {"web"}},
		RevokePath: {"token": {got.RefreshToken}, "client_id": {"web"}},
	} {
		for name, values := range form {
			rest := url.Values{}
			for n, v := range form {
				if n != name {
					rest[n] = v
				}
			}
			r := formRequest(path, rest)
			r.URL.RawQuery = url.Values{name: values}.Encode()
			if a := w.decode(w.send(r)); a.status < 400 || a.status > 499 {
				t.Errorf("%s with %s in the query: status %d", path, name, a.status)
			}
		}
		r := formRequest(path, nil)
		r.URL.RawQuery = form.Encode()
		w.decode(w.send(r)).wantError(t, 400, "invalid_request")
	}
	w.refreshed(got.RefreshToken)
	t.Run("nor do they disturb", func(t *testing.T) {
		got := w.tokens()
		r := formRequest(TokenPath, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.RefreshToken}, "client_id": {"web"}})
		r.URL.RawQuery = "client_id=nobody&grant_type=password"
		if a := w.send(r); a.status != 200 {
			t.Errorf("status %d", a.status)
		}
	})
}

func TestBodiesThatAreNoForms(t *testing.T) {
	w := newWorld(t)
	const good = "grant_type=refresh_token&refresh_token=x&client_id=web&token=x"
	for _, path := range []string{TokenPath, RevokePath} {
		for _, tc := range []struct {
			name, contentType, body string
			status                  int
		}{
			{"JSON", "application/json", `{"grant_type":"refresh_token"}`, 400},
			{"plain text", "text/plain", good, 400},
			{"multipart", "multipart/form-data; boundary=x", good, 400},
			{"no type", "", good, 400},
			{"two types", "application/x-www-form-urlencoded, text/plain", good, 400},
			{"a parameter twice", "application/x-www-form-urlencoded", good + "&client_id=web", 400},
			{"an unknown parameter twice", "application/x-www-form-urlencoded", good + "&x=1&x=2", 400},
			{"a broken escape", "application/x-www-form-urlencoded", good + "&x=%f", 400},
			{"semicolons", "application/x-www-form-urlencoded", strings.ReplaceAll(good, "&", ";"), 400},
			{"too many parameters", "application/x-www-form-urlencoded", good + strings.Repeat("&", 2000), 400},
			{"too large", "application/x-www-form-urlencoded", good + "&x=" + strings.Repeat("a", 64<<10), 413},
			{"nothing", "application/x-www-form-urlencoded", "", 400},
		} {
			t.Run(path+" "+tc.name, func(t *testing.T) {
				r := formRequest(path, nil)
				r.Body = http.NoBody
				if tc.body != "" {
					r.Body = readCloser{strings.NewReader(tc.body)}
				}
				r.Header.Del("Content-Type")
				if tc.contentType != "" {
					r.Header.Set("Content-Type", tc.contentType)
				}
				w.decode(w.send(r)).wantError(t, tc.status, "invalid_request")
			})
		}
	}
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }
