package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

const githubToken1 = "gho_upstream-access-token"

// fakeGitHub answers as github.com and api.github.com do, until a test falsifies an answer.
type fakeGitHub struct {
	*httptest.Server
	clock *clock

	mu        sync.Mutex
	token     map[string]any
	answers   map[string]any // by path of the API
	handlers  map[string]http.HandlerFunc
	hits      map[string]int
	tokenForm url.Values
}

func newFakeGitHub(t testing.TB) *fakeGitHub {
	t.Helper()
	f := &fakeGitHub{
		clock: newClock(),
		token: map[string]any{"access_token": githubToken1, "token_type": "bearer", "scope": "read:org,read:user,user:email"},
		answers: map[string]any{
			"/user": map[string]any{"id": 583231, "login": "ann", "name": "Ann Example", "email": "shown@hostile.example"},
			"/user/emails": []any{
				map[string]any{"email": "old@example.org", "primary": false, "verified": true},
				map[string]any{"email": "Ann@Example.com", "primary": true, "verified": true, "visibility": "private"},
			},
			"/user/orgs":  []any{organization("Acme"), organization("other")},
			"/user/teams": []any{team("Acme", "platform"), team("other", "staff")},
		},
		handlers: map[string]http.HandlerFunc{},
		hits:     map[string]int{},
	}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func organization(login string) map[string]any { return map[string]any{"login": login, "id": 1} }

func team(org, slug string) map[string]any {
	return map[string]any{"slug": slug, "name": "Whatever", "organization": organization(org)}
}

func (f *fakeGitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v3")
	f.mu.Lock()
	f.hits[path]++
	h := f.handlers[path]
	f.mu.Unlock()
	if h != nil {
		h(w, r)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if path == "/login/oauth/access_token" && r.Method == http.MethodPost {
		_ = r.ParseForm()
		f.tokenForm = r.PostForm
		writeJSON(w, f.token)
		return
	}
	answer, ok := f.answers[path]
	switch {
	case !ok:
		http.NotFound(w, r)
	case r.Header.Get("Authorization") != "Bearer "+githubToken1:
		http.Error(w, hostile, http.StatusUnauthorized)
	case path != "/user" && r.URL.Query().Get("page") != "1":
		writeJSON(w, []any{})
	default:
		writeJSON(w, answer)
	}
}

func (f *fakeGitHub) handle(path string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handlers[path] = h
}

// rerouted sends the requests for GitHub's own hosts to the fake, and no others.
type rerouted struct{ to *url.URL }

func (rt rerouted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || r.URL.Host != "github.com" && r.URL.Host != "api.github.com" {
		return nil, errors.New("request to " + r.URL.Host)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = rt.to.Scheme, rt.to.Host
	return http.DefaultTransport.RoundTrip(r)
}

func newTestGitHub(t testing.TB, f *fakeGitHub, changes ...func(*GitHubConfig)) *GitHub {
	t.Helper()
	to, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	config := GitHubConfig{
		ID: "github", ClientID: testClientID, ClientSecret: testSecret,
		HTTPClient: &http.Client{Transport: rerouted{to}}, Now: f.clock.now,
	}
	for _, change := range changes {
		change(&config)
	}
	g, err := NewGitHub(config)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func finishGitHub(t testing.TB, g *GitHub, params url.Values) (User, error) {
	t.Helper()
	u, err := g.Finish(context.Background(), testAttempt, params)
	checkErrorText(t, err)
	if err != nil && (u.Subject != "" || strings.Contains(err.Error(), githubToken1)) {
		t.Errorf("got user %+v together with error %v", u, err)
	}
	return u, err
}

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

func TestGitHubAddresses(t *testing.T) {
	email := func(address string, primary, verified any) map[string]any {
		return map[string]any{"email": address, "primary": primary, "verified": verified}
	}
	for _, tc := range []struct {
		name     string
		emails   any
		email    string
		verified bool
		err      error
	}{
		{"the primary one, verified", []any{email("a@example.com", true, true)}, "a@example.com", true, nil},
		{"the primary one, not verified", []any{email("a@example.com", true, false)}, "a@example.com", false, nil},
		{"another one that is verified", []any{email("a@example.com", false, true)}, "", false, nil},
		{"none", []any{}, "", false, nil},
		{"two primary ones", []any{email("a@example.com", true, true), email("b@example.com", true, true)}, "", false, ErrRefused},
		{"verified, says a text", []any{email("a@example.com", true, "true")}, "", false, ErrUnavailable},
		{"two addresses in one", []any{email("a@evil.example@example.com", true, true)}, "", false, nil},
		{"beyond ASCII", []any{email("a@exam\u212Ale.com", true, true)}, "", false, nil},
		{"an object", map[string]any{"email": "a@example.com"}, "", false, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeGitHub(t)
			f.answers["/user/emails"] = tc.emails
			u, err := finishGitHub(t, newTestGitHub(t, f), callback())
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil || u.Email != tc.email || u.EmailVerified != tc.verified {
				t.Errorf("%q verified %t, %v", u.Email, u.EmailVerified, err)
			}
		})
	}
}

func TestGitHubGroups(t *testing.T) {
	for _, tc := range []struct {
		name        string
		required    []string
		orgs, teams []any
		groups      []string
		err         error
	}{
		{"of required organizations only", []string{"ACME"}, []any{organization("acme"), organization("other")},
			[]any{team("acme", "platform"), team("other", "staff")}, []string{"acme", "acme/platform"}, nil},
		{"in none of the required organizations", []string{"acme"}, []any{organization("acme2"), organization("acm")}, nil, nil, ErrDenied},
		{"in a team of an organization, but not in it", []string{"acme"}, nil, []any{team("acme", "platform")}, nil, ErrDenied},
		{"a team of an organization that is not listed", nil, []any{organization("other")}, []any{team("acme", "platform")}, []string{"other"}, nil},
		{"an organization that looks like a team", nil, []any{organization("acme/platform"), organization("other")}, nil, []string{"other"}, nil},
		{"a team that looks like two", nil, []any{organization("other")}, []any{team("other", "a/b"), team("other", "a,admin"), team("other", "")}, []string{"other"}, nil},
		{"names that are no text", nil, []any{organization("gr\u00fcn"), organization("a\nb"), organization("")}, nil, nil, nil},
		{"the same twice", nil, []any{organization("acme"), organization("ACME")}, nil, []string{"acme"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeGitHub(t)
			f.answers["/user/orgs"], f.answers["/user/teams"] = tc.orgs, tc.teams
			u, err := finishGitHub(t, newTestGitHub(t, f, func(c *GitHubConfig) { c.Organizations = tc.required }), callback())
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil || !reflect.DeepEqual(u.Groups, tc.groups) {
				t.Errorf("groups %q, %v; want %q, %v", u.Groups, err, tc.groups, tc.err)
			}
		})
	}
}

func TestGitHubListingsAreReadToTheirEndAndNoFurther(t *testing.T) {
	f := newFakeGitHub(t)
	pages := func(count int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var page int
			_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
			w.Header().Set("Link", `<https://hostile.example/user/orgs?page=2>; rel="next"`)
			entries := []any{}
			for i := range githubPage {
				if page > count || page == count && i > 0 {
					break
				}
				entries = append(entries, organization(fmt.Sprintf("org-%d-%d", page, i)))
			}
			writeJSON(w, entries)
		}
	}
	f.handle("/user/orgs", pages(2))
	u, err := finishGitHub(t, newTestGitHub(t, f), callback())
	if err != nil || len(u.Groups) != githubPage+1 || f.hits["/user/orgs"] != 2 {
		t.Errorf("%d groups after %d pages, %v", len(u.Groups), f.hits["/user/orgs"], err)
	}
	f.hits = map[string]int{}
	f.handle("/user/orgs", pages(99))
	if u, err = finishGitHub(t, newTestGitHub(t, f), callback()); err != nil || len(u.Groups) != maxGroups || f.hits["/user/orgs"] != maxGitHubPages {
		t.Errorf("%d groups after %d pages, %v", len(u.Groups), f.hits["/user/orgs"], err)
	}
	f.handle("/user/orgs", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, make([]githubOrganization, githubPage+1))
	})
	if _, err = finishGitHub(t, newTestGitHub(t, f), callback()); !errors.Is(err, ErrRefused) {
		t.Errorf("a page with more entries than asked for: %v", err)
	}
}

