package identity

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestSignInAtGitHub(t *testing.T) {
	f := newFakeGitHub(t)
	g := newTestGitHub(t, f)
	u, err := finishGitHub(t, g, callback())
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Upstream) == 0 {
		t.Error("the person cannot be asked about again")
	}
	u.Upstream = nil
	want := User{
		Issuer: "https://github.com", Subject: "583231", Email: "Ann@example.com", EmailVerified: true,
		Name: "Ann Example", Groups: []string{"acme", "other", "acme/platform", "other/staff"},
	}
	if !reflect.DeepEqual(u, want) {
		t.Errorf("got %+v, want %+v", u, want)
	}
	for name, value := range map[string]string{
		"client_id": testClientID, "client_secret": testSecret, "code": testCode, "code_verifier": testVerifier,
		"redirect_uri": testAttempt.RedirectURI, "grant_type": "authorization_code",
	} {
		if got := f.tokenForm[name]; len(got) != 1 || got[0] != value {
			t.Errorf("the token endpoint was sent %s=%q", name, got)
		}
	}
}

func TestBeginAtGitHub(t *testing.T) {
	g := newTestGitHub(t, newFakeGitHub(t))
	a := testAttempt
	a.Prompt, a.LoginHint = "select_account", "ann@example.com"
	address, err := g.Begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme+"://"+u.Host+u.Path != "https://github.com/login/oauth/authorize" {
		t.Fatalf("%s, %v", address, err)
	}
	want := url.Values{
		"response_type": {"code"}, "client_id": {testClientID}, "redirect_uri": {a.RedirectURI}, "state": {a.State},
		"scope": {"read:user user:email read:org"}, "code_challenge_method": {"S256"}, "prompt": {"select_account"},
		"code_challenge": u.Query()["code_challenge"],
	}
	if got := u.Query(); !reflect.DeepEqual(got, want) || len(got.Get("code_challenge")) != 43 {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, change := range map[string]func(*Attempt){
		"state": func(a *Attempt) { a.State = "" }, "verifier": func(a *Attempt) { a.Verifier = "short" },
		"redirect URI": func(a *Attempt) { a.RedirectURI = "" },
	} {
		a := testAttempt
		change(&a)
		if _, err := g.Begin(t.Context(), a); err == nil {
			t.Errorf("begun without %s", name)
		}
	}
}

// GitHub knows no prompt=login, and would sign in silently whoever is signed in there.
func TestSigningInAgainAtGitHubAsks(t *testing.T) {
	g := newTestGitHub(t, newFakeGitHub(t))
	for prompt, want := range map[string]string{"": "", "login": "select_account", "select_account": "select_account"} {
		a := testAttempt
		a.Prompt = prompt
		address, err := g.Begin(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		if u, err := url.Parse(address); err != nil || u.Query().Get("prompt") != want {
			t.Errorf("prompt %q: %v in %s, want %q", prompt, err, address, want)
		}
	}
}

func TestGitHubChecksTheCallback(t *testing.T) {
	for _, tc := range []struct {
		name   string
		params url.Values
		want   error
	}{
		{"good", callback(), nil},
		{"marked as GitHub's", callback("iss", "https://github.com/login/oauth"), nil},
		{"marked as somebody else's", callback("iss", "https://hostile.example"), ErrRefused},
		{"an empty mark", callback("iss", ""), ErrRefused},
		{"another state", url.Values{"code": {testCode}, "state": {"hostile"}}, ErrRefused},
		{"no code", url.Values{"state": {testAttempt.State}}, ErrRefused},
		{"a repeated code", callback("code", "hostile"), ErrRefused},
		{"a huge code", url.Values{"state": {testAttempt.State}, "code": {strings.Repeat("x", maxCode+1)}}, ErrRefused},
		{"declined", callback("error", "access_denied"), ErrDenied},
		{"an error in its own words", callback("error", "hostile", "error_description", hostile), ErrDenied},
		{"an error marked as somebody else's", callback("error", "access_denied", "iss", "https://hostile.example"), ErrRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeGitHub(t)
			_, err := finishGitHub(t, newTestGitHub(t, f), tc.params)
			if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if n := f.hits["/login/oauth/access_token"]; tc.want != nil && n != 0 {
				t.Errorf("%d codes were redeemed", n)
			}
		})
	}
}

func TestGitHubChecksTheTokenAnswer(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write([]byte(body)) }
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   error
	}{
		{"a code that was used", answer(200, `{"error":"bad_verification_code","error_description":"hostile"}`), ErrRefused},
		{"our secret was changed", answer(200, `{"error":"incorrect_client_credentials"}`), ErrUnavailable},
		{"an error in its own words", answer(200, `{"error":"hostile"}`), ErrUnavailable},
		{"out of order", answer(502, hostile), ErrUnavailable},
		{"garbage", answer(200, hostile), ErrUnavailable},
		{"null", answer(200, "null"), ErrRefused},
		{"no token", answer(200, `{"token_type":"bearer"}`), ErrRefused},
		{"a token of another type", answer(200, `{"access_token":"x","token_type":"mac"}`), ErrRefused},
		{"a token with a line break", answer(200, `{"access_token":"x\nhostile","token_type":"bearer"}`), ErrRefused},
		{"a huge body", answer(200, `{"access_token":"`+strings.Repeat("x", 2<<20)+`"}`), ErrUnavailable},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://github.com/elsewhere", http.StatusTemporaryRedirect)
		}, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeGitHub(t)
			f.handle("/login/oauth/access_token", tc.answer)
			if _, err := finishGitHub(t, newTestGitHub(t, f), callback()); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if f.hits["/user"] != 0 {
				t.Error("the API was asked")
			}
		})
	}
}

