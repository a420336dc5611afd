package mcpauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// ownCredentials is where people give credentials on a site that is ours in parts.
const ownCredentials = "/oauth2/my/credentials"

// newCredentialHandler wants a token of each person at /github and in another header at /forge, and none
// at /linear.
func newCredentialHandler(tb testing.TB) *Handler {
	tb.Helper()
	resources := []*Resource{
		{Paths: []string{"/github"}, Name: "GitHub tools", Credentials: new(Credentials)},
		{Paths: []string{"/forge"}, Credentials: &Credentials{Header: "X-Forge-Token"}},
		{Paths: []string{"/linear"}},
	}
	for _, r := range resources {
		if err := r.Credentials.load(); err != nil {
			tb.Fatal(err)
		}
	}
	return newTestHandler(tb, resources...)
}

// person is the owner of the tokens that h.token issues.
var person = sessions.User{
	Issuer: "https://idp.example.com", Subject: "10769150350006150715113082367", Email: "alice@example.com", Name: "Alice",
}

// signIn gives a browser a session and the cookie that ties forms to it.
func signIn(t *testing.T, h *Handler, user sessions.User) []*http.Cookie {
	t.Helper()
	session, err := h.fixed.vault.CreateBrowser(t.Context(), sessions.Browser{User: user, AuthTime: time.Now()}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	browser, err := h.fixed.vault.SealJSON(sessions.ConsentCookie, sessions.NewID().String())
	if err != nil {
		t.Fatal(err)
	}
	return []*http.Cookie{{Name: "__Host-mcp_auth_session", Value: session}, {Name: "__Host-mcp_auth_consent", Value: browser}}
}

// browse sends what a browser sends, and returns the answer.
func browse(t *testing.T, h *Handler, cookies []*http.Cookie, path string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	r := httptest.NewRequest(method, testIssuer+path, strings.NewReader(form.Encode()))
	r.TLS.HandshakeComplete = true
	for _, c := range cookies {
		r.AddCookie(c)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), new(upstream)); err != nil {
		t.Fatalf("serving %s: %v", path, err)
	}
	return w
}

var ticketOfPage = regexp.MustCompile(`name="ticket" value="([^"]+)"`)

// give stores a token on the page.
func give(t *testing.T, h *Handler, cookies []*http.Cookie, server, secret string) {
	t.Helper()
	match := ticketOfPage.FindStringSubmatch(browse(t, h, cookies, ownCredentials, nil).Body.String())
	if match == nil {
		t.Fatal("the page has no ticket")
	}
	w := browse(t, h, cookies, ownCredentials, url.Values{"ticket": {match[1]}, "id": {server}, "do": {"store"}, "credential": {secret}})
	if w.Code != http.StatusSeeOther {
		t.Fatalf("storing: %d %s", w.Code, w.Body)
	}
}

// callTool sends a tool call and returns what comes back, and what reached the upstream.
func callTool(t *testing.T, h *Handler, path, token string) (*httptest.ResponseRecorder, *http.Request, error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, testIssuer+path, strings.NewReader(`{"jsonrpc":"2.0","id":7,"method":"tools/call"}`))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Forge-Token", "forged")
	r.Header["X_forge_token"] = []string{"forged"}
	var got *http.Request
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		got = r.Clone(r.Context()) // what is there now is taken out again
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, nil), next)
	return w, got, err
}

func TestAPersonsCredentialReachesItsUpstreamAndNoOther(t *testing.T) {
	h := newCredentialHandler(t)
	cookies := signIn(t, h, person)
	give(t, h, cookies, "/github", "ghp_alice")
	give(t, h, cookies, "/forge", "forge_alice")
	for _, tc := range []struct{ path, authorization, forge string }{
		{"/github", "Bearer ghp_alice", "forged"},
		{"/forge", "", "forge_alice"},
		{"/linear", "", "forged"},
	} {
		w, got, err := callTool(t, h, tc.path, h.token(t, testIssuer+tc.path, nil))
		if err != nil || w.Code != http.StatusNoContent {
			t.Fatalf("%s: %d, %v", tc.path, w.Code, err)
		}
		if a, f := got.Header.Get("Authorization"), got.Header.Get("X-Forge-Token"); a != tc.authorization || f != tc.forge {
			t.Errorf("%s: the upstream got %q and %q", tc.path, a, f)
		}
		if tc.path == "/forge" && got.Header["X_forge_token"] != nil {
			t.Error("another spelling of the header went through")
		}
		for name, values := range got.Header {
			if strings.Contains(strings.Join(values, " "), "mcpat_") {
				t.Errorf("%s: the access token reached the upstream in %s", tc.path, name)
			}
		}
	}
	w, got, err := callTool(t, h, "/github", h.token(t, testIssuer+"/github", func(a *sessions.Access) { a.Subject = "bob" }))
	if err != nil || got != nil || w.Code != 200 || !strings.Contains(w.Body.String(), testIssuer+ownCredentials) {
		t.Errorf("somebody else: %d %s, %v", w.Code, w.Body, err)
	}
}

