package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc/oidctest"
	"github.com/go-jose/go-jose/v4"
)

func TestSignIn(t *testing.T) {
	p := newIDP(t)
	p.claims["groups"] = []string{"engineering", "Domain Users"}
	o := p.provider(t)
	got, err := finish(t, o, callback())
	if err != nil {
		t.Fatal(err)
	}
	want := User{
		Issuer: p.URL, Subject: "user-1", Email: "Ann@example.com", EmailVerified: true,
		Name: "Ann Example", Groups: []string{"engineering", "Domain Users"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if o.ID() != "idp" || o.Name() != "127.0.0.1" {
		t.Errorf("got id %q and name %q", o.ID(), o.Name())
	}
	if p.count("/userinfo") != 0 {
		t.Error("UserInfo was asked though the ID token says everything")
	}
	form := p.tokenForm
	if form.Get("code") != testCode || form.Get("code_verifier") != testVerifier || form.Get("redirect_uri") != testAttempt.RedirectURI {
		t.Errorf("code was redeemed with %v", form)
	}
}

// The server of go-oidc's own tests publishes the metadata and the keys.
func TestSignInAtTheTestServerOfGoOIDC(t *testing.T) {
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	published := &oidctest.Server{
		PublicKeys: []oidctest.PublicKey{
			{PublicKey: testKey().Public(), KeyID: "rsa", Algorithm: "RS256"},
			{PublicKey: ecKey.Public(), KeyID: "ec", Algorithm: "ES256"},
			{PublicKey: edKey.Public(), KeyID: "ed", Algorithm: "EdDSA"},
		},
		Algorithms: []string{"RS256", "ES256", "EdDSA"},
	}
	clock := newClock()
	var sign func(string) string
	mux := http.NewServeMux()
	mux.Handle("/", published)
	server := httptest.NewServer(mux)
	defer server.Close()
	published.SetIssuer(server.URL)
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		token := sign(fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":"s","nonce":"nonce-1","iat":%d,"exp":%d}`,
			server.URL, testClientID, clock.now().Unix(), clock.now().Unix()+60))
		writeJSON(w, map[string]any{"access_token": testAccess, "token_type": "Bearer", "id_token": token})
	})
	o, err := NewOIDC(OIDCConfig{ID: "test", Issuer: server.URL, ClientID: testClientID, Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		sign func(string) string
	}{
		{"RS256", signer(testKey(), "rsa", "RS256")},
		{"ES256", signer(ecKey, "ec", "ES256")},
		{"EdDSA", signer(edKey, "ed", "EdDSA")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sign = tc.sign
			u, err := finish(t, o, callback())
			if err != nil || u.Subject != "s" {
				t.Errorf("got %+v, %v", u, err)
			}
		})
	}
}

