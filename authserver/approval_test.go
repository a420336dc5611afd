package authserver_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const (
	consentIssuer = "https://mcp.example.com"
	webRedirect   = "https://app.example.org/callback"
)

// consentWorld is a server with one person, who is signed in.
type consentWorld struct {
	t      *testing.T
	now    time.Time
	vault  *sessions.Vault
	known  clients.Client
	scopes authserver.Resource
	cookie string
	user   sessions.User
	policy access.Rule

	asksAbout string // the resource of the resource server
	providers []identity.Provider
}

type oneResource struct{ r *authserver.Resource }

func (o oneResource) Find(uri string) *authserver.Resource {
	if uri != o.r.URI {
		return nil
	}
	return o.r
}
func (o oneResource) Default() *authserver.Resource { return o.r }
func (o oneResource) All() []*authserver.Resource   { return []*authserver.Resource{o.r} }

func newConsentWorld(t *testing.T) *consentWorld {
	t.Helper()
	w := &consentWorld{t: t, now: time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)}
	now := func() time.Time { return w.now }
	store := memstore.New(now)
	ring, err := sessions.NewRing(sessions.RingConfig{Store: store, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	w.vault = &sessions.Vault{Ring: ring, Store: store, Revocations: sessions.NewRevocations(store, now), Tenant: consentIssuer, Now: now}
	if err := ring.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.vault.Revocations.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.known = clients.Client{ID: "app", Name: "App", RedirectURIs: []string{webRedirect, "http://localhost/callback", "cursor://app/callback"}}
	w.setScopes([]access.Implication{{Scope: "write", Others: []string{"read"}}}, "read", "write", "admin")
	w.asksAbout, w.policy = w.scopes.URI, access.Rule{Kind: access.Domain, Value: "example.com"}
	w.user = sessions.User{Issuer: "local", Subject: "ada", Email: "ada@example.com"}
	w.signIn(w.user)
	return w
}

func (w *consentWorld) setScopes(implies []access.Implication, scopes ...string) {
	w.t.Helper()
	hierarchy, err := access.NewScopes(scopes, nil, implies)
	if err != nil {
		w.t.Fatal(err)
	}
	w.scopes = authserver.Resource{URI: consentIssuer + "/tools", Scopes: scopes, Hierarchy: hierarchy}
}

func (w *consentWorld) signIn(u sessions.User) {
	w.t.Helper()
	var err error
	w.cookie, err = w.vault.CreateBrowser(w.t.Context(), sessions.Browser{User: u, AuthTime: w.now}, 30*24*time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
}

// server is the server with what is configured now.
func (w *consentWorld) server() *authserver.Server {
	w.t.Helper()
	known, err := clients.CheckStatic(w.known, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	policy, err := access.NewPolicy([]access.Rule{w.policy})
	if err != nil {
		w.t.Fatal(err)
	}
	now := func() time.Time { return w.now }
	asking, err := clients.ResourceServer("tools-server", secretHash(w.t, toolsSecret))
	if err != nil {
		w.t.Fatal(err)
	}
	public := known
	public.ID, public.AuthMethod, public.Secret = "public", clients.AuthNone, clients.SecretHash{}
	return authserver.New(authserver.Config{
		ResourceServers: []authserver.ResourceServer{{Client: asking, Resource: w.asksAbout}},
		Providers:       w.providers,
		Issuer:          consentIssuer, Resources: oneResource{&w.scopes}, Policy: policy, Vault: w.vault,
		Clients:   clients.New(clients.Config{Ring: w.vault.Ring, Tenant: consentIssuer, Now: now, Static: []clients.Client{known, public}}),
		Cookies:   sessions.Cookies{Secure: true},
		Lifetimes: authserver.DefaultLifetimes(), ClientAddr: func(*http.Request) string { return "192.0.2.1" },
		Audit: audit.Discard{}, Logger: zap.NewNop(), Now: now,
	})
}

// authorize sends an authorization request; change may alter its parameters.
func (w *consentWorld) authorize(method string, change func(url.Values)) *http.Response {
	w.t.Helper()
	q := url.Values{
		"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {webRedirect}, "state": {"xyz"}, "scope": {"write"},
		"code_challenge": {strings.Repeat("A", 43)}, "code_challenge_method": {"S256"}, "resource": {consentIssuer + "/tools"},
	}
	if change != nil {
		change(q)
	}
	return w.do(httptest.NewRequest(method, consentIssuer+authserver.AuthorizePath+"?"+q.Encode(), nil))
}

func (w *consentWorld) do(r *http.Request) *http.Response {
	w.t.Helper()
	r = r.WithContext(context.WithoutCancel(w.t.Context()))
	if w.cookie != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-" + sessions.SessionCookieName, Value: w.cookie})
	}
	answer := httptest.NewRecorder()
	w.server().Endpoint(r.URL.Path)(answer, r)
	return answer.Result()
}

// decide answers the consent page that page is.
func (w *consentWorld) decide(page *http.Response, decision string) *http.Response {
	w.t.Helper()
	body := make([]byte, 64<<10)
	n, _ := page.Body.Read(body)
	_, after, ok := strings.Cut(string(body[:n]), `name="ticket" value="`)
	if !ok {
		w.t.Fatalf("no consent page: status %d, %s", page.StatusCode, page.Header.Get("Location"))
	}
	ticket, _, _ := strings.Cut(after, `"`)
	r := httptest.NewRequest(http.MethodPost, consentIssuer+authserver.ConsentPath,
		strings.NewReader(url.Values{"ticket": {ticket}, "decision": {decision}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, cookie := range page.Cookies() {
		r.AddCookie(cookie)
	}
	return w.do(r)
}

// outcome says in one word what the answer is: page, code, or the error that the client is told.
func outcome(t *testing.T, r *http.Response) string {
	t.Helper()
	location, err := r.Location()
	if err != nil {
		return "page"
	}
	q := location.Query()
	if q.Get("iss") != consentIssuer || q.Get("state") != "xyz" {
		t.Errorf("redirect without issuer or state: %s", location.Redacted())
	}
	if q.Has("code") {
		return "code"
	}
	return q.Get("error")
}

func TestARememberedConsent(t *testing.T) {
	set := func(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
	loopback := set("redirect_uri", "http://localhost:4711/callback")
	for _, tc := range []struct {
		name    string
		consent func(url.Values) // how the consented request differs
		change  func(*consentWorld)
		again   func(url.Values) // how the second request differs
		want    string
	}{
		{"the same again", nil, nil, nil, "code"},
		{"the same again, without a page", nil, nil, set("prompt", "none"), "code"},
		{"a scope that was included", nil, nil, set("scope", "read"), "code"},
		{"the scope and the included one", nil, nil, set("scope", "read write offline_access"), "code"},
		{"a wider scope", nil, nil, set("scope", "write admin"), "page"},
		{"another scope", nil, nil, set("scope", "admin"), "page"},
		{"a wider scope with prompt none", nil, nil, func(q url.Values) { q.Set("scope", "admin"); q.Set("prompt", "none") }, "consent_required"},
		{"no scope, which is all of them", nil, nil, func(q url.Values) { q.Del("scope") }, "page"},
		{"the page is asked for", nil, nil, set("prompt", "consent"), "page"},
		{"a new sign-in is asked for", nil, nil, set("prompt", "login"), "page"},
		{"a new sign-in is asked for by age", nil, nil, set("max_age", "0"), "page"},
		{"another account is asked for", nil, nil, set("prompt", "select_account"), "page"},
		{"an unknown prompt", nil, nil, set("prompt", "create"), "code"},
		{"a loopback redirect", loopback, nil, loopback, "page"},
		{"a loopback redirect with prompt none", loopback, nil, func(q url.Values) { loopback(q); q.Set("prompt", "none") }, "consent_required"},
		{"a private scheme", set("redirect_uri", "cursor://app/callback"), nil, set("redirect_uri", "cursor://app/callback"), "page"},
		{"a loopback redirect after consent to the web one", nil, nil, loopback, "page"},
		{"the client has another name", nil, func(w *consentWorld) { w.known.Name = "Another app" }, nil, "page"},
		{"the client may refresh now", nil, func(w *consentWorld) { w.known.GrantTypes = nil }, nil, "page"},
		{"a scope includes more than it did", nil, func(w *consentWorld) {
			w.setScopes([]access.Implication{{Scope: "write", Others: []string{"read", "admin"}}}, "read", "write", "admin")
		}, nil, "page"},
		{"scopes were done away with, so that all is granted", nil, func(w *consentWorld) { w.setScopes(nil) }, nil, "page"},
		{"another person of the same provider", nil, func(w *consentWorld) {
			w.signIn(sessions.User{Issuer: "local", Subject: "bob", Email: "ada@example.com"})
		}, nil, "page"},
		{"the same subject at another provider", nil, func(w *consentWorld) {
			w.signIn(sessions.User{Issuer: "https://idp.example", Subject: "ada", Email: "ada@example.com"})
		}, nil, "page"},
		{"90 days later", nil, func(w *consentWorld) {
			w.now = w.now.Add(sessions.ApprovalLife)
			w.signIn(w.user)
		}, nil, "page"},
		{"nobody is signed in any more", nil, func(w *consentWorld) { w.cookie = "" }, set("prompt", "none"), "login_required"},
		{"a sign-in of this moment is asked for, without a page", nil, nil, func(q url.Values) { q.Set("prompt", "none"); q.Set("max_age", "0") }, "login_required"},
		{"the person left the allow-list of the resource", nil, func(w *consentWorld) {
			policy, err := access.NewPolicy([]access.Rule{{Kind: access.Group, Value: "staff"}})
			if err != nil {
				w.t.Fatal(err)
			}
			w.scopes.Policy = policy
		}, set("prompt", "none"), "interaction_required"},
		{"none among others", nil, nil, set("prompt", "none login"), "invalid_request"},
		{"it was withdrawn", nil, func(w *consentWorld) {
			all, err := w.vault.ListApprovals(w.t.Context(), w.user.Key())
			if err != nil || len(all) != 1 {
				w.t.Fatalf("approvals: %+v, %v", all, err)
			}
			if err := w.vault.Withdraw(w.t.Context(), w.user.Key(), all[0].ID()); err != nil {
				w.t.Fatal(err)
			}
		}, nil, "page"},
		{"the person declined since", nil, func(w *consentWorld) {
			page := w.authorize(http.MethodGet, set("prompt", "consent"))
			if got := outcome(w.t, w.decide(page, "deny")); got != "access_denied" {
				w.t.Fatalf("declining ended with %s", got)
			}
		}, nil, "page"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newConsentWorld(t)
			if strings.HasPrefix(tc.name, "the client may refresh") {
				w.known.GrantTypes = []string{"authorization_code"}
			}
			page := w.authorize(http.MethodGet, tc.consent)
			if page.StatusCode != http.StatusOK {
				t.Fatalf("the first request is answered with %d, want the page", page.StatusCode)
			}
			given := w.decide(page, "allow")
			if got := outcome(t, given); got != "code" && got != "page" { // the latter for a private scheme
				t.Fatalf("consenting ended with %s", got)
			}
			if tc.change != nil {
				tc.change(w)
			}
			if got := outcome(t, w.authorize(http.MethodGet, tc.again)); got != tc.want {
				t.Errorf("the second request ended with %s, want %s", got, tc.want)
			}
		})
	}
}

func TestAHEADRequestNeverMakesACode(t *testing.T) {
	w := newConsentWorld(t)
	if got := outcome(t, w.decide(w.authorize(http.MethodGet, nil), "allow")); got != "code" {
		t.Fatalf("consenting ended with %s", got)
	}
	if got := outcome(t, w.authorize(http.MethodHead, nil)); got != "page" {
		t.Errorf("HEAD ended with %s", got)
	}
}

func TestAConsentWithoutASignInIsNobodysYet(t *testing.T) {
	w := newConsentWorld(t)
	if got := outcome(t, w.authorize(http.MethodGet, func(q url.Values) { q.Set("prompt", "none") })); got != "consent_required" {
		t.Errorf("a first request with prompt none ended with %s", got)
	}
	if all, err := w.vault.ListApprovals(t.Context(), w.user.Key()); err != nil || len(all) != 0 {
		t.Errorf("approvals before anybody agreed: %+v, %v", all, err)
	}
}