// Clients and tokens of the operator's are nobody's: there is no person whose credential they could use.
func TestMachinesAndServiceTokensGetNobodysCredential(t *testing.T) {
	h := newCredentialHandler(t)
	nightly := &Client{ID: "nightly", Secret: machineSecret, GrantTypes: []string{"client_credentials"}, Resources: []string{"/github"}}
	if err := h.configure(t, nightly); err != nil {
		t.Fatal(err)
	}
	machine := sessions.User{Issuer: testIssuer, Subject: "client:nightly", Email: "alice@example.com"}
	// Even if somebody had managed to store one in its name.
	give(t, h, signIn(t, h, machine), "/github", "ghp_machine")
	token := h.token(t, testIssuer+"/github", func(a *sessions.Access) {
		a.UserIssuer, a.Subject, a.Email, a.Groups, a.ClientID = testIssuer, "client:nightly", "", "", "nightly"
	})
	w, got, err := callTool(t, h, "/github", token)
	var answer struct {
		ID    int
		Error struct{ Message string }
	}
	if err != nil || got != nil || json.Unmarshal(w.Body.Bytes(), &answer) != nil {
		t.Fatalf("%d %s, %v; reached the upstream: %t", w.Code, w.Body, err, got != nil)
	}
	if answer.ID != 7 || !strings.Contains(answer.Error.Message, "acts in its own name") {
		t.Errorf("the answer is %s", w.Body)
	}
}

// Who has left is refused before anybody looks for a credential, and so is a revoked token; the person's
// other access goes on.
func TestSomebodyWhoHasLeftCannotUseTheirCredential(t *testing.T) {
	h := newCredentialHandler(t)
	give(t, h, signIn(t, h, person), "/github", "ghp_alice")
	token := h.token(t, testIssuer+"/github", func(a *sessions.Access) { a.Email = "alice@gone.example" })
	_, got, err := callTool(t, h, "/github", token)
	failed, ok := err.(caddyhttp.HandlerError)
	if !ok || failed.StatusCode != http.StatusForbidden || got != nil {
		t.Errorf("error %v, reached the upstream: %t", err, got != nil)
	}
	gone := person
	gone.Email = "alice@gone.example"
	if w := browse(t, h, signIn(t, h, gone), ownCredentials, nil); strings.Contains(w.Body.String(), "Your credentials") {
		t.Errorf("the page: %d %s", w.Code, w.Body)
	}
}

