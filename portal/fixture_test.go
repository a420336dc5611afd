package portal

import (
	"context"
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
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const (
	origin = "https://mcp.example.com"
	github = origin + "/github"
	linear = origin + "/linear"
	home   = "/my"
	tokens = "/my/tokens"
)

var (
	alice = sessions.User{Issuer: "https://idp.example", Subject: "alice", Email: "alice@example.com", Name: "Alice"}
	bob   = sessions.User{Issuer: "https://idp.example", Subject: "bob", Email: "bob@example.com"}
)

// world is a portal with a store, a clock that stands still, and an audit log that can be read.
type world struct {
	*Portal
	t     *testing.T
	store *store
	now   time.Time

	mu     sync.Mutex
	events []audit.Event
}

// store fails when it is told to.
type store struct {
	sessions.Store
	down map[string]bool
}

var errDown = errors.New("connection refused")

func (s *store) List(ctx context.Context, prefix string) ([]string, error) {
	if s.down["List"] {
		return nil, errDown
	}
	return s.Store.List(ctx, prefix)
}

func (s *store) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if s.down["Put"] {
		return errDown
	}
	return s.Store.Put(ctx, key, value, ttl)
}

func (w *world) Record(_ context.Context, e audit.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

// of returns the events of one type.
func (w *world) of(kind audit.Type) []audit.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.events), func(e audit.Event) bool { return e.Type != kind })
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	w.store = &store{Store: memstore.New(clock)}
	ring, err := sessions.NewRing(sessions.RingConfig{Store: w.store, Now: clock})
	revocations := sessions.NewRevocations(w.store, clock)
	if err == nil {
		err = errors.Join(ring.Load(t.Context()), revocations.Load(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	vault := &sessions.Vault{Ring: ring, Store: w.store, Revocations: revocations, Tenant: origin, Now: clock}
	cookies := sessions.Cookies{Secure: true}
	w.Portal = New(Config{
		Path: home, SignOutPath: "/oauth2/logout", Vault: vault, Cookies: cookies,
		Forms: forms.Forms{Origin: origin, Vault: vault, Cookies: cookies},
		Session: func(r *http.Request) (*sessions.Browser, error) {
			b, err := vault.LoadBrowser(r.Context(), cookies.Get(r, sessions.SessionCookieName))
			switch {
			case errors.Is(err, sessions.ErrUnavailable):
				return nil, err
			case err != nil:
				return nil, nil
			}
			return &b, nil
		},
		SignIn: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("please sign in")) },
		Resources: func(u *sessions.User) []Resource {
			all := []Resource{
				{URI: github, Name: "GitHub tools", Scopes: []string{"repo:read", "repo:write"}},
				{URI: linear, Scopes: []string{"repo:read", "issues"}},
			}
			if u != nil && u.Subject == bob.Subject {
				return all[1:]
			}
			return all
		},
		ProviderName: func(id string) string { return "Example ID" },
		ClientAddr:   func(*http.Request) string { return "192.0.2.1" },
		SiteName:     "Example", Audit: w, Logger: zap.NewNop(), Now: clock,
	})
	return w
}

// browser keeps cookies and sends what browsers send.
type browser struct {
	w       *world
	cookies map[string]string
	header  http.Header // of the next form, in place of what a browser would send
}

// signIn returns a browser in which user is signed in.
func (w *world) signIn(user sessions.User) *browser {
	w.t.Helper()
	cookie, err := w.Vault.CreateBrowser(w.t.Context(), sessions.Browser{
		User: user, AuthTime: w.now, Provider: "oidc", UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", ClientAddr: "192.0.2.7",
	}, 12*time.Hour)
	if err != nil {
		w.t.Fatal(err)
	}
	return &browser{w: w, cookies: map[string]string{"__Host-" + sessions.SessionCookieName: cookie}}
}

// answer is what the portal said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) send(r *http.Request) answer {
	b.w.t.Helper()
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	endpoint := b.w.Endpoint(r.URL.Path)
	if endpoint == nil {
		b.w.t.Fatalf("%s is no endpoint", r.URL.Path)
	}
	rec := httptest.NewRecorder()
	endpoint(rec, r)
	for _, c := range rec.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c.Value
	}
	return answer{rec.Code, rec.Header(), rec.Body.String()}
}

func (b *browser) get(path string) answer {
	b.w.t.Helper()
	return b.send(httptest.NewRequest("GET", origin+path, nil))
}

// post sends a form with the ticket of the page.
func (b *browser) post(path string, form url.Values) answer {
	b.w.t.Helper()
	if !form.Has("ticket") {
		form.Set("ticket", b.ticket(path))
	}
	r := httptest.NewRequest("POST", origin+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "null")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for name, values := range b.header {
		r.Header[name] = values
	}
	return b.send(r)
}

var ticketField = regexp.MustCompile(`name="ticket" value="([^"]*)"`)

func (b *browser) ticket(path string) string {
	b.w.t.Helper()
	a := b.get(path)
	match := ticketField.FindStringSubmatch(a.body)
	if match == nil {
		b.w.t.Fatalf("status %d without a form\n%s", a.status, a.body)
	}
	return html.UnescapeString(match[1])
}

// wantBack asserts a redirect to a page.
func (a answer) wantBack(t *testing.T, location string) {
	t.Helper()
	if a.status != http.StatusSeeOther || a.header.Get("Location") != location {
		t.Errorf("status %d, Location %q, want 303 to %s\n%s", a.status, a.header.Get("Location"), location, a.body)
	}
}

// connect connects a client for user and returns its refresh token, its access token and its grant.
func (w *world) connect(user sessions.User, clientID, label, resource string) (refresh, access string, g sessions.Grant) {
	w.t.Helper()
	g = sessions.Grant{
		ID: sessions.NewID(), User: user, ClientID: clientID, ClientLabel: label, ClientName: "App " + clientID, Resource: resource,
		RedirectHost: "app.example", CreatedAt: w.now, UsedAt: w.now, ClientAddr: "198.51.100.7", Scopes: []string{"repo:read"},
	}
	refresh, err := w.Vault.CreateGrant(w.t.Context(), g, sessions.GrantPolicy{})
	if err == nil {
		access, err = w.Vault.IssueAccess(sessions.Access{
			Grant: g.ID, IssuedAt: w.now.Unix(), ExpiresAt: w.now.Add(time.Hour).Unix(), Resource: resource, Subject: user.Subject,
		})
	}
	if err == nil {
		err = w.Vault.Approve(w.t.Context(), user.Key(), sessions.Approval{
			ClientID: clientID, ClientLabel: label, ClientName: g.ClientName, RedirectURI: "https://app.example/cb",
			RedirectHost: "app.example", Resource: resource, Scopes: g.Scopes,
		})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return refresh, access, g
}

// wantGrants asserts how many grants and remembered consents a person has.
func (w *world) wantGrants(user sessions.User, grants, consents int) {
	w.t.Helper()
	g, err := w.Vault.ListGrants(w.t.Context(), user.Key())
	a, err2 := w.Vault.ListApprovals(w.t.Context(), user.Key())
	if err := errors.Join(err, err2); err != nil || len(g) != grants || len(a) != consents {
		w.t.Errorf("%s has %d grants and %d consents, %v; want %d and %d", user.Subject, len(g), len(a), err, grants, consents)
	}
}

// Interface guards
var (
	_ audit.Recorder = (*world)(nil)
	_ sessions.Store = (*store)(nil)
)
