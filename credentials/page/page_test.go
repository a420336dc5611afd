package page

import (
	"context"
	"encoding/json"
	"errors"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const (
	issuer = "https://mcp.example.com"
	here   = "/my/credentials"
)

var (
	alice = sessions.User{Issuer: "https://idp.example", Subject: "alice", Email: "alice@example.com"}
	bob   = sessions.User{Issuer: "https://idp.example", Subject: "bob", Email: "bob@example.com"}
)

// visitor is who is at the browser, and what ties forms to that browser.
type visitor struct {
	who    *sessions.Browser
	cookie string
	down   bool
}

func (w *world) visitor(user sessions.User) *visitor {
	return &visitor{who: &sessions.Browser{ID: sessions.NewID(), User: user}, cookie: w.browserCookie()}
}

func (w *world) browserCookie() string {
	w.t.Helper()
	sealed, err := w.Vault.SealJSON(sessions.ConsentCookie, sessions.NewID().String())
	if err != nil {
		w.t.Fatal(err)
	}
	return sealed
}

type trail struct {
	mu     sync.Mutex
	events []audit.Event
}

func (l *trail) Record(_ context.Context, e audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

// world is a page with two servers, and who is at the browser now.
type world struct {
	*Page
	at     *visitor
	t      *testing.T
	now    time.Time
	trail  *trail
	server *httptest.Server // the authorization server of linear
	status int              // what its token endpoint answers with instead
	revoke int              // what its revocation endpoint answers with
}

func (w *world) session(*http.Request) (*sessions.Browser, error) {
	if w.at.down {
		return nil, sessions.ErrUnavailable
	}
	return w.at.who, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC), trail: new(trail)}
	w.server = httptest.NewServer(http.HandlerFunc(w.authorizationServer))
	t.Cleanup(w.server.Close)
	clock := func() time.Time { return w.now }
	store := memstore.New(clock)
	ring, err := sessions.NewRing(sessions.RingConfig{Store: store, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	vault := &sessions.Vault{Ring: ring, Store: store, Revocations: sessions.NewRevocations(store, clock), Tenant: issuer, Now: clock}
	header, err := credentials.ParseHeader("", "")
	if err = errors.Join(err, ring.Load(t.Context()), vault.Revocations.Load(t.Context())); err != nil {
		t.Fatal(err)
	}
	oauth, err := oauthclient.New(oauthclient.Config{Server: w.server.URL, ClientID: "edge", Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	everybody := func(sessions.User) bool { return true }
	w.Page = New(Config{
		Path: here, HomePath: "/my", TokensPath: "/my/tokens",
		Keeper: credentials.New(credentials.Config{Vault: vault, Audit: w.trail, Logger: zap.NewNop(), Now: clock}),
		Servers: []Server{
			{"/github", &credentials.Upstream{Resource: issuer + "/github", Name: "GitHub tools", Header: header, Hint: "Ask Ann."}, everybody},
			{"/linear", &credentials.Upstream{Resource: issuer + "/linear", Header: header, OAuth: oauth, RedirectURI: issuer + CallbackPath("/linear")}, everybody},
			{"/payroll", &credentials.Upstream{Resource: issuer + "/payroll", Header: header}, func(u sessions.User) bool { return u.Subject == "bob" }},
		},
		Vault: vault, SiteName: "Example", Forms: forms.Forms{Origin: issuer, Vault: vault, Cookies: sessions.Cookies{Secure: true}}, Session: w.session,
		SignIn:     func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("sign in first")) },
		ClientAddr: func(*http.Request) string { return "192.0.2.1" }, Audit: w.trail, Logger: zap.NewNop(), Now: clock,
	})
	w.at = w.visitor(alice)
	return w
}

func (w *world) authorizationServer(rw http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		_ = json.NewEncoder(rw).Encode(map[string]any{
			"issuer": w.server.URL, "authorization_endpoint": w.server.URL + "/authorize",
			"token_endpoint": w.server.URL + "/token", "revocation_endpoint": w.server.URL + "/revoke",
		})
	case "/token":
		if w.status != 0 {
			rw.WriteHeader(w.status)
			return
		}
		_, _ = rw.Write([]byte(`{"access_token":"lin_1","token_type":"bearer"}`))
	case "/revoke":
		if w.revoke != 0 {
			rw.WriteHeader(w.revoke)
		}
	default:
		http.NotFound(rw, r)
	}
}

// send sends a request to one of the page's paths.
func (w *world) send(method, target string, form url.Values) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequest(method, issuer+target, strings.NewReader(form.Encode()))
	if r.TLS.HandshakeComplete = true; form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if w.at.cookie != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-" + sessions.ConsentCookieName, Value: w.at.cookie})
	}
	endpoint := w.Endpoint(r.URL.Path)
	if endpoint == nil {
		w.t.Fatalf("nothing is at %s", target)
	}
	recorder := httptest.NewRecorder()
	endpoint(recorder, r)
	if body := recorder.Body.String(); strings.Contains(body, "ghp_") || strings.Contains(body, "lin_") {
		w.t.Errorf("a credential is shown\n%s", body)
	}
	return recorder
}

