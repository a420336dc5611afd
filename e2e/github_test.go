package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"
)

// gitHub is as much of a GitHub Enterprise instance as signing in needs. It signs everybody in as
// one member of acme, without asking.
type gitHub struct {
	*httptest.Server
	mu   sync.Mutex
	pkce string
	left bool
}

const gitHubToken = "gho_only-for-this-test"

func startGitHub(t *testing.T) *gitHub {
	t.Helper()
	g := new(gitHub)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login/oauth/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		g.mu.Lock()
		g.pkce = q.Get("code_challenge_method") + " " + q.Get("code_challenge")
		g.mu.Unlock()
		back := url.Values{"code": {"hub-code"}, "state": {q.Get("state")}}
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
	})
	mux.HandleFunc("POST /login/oauth/access_token", func(w http.ResponseWriter, r *http.Request) {
		verifier := r.PostFormValue("code_verifier")
		if r.PostFormValue("code") != "hub-code" || r.PostFormValue("client_secret") != clientSecret ||
			g.challenge() != "S256 "+oauth2.S256ChallengeFromVerifier(verifier) {
			writeJSON(w, map[string]any{"error": "bad_verification_code"})
			return
		}
		writeJSON(w, map[string]any{"access_token": gitHubToken, "token_type": "bearer", "scope": "read:org,read:user,user:email"})
	})
	mux.HandleFunc("GET /api/v3/", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+gitHubToken {
			http.Error(w, "bad credentials", http.StatusUnauthorized)
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		acme := map[string]any{"login": "Acme"}
		switch path := strings.TrimPrefix(r.URL.Path, "/api/v3"); {
		case path == "/user":
			writeJSON(w, map[string]any{"id": 583231, "login": "ann", "name": "Ann"})
		case path == "/user/emails":
			writeJSON(w, []any{map[string]any{"email": "ann@elsewhere.example", "primary": true, "verified": true}})
		case path == "/user/orgs" && !g.left:
			writeJSON(w, []any{acme})
		case path == "/user/teams" && !g.left:
			writeJSON(w, []any{map[string]any{"slug": "platform", "organization": acme}})
		default:
			writeJSON(w, []any{})
		}
	})
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

// challenge is the PKCE method and challenge of the last sign-in.
func (g *gitHub) challenge() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pkce
}

// leave takes everybody out of the organization.
func (g *gitHub) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = true
}