func TestGitHubAPIThatDoesNotAnswer(t *testing.T) {
	raw := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write([]byte(body)) }
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   error
	}{
		{"a token that is not valid", raw(401, hostile), ErrDenied},
		{"a rate limit", raw(403, hostile), ErrUnavailable},
		{"too many requests", raw(429, hostile), ErrUnavailable},
		{"not found", raw(404, hostile), ErrUnavailable},
		{"out of order", raw(500, hostile), ErrUnavailable},
		{"garbage", raw(200, hostile), ErrUnavailable},
		{"a text", raw(200, `"hostile"`), ErrUnavailable},
		{"a huge body", raw(200, `[{"x":"`+strings.Repeat("x", 2<<20)+`"}]`), ErrUnavailable},
		{"a redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://hostile.example/", http.StatusFound)
		}, ErrUnavailable},
	} {
		for _, path := range []string{"/user", "/user/emails", "/user/orgs", "/user/teams"} {
			t.Run(tc.name+" at "+path, func(t *testing.T) {
				f := newFakeGitHub(t)
				f.handle(path, tc.answer)
				if _, err := finishGitHub(t, newTestGitHub(t, f), callback()); !errors.Is(err, tc.want) {
					t.Errorf("error %v, want %v", err, tc.want)
				}
			})
		}
	}
}

func TestGitHubAccounts(t *testing.T) {
	for _, tc := range []struct {
		name, body, subject, shown string
		err                        error
	}{
		{"without a name", `{"id":7,"login":"ann","name":null}`, "7", "ann", nil},
		{"with a name that is none", `{"id":7,"login":"ann","name":"\u202e\u200b"}`, "7", "ann", nil},
		{"with a large id", `{"id":9007199254740993,"login":"ann"}`, "9007199254740993", "ann", nil},
		{"without an id", `{"login":"ann"}`, "", "", ErrRefused},
		{"with the id 0", `{"id":0}`, "", "", ErrRefused},
		{"with a negative id", `{"id":-1}`, "", "", ErrRefused},
		{"with an id that is a text", `{"id":"7"}`, "", "", ErrUnavailable},
		{"with a fraction as id", `{"id":7.5}`, "", "", ErrUnavailable},
		{"with an id beyond all numbers", `{"id":1e300}`, "", "", ErrUnavailable},
		{"that is null", `null`, "", "", ErrRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeGitHub(t)
			f.answers["/user"] = json.RawMessage(tc.body)
			u, err := finishGitHub(t, newTestGitHub(t, f), callback())
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil || u.Subject != tc.subject || u.Name != tc.shown {
				t.Errorf("%+v, %v", u, err)
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