func TestGitHubIsAskedAgain(t *testing.T) {
	f := newFakeGitHub(t)
	g := newTestGitHub(t, f, func(c *GitHubConfig) { c.Organizations = []string{"acme"} })
	u, err := finishGitHub(t, g, callback())
	if err != nil {
		t.Fatal(err)
	}
	f.answers["/user/teams"] = []any{team("acme", "sales")}
	got, next, err := recheck(t, g, u.Upstream)
	if err != nil || !reflect.DeepEqual(got.Groups, []string{"acme", "acme/sales"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	f.answers["/user/orgs"] = []any{organization("other")}
	if _, _, err := recheck(t, g, next); !errors.Is(err, ErrDenied) {
		t.Errorf("somebody who left the organization: %v", err)
	}
	f.answers["/user/orgs"] = []any{organization("acme")}
	f.answers["/user"] = map[string]any{"id": 7, "login": "ann"}
	if _, _, err := recheck(t, g, next); !errors.Is(err, ErrRefused) {
		t.Errorf("another account: %v", err)
	}
	f.handle("/user", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, hostile, 401) })
	if _, _, err := recheck(t, g, next); !errors.Is(err, ErrDenied) {
		t.Errorf("a token that was withdrawn: %v", err)
	}
	f.handle("/user", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, hostile, 503) })
	if _, _, err := recheck(t, g, next); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an API that is out of order: %v", err)
	}
}

func TestExpiringTokensOfGitHubAreRenewed(t *testing.T) {
	f := newFakeGitHub(t)
	f.token = with(f.token, map[string]any{"expires_in": 28800, "refresh_token": "ghr_1"})
	g := newTestGitHub(t, f)
	u, err := finishGitHub(t, g, callback())
	if err != nil {
		t.Fatal(err)
	}
	f.clock.advance(7 * time.Hour)
	_, next, err := recheck(t, g, u.Upstream)
	if err != nil || f.hits["/login/oauth/access_token"] != 1 {
		t.Fatalf("%v after %d tokens", err, f.hits["/login/oauth/access_token"])
	}
	f.clock.advance(time.Hour)
	f.token["refresh_token"] = "ghr_2"
	f.handle("/user", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, hostile, 503) })
	_, next, err = recheck(t, g, next)
	if !errors.Is(err, ErrUnavailable) || f.tokenForm.Get("refresh_token") != "ghr_1" || f.tokenForm.Get("grant_type") != "refresh_token" {
		t.Fatalf("%v after %v", err, f.tokenForm)
	}
	if !strings.Contains(string(next), "ghr_2") {
		t.Fatalf("the new refresh token is lost: %q", next)
	}
	f.token = map[string]any{"error": "bad_refresh_token"}
	f.clock.advance(9 * time.Hour)
	if _, _, err = recheck(t, g, next); !errors.Is(err, ErrDenied) || f.tokenForm.Get("refresh_token") != "ghr_2" {
		t.Errorf("%v after %v", err, f.tokenForm)
	}
}

func TestGitHubConfig(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*GitHubConfig)
		says   string // of the error; "" if there is to be none
	}{
		{"complete", func(*GitHubConfig) {}, ""},
		{"no client id", func(c *GitHubConfig) { c.ClientID = "" }, "client_id"},
		{"no secret", func(c *GitHubConfig) { c.ClientSecret = "" }, "client_secret"},
		{"an id with a slash", func(c *GitHubConfig) { c.ID = "a/b" }, "provider id"},
		{"an organization with a slash", func(c *GitHubConfig) { c.Organizations = []string{"acme/platform"} }, "organization"},
		{"a plain enterprise URL", func(c *GitHubConfig) { c.EnterpriseURL = "http://github.example.com" }, "enterprise_url"},
		{"an enterprise URL with a path", func(c *GitHubConfig) { c.EnterpriseURL = "https://github.example.com/api/v3" }, "enterprise_url"},
		{"no URL", func(c *GitHubConfig) { c.EnterpriseURL = "github.example.com" }, "enterprise_url"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := GitHubConfig{ID: "github", ClientID: testClientID, ClientSecret: testSecret}
			tc.change(&config)
			_, err := NewGitHub(config)
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want one about %q", err, tc.says)
			}
			checkErrorText(t, err)
		})
	}
	for enterprise, want := range map[string][3]string{
		"":                            {"GitHub", "https://github.com", "https://api.github.com"},
		"https://GitHub.example.com/": {"GitHub.example.com", "https://github.example.com", "https://github.example.com/api/v3"},
		"https://octo.ghe.com":        {"octo.ghe.com", "https://octo.ghe.com", "https://api.octo.ghe.com"},
		"http://localhost:8080":       {"localhost", "http://localhost:8080", "http://localhost:8080/api/v3"},
	} {
		g, err := NewGitHub(GitHubConfig{ID: "github", ClientID: testClientID, ClientSecret: testSecret, EnterpriseURL: enterprise})
		if err != nil || [3]string{g.Name(), g.web, g.api} != want {
			t.Errorf("%q: %v, %v", enterprise, g, err)
		}
	}
}
