package identity

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
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