func TestBegin(t *testing.T) {
	p := newIDP(t)
	p.discovery["authorization_endpoint"] = p.URL + "/auth?tenant=1"
	o := p.provider(t, func(c *OIDCConfig) { c.AuthParams = map[string]string{"hd": "example.com", "prompt": "login"} })
	attempt := testAttempt
	attempt.LoginHint, attempt.Prompt = "ann@example.com&x=y", "select_account"
	got, err := o.Begin(context.Background(), attempt)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(got)
	if err != nil || u.Path != "/auth" {
		t.Fatalf("got %s, %v", got, err)
	}
	challenge := sha256.Sum256([]byte(testVerifier))
	want := url.Values{
		"tenant": {"1"}, "response_type": {"code"}, "client_id": {testClientID}, "redirect_uri": {testAttempt.RedirectURI},
		"scope": {"openid email profile"}, "state": {"state-1"}, "nonce": {"nonce-1"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
		"login_hint": {"ann@example.com&x=y"}, "prompt": {"login select_account"}, "hd": {"example.com"},
	}
	if q := u.Query(); !reflect.DeepEqual(q, want) {
		t.Errorf("got %v, want %v", q, want)
	}
}

func TestBeginRefusesAnIncompleteAttempt(t *testing.T) {
	o := newIDP(t).provider(t)
	for name, change := range map[string]func(*Attempt){
		"no state":             func(a *Attempt) { a.State = "" },
		"no nonce":             func(a *Attempt) { a.Nonce = "" },
		"no redirect URI":      func(a *Attempt) { a.RedirectURI = "" },
		"a guessable verifier": func(a *Attempt) { a.Verifier = "short" },
	} {
		a := testAttempt
		change(&a)
		if got, err := o.Begin(context.Background(), a); err == nil {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

func TestFinishChecksTheCallback(t *testing.T) {
	for _, tc := range []struct {
		name      string
		params    url.Values
		sendsIss  bool
		want      error
		wantWords string
	}{
		{name: "with the right iss", params: callback("iss", "ISSUER"), sendsIss: true},
		{name: "with an iss that was not announced", params: callback("iss", "ISSUER")},
		{name: "with a parameter nobody knows", params: callback("session_state", "x")},
		{"no code", url.Values{"state": {"state-1"}}, false, ErrRefused, "no usable code"},
		{"an empty code", url.Values{"state": {"state-1"}, "code": {""}}, false, ErrRefused, "no usable code"},
		{"an endless code", url.Values{"state": {"state-1"}, "code": {strings.Repeat("x", 9000)}}, false, ErrRefused, "no usable code"},
		{"another state", url.Values{"state": {"state-2"}, "code": {testCode}}, false, ErrRefused, "another state"},
		{"no state", url.Values{"code": {testCode}}, false, ErrRefused, "another state"},
		{"a code twice", callback("code", "other"), false, ErrRefused, "repeated"},
		{"a state twice", callback("state", "state-1"), false, ErrRefused, "repeated"},
		{"an unknown parameter twice", callback("x", "1", "x", "2"), false, ErrRefused, "repeated"},
		{"a parameter without values", url.Values{"state": {"state-1"}, "code": {testCode}, "x": {}}, false, ErrRefused, "repeated"},
		{"another issuer", callback("iss", "https://hostile.example"), false, ErrRefused, "provider that was asked"},
		{"an empty issuer", callback("iss", ""), false, ErrRefused, "provider that was asked"},
		{"the issuer with a slash more", callback("iss", "ISSUER/"), false, ErrRefused, "provider that was asked"},
		{"no issuer where it is announced", callback(), true, ErrRefused, "provider that was asked"},
		{"a person who said no", callback("error", "access_denied", "error_description", hostile), false, ErrDenied, "access_denied"},
		{"an error and a code", callback("error", "server_error"), false, ErrDenied, "server_error"},
		{"an empty error", callback("error", ""), false, ErrDenied, "an unknown error"},
		{"an error in the browser's words", callback("error", hostile), false, ErrDenied, "an unknown error"},
		{"an error from another issuer", callback("error", "access_denied", "iss", "https://hostile.example"), false, ErrRefused, "asked"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.discovery["authorization_response_iss_parameter_supported"] = tc.sendsIss
			for name, values := range tc.params {
				for i, v := range values {
					tc.params[name][i] = strings.Replace(v, "ISSUER", p.URL, 1)
				}
			}
			_, err := finish(t, p.provider(t), tc.params)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if tc.want == nil {
				return
			}
			if !strings.Contains(err.Error(), tc.wantWords) {
				t.Errorf("got %q, want it to say %q", err, tc.wantWords)
			}
			if p.count("/token") != 0 {
				t.Error("the code was redeemed all the same")
			}
		})
	}
}

func TestFinishLeavesAStateThatTheCallerMatched(t *testing.T) {
	a := testAttempt
	a.State = ""
	if _, err := newIDP(t).provider(t).Finish(context.Background(), a, callback()); err != nil {
		t.Error(err)
	}
}

func TestClientAuthentication(t *testing.T) {
	basic, post := "client_secret_basic", "client_secret_post"
	for _, tc := range []struct {
		name      string
		supported []string
		secret    string
		wantBasic bool
	}{
		{"basic where nothing is listed", nil, testSecret, true},
		{"basic where both are listed", []string{post, basic}, testSecret, true},
		{"basic where neither is listed", []string{"private_key_jwt"}, testSecret, true},
		{"post where only that is listed", []string{post, "private_key_jwt"}, testSecret, false},
		{"the client id alone without a secret", []string{basic}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			if tc.supported != nil {
				p.discovery["token_endpoint_auth_methods_supported"] = tc.supported
			}
			if _, err := finish(t, p.provider(t, func(c *OIDCConfig) { c.ClientSecret = tc.secret }), callback()); err != nil {
				t.Fatal(err)
			}
			wantForm := testClientID
			if tc.wantBasic {
				wantForm = ""
				// RFC 6749, section 2.3.1: both are form-encoded first.
				if pass, _ := url.QueryUnescape(p.basicPass); p.basicUser != testClientID || pass != tc.secret {
					t.Errorf("got Basic %q %q", p.basicUser, p.basicPass)
				}
			} else if p.basicUser != "" || p.tokenForm.Get("client_secret") != tc.secret {
				t.Errorf("got Basic user %q and form %v", p.basicUser, p.tokenForm)
			}
			if got := p.tokenForm.Get("client_id"); got != wantForm {
				t.Errorf("got client_id %q in the form, want %q", got, wantForm)
			}
		})
	}
}

func TestFinishChecksTheTokenAnswer(t *testing.T) {
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		want error
	}{
		{"an error", answer(400, "application/json", `{"error":"invalid_grant","error_description":"hostile"}`), ErrRefused},
		{"an error in its own words", answer(401, "application/json", `{"error":"hostile"}`), ErrRefused},
		{"an error with status 200", answer(200, "application/json", `{"error":"hostile"}`), ErrRefused},
		{"an error page", answer(403, "text/html", hostile), ErrRefused},
		{"out of order", answer(503, "text/html", hostile), ErrUnavailable},
		{"too many requests", answer(429, "text/html", hostile), ErrUnavailable},
		{"garbage", answer(200, "application/json", hostile), ErrUnavailable},
		{"nothing", answer(200, "application/json", ""), ErrUnavailable},
		{"no access token", answer(200, "application/json", `{"id_token":"hostile"}`), ErrUnavailable},
		{"no ID token", answer(200, "application/json", `{"access_token":"hostile"}`), ErrRefused},
		{"an ID token that is a number", answer(200, "application/json", `{"access_token":"hostile","id_token":7}`), ErrRefused},
		{"a huge body", answer(200, "application/json", `{"access_token":"hostile","x":"`+strings.Repeat("x", 2<<20)+`"}`), ErrUnavailable},
		{"a redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://hostile.example/token", http.StatusTemporaryRedirect)
		}, ErrUnavailable},
		{"a redirect on the same host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
		}, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.handle("/token", tc.h)
			if _, err := finish(t, p.provider(t), callback()); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if p.count("/elsewhere") != 0 {
				t.Error("the client secret went on with a redirect")
			}
		})
	}
}

// compact signs payload with any key and any header, also what a library refuses to make.
func compact(t testing.TB, key any, alg string, header map[jose.HeaderKey]any, payload string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func unsigned(alg, payload string) string {
	header, _ := json.Marshal(map[string]string{"alg": alg, "kid": "key-1"})
	b64 := base64.RawURLEncoding.EncodeToString
	return b64(header) + "." + b64([]byte(payload)) + "."
}