var ticketField = regexp.MustCompile(`name="ticket" value="([^"]+)"`)

// ticket opens the page and returns the ticket in it.
func (w *world) ticket() string {
	w.t.Helper()
	match := ticketField.FindStringSubmatch(w.send(http.MethodGet, here, nil).Body.String())
	if match == nil {
		w.t.Fatal("the page has no ticket")
	}
	return html.UnescapeString(match[1])
}

// press opens the page and sends one of its forms.
func (w *world) press(server, action string, more ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	form := url.Values{"ticket": {w.ticket()}, "id": {server}, "do": {action}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return w.send(http.MethodPost, here, form)
}

// state is what there is of the person at the browser.
func (w *world) state(server string) credentials.State {
	w.t.Helper()
	state, err := w.Keeper.State(w.t.Context(), w.at.who.User, w.Config.Servers[slices.IndexFunc(w.Servers, func(s Server) bool { return s.ID == server })].Upstream)
	if err != nil {
		w.t.Fatal(err)
	}
	return state
}

func wantPage(t *testing.T, r *httptest.ResponseRecorder, status int, words string) {
	t.Helper()
	if r.Code != status || !strings.Contains(r.Body.String(), words) {
		t.Errorf("status %d, want %d and %q\n%s", r.Code, status, words, r.Body)
	}
}

func wantBack(t *testing.T, r *httptest.ResponseRecorder, done notice) {
	t.Helper()
	if r.Code != http.StatusSeeOther || r.Header().Get("Location") != here+"?done="+string(done) || notices[done] == "" {
		t.Errorf("status %d, %v\n%s", r.Code, r.Header(), r.Body)
	}
}

func TestStoringReplacingAndRemoving(t *testing.T) {
	w := newWorld(t)
	wantPage(t, w.send(http.MethodGet, here, nil), 200, "Nothing stored")
	wantBack(t, w.press("/github", "store", "credential", " ghp_1\r\n"), stored)
	if !w.state("/github").Stored || w.state("/linear").Stored {
		t.Error("stored in another place, or not at all")
	}
	wantPage(t, w.send(http.MethodGet, here, nil), 200, "just now")
	wantBack(t, w.press("/github", "store", "credential", "ghp_2"), stored)
	wantBack(t, w.press("/github", "remove"), removed)
	wantBack(t, w.press("/github", "remove"), removed)
	if w.state("/github").Stored {
		t.Error("removed, and still there")
	}
	var want []audit.Event
	for _, reason := range []string{"upstream token stored", "upstream token stored in the place of another", "upstream token removed"} {
		want = append(want, audit.Event{
			Type: audit.CredentialChanged, Allowed: true, Reason: reason, By: audit.ByPerson,
			Subject: "alice", Email: "alice@example.com", Resource: issuer + "/github", ClientAddr: "192.0.2.1",
		})
	}
	if !slices.Equal(w.trail.events, want) {
		t.Errorf("audited %+v", w.trail.events)
	}
}

func TestWhatIsNoTokenIsExplainedBesideItsField(t *testing.T) {
	w := newWorld(t)
	for _, secret := range []string{"", "two words", "ghp_1\nghp_2", "tökn"} {
		r := w.press("/github", "store", "credential", secret)
		wantPage(t, r, 400, "That is no token")
		if !strings.Contains(r.Body.String(), `aria-invalid="true"`) {
			t.Error("the field is not marked")
		}
	}
	if w.state("/github").Stored || len(w.trail.events) != 0 {
		t.Error("something was stored")
	}
}

func TestConnectingAndDisconnecting(t *testing.T) {
	w := newWorld(t)
	r := w.press("/linear", "connect")
	target, err := url.Parse(r.Header().Get("Location"))
	if err != nil || r.Code != http.StatusSeeOther || !strings.HasPrefix(target.String(), w.server.URL+"/authorize?") {
		t.Fatalf("status %d, %v", r.Code, r.Header())
	}
	q := target.Query()
	if q.Get("redirect_uri") != issuer+"/oauth2/connect/linear/callback" {
		t.Errorf("redirect URI %s", q.Get("redirect_uri"))
	}
	callback := CallbackPath("/linear") + "?" + url.Values{"code": {"c"}, "state": {q.Get("state")}}.Encode()
	wantBack(t, w.send(http.MethodGet, callback, nil), connected)
	wantPage(t, w.send(http.MethodGet, callback, nil), 400, "finished already")
	wantPage(t, w.send(http.MethodGet, here, nil), 200, "Connected")
	w.revoke = http.StatusServiceUnavailable
	wantPage(t, w.press("/linear", "disconnect"), 200, "could not be told")
	var reasons []string
	for _, e := range w.trail.events {
		reasons = append(reasons, e.Reason)
	}
	want := []string{"upstream account connected", "upstream account not begun here", "upstream account disconnected; the authorization server could not be told"}
	if w.state("/linear").Stored || !slices.Equal(reasons, want) {
		t.Errorf("%+v, audited %q", w.state("/linear"), reasons)
	}
}

// An account that somebody else began to connect is not planted here, and not the reverse.
func TestACallbackInAnotherBrowserOrForAnotherPersonIsRefused(t *testing.T) {
	w := newWorld(t)
	target, err := url.Parse(w.press("/linear", "connect").Header().Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	callback := CallbackPath("/linear") + "?" + url.Values{"code": {"c"}, "state": {target.Query().Get("state")}}.Encode()
	begun := w.at
	for name, other := range map[string]*visitor{
		"another person":                  w.visitor(bob),
		"another browser":                 {who: begun.who, cookie: w.browserCookie()},
		"a browser without a cookie":      {who: begun.who},
		"another person at this browser":  {who: &sessions.Browser{ID: sessions.NewID(), User: bob}, cookie: begun.cookie},
		"the same person, signed in anew": {who: &sessions.Browser{ID: sessions.NewID(), User: alice}, cookie: begun.cookie},
	} {
		w.at = other
		wantPage(t, w.send(http.MethodGet, callback, nil), 400, "Nothing was stored")
		if w.state("/linear").Stored {
			t.Errorf("%s: an account was connected", name)
		}
	}
	w.at = &visitor{cookie: begun.cookie}
	wantPage(t, w.send(http.MethodGet, callback, nil), 403, "nobody is signed in")
	w.at = begun
	wantPage(t, w.send(http.MethodPost, callback, nil), 405, "")
	wantBack(t, w.send(http.MethodGet, callback, nil), connected)
}

func TestWhatTheOtherServiceSays(t *testing.T) {
	for _, tc := range []struct {
		name   string
		params url.Values
		token  int
		status int
		words  string
		reason string
	}{
		{"declined", url.Values{"error": {"access_denied"}}, 0, 200, "declined", "upstream account declined"},
		{"an error", url.Values{"error": {"<b>x</b>"}}, 0, 502, "did not pass", "the upstream's authorization server gave an answer that does not pass"},
		{"of another server", url.Values{"code": {"c"}, "iss": {"https://evil.example"}}, 0, 502, "did not pass", "the upstream's authorization server gave an answer that does not pass"},
		{"a code that is refused", url.Values{"code": {"c"}}, 400, 502, "did not pass", "the upstream's authorization server gave an answer that does not pass"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.status = tc.token
			target, err := url.Parse(w.press("/linear", "connect").Header().Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			tc.params.Set("state", target.Query().Get("state"))
			r := w.send(http.MethodGet, CallbackPath("/linear")+"?"+tc.params.Encode(), nil)
			wantPage(t, r, tc.status, tc.words)
			if strings.Contains(r.Body.String(), "<b>x") || w.state("/linear").Stored {
				t.Errorf("stored, or shown\n%s", r.Body)
			}
			if len(w.trail.events) != 1 || w.trail.events[0].Allowed || w.trail.events[0].Reason != tc.reason {
				t.Errorf("audited %+v", w.trail.events)
			}
		})
	}
}

func TestFormsOfOtherPagesPeopleAndTimesAreRefused(t *testing.T) {
	w := newWorld(t)
	mine := w.at
	good := func() url.Values {
		return url.Values{"ticket": {w.ticket()}, "id": {"/github"}, "do": {"store"}, "credential": {"ghp_1"}}
	}
	form := good()
	w.at = w.visitor(bob)
	wantPage(t, w.send(http.MethodPost, here, form), 400, "expired")
	w.at = &visitor{who: mine.who, cookie: w.browserCookie()}
	wantPage(t, w.send(http.MethodPost, here, form), 400, "expired")
	w.at = &visitor{who: &sessions.Browser{ID: sessions.NewID(), User: alice}, cookie: mine.cookie}
	wantPage(t, w.send(http.MethodPost, here, form), 400, "expired")
	w.at = &visitor{cookie: mine.cookie}
	wantPage(t, w.send(http.MethodPost, here, form), 403, "nobody is signed in")
	w.at = mine
	form.Set("ticket", "mcpuc_x")
	wantPage(t, w.send(http.MethodPost, here, form), 400, "expired")
	wantPage(t, w.send(http.MethodPut, here, good()), 405, "for a browser")

	foreign := httptest.NewRequest(http.MethodPost, issuer+here, strings.NewReader(good().Encode()))
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	foreign.TLS.HandshakeComplete = true
	recorder := httptest.NewRecorder()
	w.Endpoint(here)(recorder, foreign)
	wantPage(t, recorder, 403, "another website")

	for name, change := range map[string][2]string{
		"no such server":               {"id", "/other"},
		"a server that is not theirs":  {"id", "/payroll"},
		"no such action":               {"do", "steal"},
		"an action of another server":  {"do", "connect"},
		"disconnecting a stored token": {"do", "disconnect"},
	} {
		form := good()
		form.Set(change[0], change[1])
		if r := w.send(http.MethodPost, here, form); r.Code != 400 && r.Code != 404 {
			t.Errorf("%s: status %d", name, r.Code)
		}
	}
	if w.state("/github").Stored {
		t.Error("something was stored")
	}
	// Once for all that one address sends.
	w.Endpoint(here)(httptest.NewRecorder(), foreign)
	wantDenied(t, w, "form sent from another site", "")
}

// wantDenied wants one refusal to be recorded, and nothing else.
func wantDenied(t *testing.T, w *world, reason, resource string) {
	t.Helper()
	want := audit.Event{Type: audit.AccessDenied, Reason: reason, Subject: "alice", Email: "alice@example.com", Resource: resource, ClientAddr: "192.0.2.1"}
	if len(w.trail.events) != 1 || w.trail.events[0] != want {
		t.Errorf("recorded %+v, want %+v", w.trail.events, want)
	}
}

func TestPeopleSeeTheServersThatTheyMayUse(t *testing.T) {
	w := newWorld(t)
	if body := w.send(http.MethodGet, here, nil).Body.String(); strings.Contains(body, "payroll") || !strings.Contains(body, "Ask Ann.") {
		t.Errorf("alice sees\n%s", body)
	}
	w.at = w.visitor(bob)
	wantPage(t, w.send(http.MethodGet, here, nil), 200, issuer+"/payroll")
	w.at = new(visitor)
	wantPage(t, w.send(http.MethodGet, here, nil), 200, "sign in first")
	w.at = &visitor{down: true}
	r := w.send(http.MethodGet, here, nil)
	wantPage(t, r, 503, "session store")
	if r.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// Somebody whom the allow rules have let go in the meantime connects nothing any more.
func TestACallbackCountsForPeopleWhoMayUseTheServer(t *testing.T) {
	w := newWorld(t)
	answer := w.press("/linear", pages.DoConnect)
	q := must(url.Parse(answer.Header().Get("Location"))).Query()
	w.Servers[1].Allows = func(u sessions.User) bool { return u.Subject != "alice" }
	back := CallbackPath("/linear") + "?" + url.Values{"code": {"c"}, "state": {q.Get("state")}}.Encode()
	wantPage(t, w.send(http.MethodGet, back, nil), http.StatusBadRequest, "Not connected")
	if state := w.state("/linear"); state.Stored {
		t.Errorf("stored: %+v", state)
	}
	wantDenied(t, w, "upstream account not begun here", issuer+"/linear")
}

// A request in TLS early data can be recorded and sent again by anybody (RFC 8470), and a callback takes the
// state with it.
func TestACallbackInEarlyDataIsNotTaken(t *testing.T) {
	w := newWorld(t)
	endpoint := w.Endpoint(CallbackPath("/linear"))
	r := httptest.NewRequest(http.MethodGet, issuer+CallbackPath("/linear")+"?code=c&state=s", nil)
	r.TLS.HandshakeComplete = false
	recorder := httptest.NewRecorder()
	endpoint(recorder, r)
	wantPage(t, recorder, http.StatusTooEarly, "too early")
}

func must(u *url.URL, err error) *url.URL {
	if err != nil {
		panic(err)
	}
	return u
}

func TestConnectingToAServerThatIsDown(t *testing.T) {
	w := newWorld(t)
	w.server.Close()
	wantPage(t, w.press("/linear", "connect"), 503, "cannot be reached")
}

// No two servers share a callback, so that an answer of one never passes for another's.
func TestEachServerHasACallbackOfItsOwn(t *testing.T) {
	seen := make(map[string]string)
	for _, resource := range []string{"", "/a", "/a/b", "/a-b", "/callback", "/a/callback", "/callback/callback"} {
		path := CallbackPath(resource)
		if other, taken := seen[path]; taken {
			t.Errorf("%q and %q have the same callback %s", resource, other, path)
		}
		seen[path] = resource
	}
	w := newWorld(t)
	for path, want := range map[string]bool{
		here: true, "/oauth2/connect/linear/callback": true, "/oauth2/connect/github/callback": false, "/oauth2/connect/Linear/callback": false,
		here + "/": false, "/my/Credentials": false,
	} {
		if got := w.Endpoint(path) != nil; got != want {
			t.Errorf("%s is answered: %t", path, got)
		}
	}
}

// A link cannot put words onto the page that are not ours.
func TestOnlyWhatWasDoneIsSaid(t *testing.T) {
	w := newWorld(t)
	wantPage(t, w.send(http.MethodGet, here+"?done=stored", nil), 200, "The token is stored")
	for _, query := range []string{"?done=%3Cb%3Epwned", "?done=pwned", "?done=stored&done=removed"} {
		if body := w.send(http.MethodGet, here+query, nil).Body.String(); strings.Contains(body, "pwned") || strings.Contains(body, `role="status"`) {
			t.Errorf("%s: %s", query, body)
		}
	}
}

// Interface guards
var _ audit.Recorder = (*trail)(nil)