func TestThePageIsThereOnlyWhereItIsNeeded(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/github"}})
	r, _ := request(http.MethodGet, testIssuer+ownCredentials, nil)
	if _, _, got := serve(t, h, r); got == nil {
		t.Error("a site without credentials answers the path itself")
	}
	h = newCredentialHandler(t)
	for path, want := range map[string]string{ownCredentials: "Your credentials", "/oauth2/my": ownCredentials, "/oauth2/my/tokens": ownCredentials} {
		if w := browse(t, h, nil, path, nil); w.Code != http.StatusOK || strings.Contains(w.Body.String(), want) {
			t.Errorf("%s for nobody: %d %s", path, w.Code, w.Body)
		}
		if w := browse(t, h, signIn(t, h, person), path, nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// The access log writes addresses; the callback's has a code in it.
func TestTheCallbackIsKeptOutOfTheAccessLog(t *testing.T) {
	resources := []*Resource{{Paths: []string{"/linear"}, Credentials: &Credentials{OAuth: &CredentialsOAuth{
		Server: "https://linear.example", ClientID: "edge", AuthorizationEndpoint: "https://linear.example/authorize", TokenEndpoint: "https://linear.example/token",
	}}}}
	if err := resources[0].Credentials.load(); err != nil {
		t.Fatal(err)
	}
	h := newTestHandler(t, resources...)
	r, _ := request(http.MethodGet, testIssuer+"/oauth2/connect/linear/callback?code=secret&state=x", nil)
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, r, new(upstream)); err != nil || w.Code != http.StatusForbidden {
		t.Errorf("%d, %v", w.Code, err)
	}
	if skip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool); !skip {
		t.Error("it is written to the access log")
	}
}

func TestValidateCredentials(t *testing.T) {
	t.Setenv("TEST_CREDENTIAL_SECRET", "s3cret")
	const site = "issuer https://mcp.example.com\noidc https://idp.example.com {\nclient_id edge\n}\nallow any\n"
	oauth := func(lines string) string {
		return site + "resource /a {\ncredentials oauth https://as.example.com {\nclient_id edge\n" + lines + "\n}\n}\n"
	}
	for _, tc := range []struct{ name, block, want string }{
		{"a typed token", site + "resource /a {\ncredentials\n}\n", ""},
		{"an account", oauth("client_secret {env.TEST_CREDENTIAL_SECRET}"), ""},
		{"a secret whose variable is not set", oauth("client_secret {env.TEST_UNSET}"), "env.TEST_UNSET"},
		{"a header that says who calls", site + "resource /a {\ncredentials {\nheader X-Forwarded-User\n}\n}\n", "who is calling"},
		{"the header of the assertion", site + "identity_assertion\nresource /a {\ncredentials {\nheader X-Mcp-Identity\n}\n}\n", "who is calling"},
		{"a resource over the page", site + "portal /my\nresource /my {\ncredentials\n}\n", "portal /my lies in"},
		{"no page", site + "portal off\nresource /a {\ncredentials\n}\n", "portal off"},
		{"nobody signs in", "issuer https://mcp.example.com\nauthorization_server https://as.example.com {\naudience a\n}\nallow any\nresource /a {\ncredentials\n}\n", "sign in on this site"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(t, ":8080 {\nmcp_auth {\n"+tc.block+"}\n}\n")
			if (tc.want == "") != (err == nil) || err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// BenchmarkCredential compares a guarded request with one that gets its person's credential as well.
func BenchmarkCredential(b *testing.B) {
	h := newCredentialHandler(b)
	upstream := h.fixed.resources.all[0].credentials
	if _, err := upstream.Keeper.Put(b.Context(), person, upstream.Upstream, "ghp_alice"); err != nil {
		b.Fatal(err)
	}
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	for _, path := range []string{"/linear", "/github"} {
		b.Run(path[1:], func(b *testing.B) {
			token := []string{"Bearer " + h.token(b, testIssuer+path, nil)}
			template := httptest.NewRequest(http.MethodPost, testIssuer+path, nil)
			b.ReportAllocs()
			for b.Loop() {
				r := template.WithContext(context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewEmptyReplacer()))
				r.Header = http.Header{"Authorization": token, "Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"}}
				if err := h.ServeHTTP(httptest.NewRecorder(), r, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// People are asked only for credentials of servers that they may use, and can store none for others.
func TestPeopleGiveCredentialsForWhatTheyMayUse(t *testing.T) {
	resources := []*Resource{
		{Paths: []string{"/github"}, Credentials: new(Credentials)},
		{Paths: []string{"/payroll"}, Credentials: new(Credentials), Allow: &Allow{Emails: []string{"bob@example.com"}}},
	}
	for _, r := range resources {
		if err := r.Credentials.load(); err != nil {
			t.Fatal(err)
		}
	}
	h := newTestHandler(t, resources...)
	cookies := signIn(t, h, person)
	page := browse(t, h, cookies, ownCredentials, nil).Body.String()
	if !strings.Contains(page, testIssuer+"/github") || strings.Contains(page, testIssuer+"/payroll") {
		t.Errorf("the page lists the wrong servers: %s", page)
	}
	ticket := ticketOfPage.FindStringSubmatch(page)[1]
	w := browse(t, h, cookies, ownCredentials, url.Values{"ticket": {ticket}, "id": {"/payroll"}, "do": {"store"}, "credential": {"secret"}})
	if w.Code != http.StatusNotFound {
		t.Errorf("storing for a server that she may not use: %d", w.Code)
	}
}

// What will pass by itself is answered with 503, which clients try again; it is no failure of ours.
func TestWithoutTheStoreOrTheAuthorizationServerCallsAreToComeBack(t *testing.T) {
	resources := []*Resource{{Paths: []string{"/linear"}, Credentials: &Credentials{OAuth: &CredentialsOAuth{
		Server: "http://localhost:1", ClientID: "edge", AuthorizationEndpoint: "http://localhost:1/authorize", TokenEndpoint: "http://localhost:1/token",
	}}}}
	if err := resources[0].Credentials.load(); err != nil {
		t.Fatal(err)
	}
	h := newTestHandler(t, resources...)
	up := h.fixed.resources.all[0].credentials.Upstream
	_, err := h.fixed.vault.UpdateCredential(t.Context(), person.Key(), up.Resource, time.Hour, func(c *sessions.Credential) error {
		c.Version, c.Source, c.Issuer = sessions.NewID(), "http://localhost:1 edge", "http://localhost:1"
		c.Secret, c.Refresh, c.ExpiresAt = "lin_1", "refresh", time.Now().Add(-time.Minute) // and nobody to refresh it
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []bool{false, true} {
		name := "the authorization server"
		if broken {
			name = "the store"
			h.fixed.vault.Store = downStore{h.fixed.vault.Store}
		}
		w, got, err := callTool(t, h, "/linear", h.token(t, up.Resource, func(a *sessions.Access) {
			if broken {
				a.Subject = "bob" // of whom no copy is in memory
			}
		}))
		var failed caddyhttp.HandlerError
		if !errors.As(err, &failed) || failed.StatusCode != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || got != nil {
			t.Errorf("without %s: %v, %v", name, err, w.Header())
		}
	}
}

// downStore gives nothing away.
type downStore struct{ sessions.Store }

func (downStore) Get(context.Context, string) ([]byte, error) { return nil, errors.New("down") }
