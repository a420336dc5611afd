package credentials

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const (
	tenant    = "https://mcp.example.com"
	githubURI = tenant + "/github"
	linearURI = tenant + "/linear"
)

var (
	alice = sessions.User{Issuer: "https://idp.example", Subject: "alice", Email: "alice@example.com"}
	bob   = sessions.User{Issuer: "https://idp.example", Subject: "bob", Email: "bob@example.com"}
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// countingStore counts reads, and fails when it is down.
type countingStore struct {
	sessions.Store
	mu    sync.Mutex
	reads int
	down  bool
}

var errDown = errors.New("dial tcp: connection refused")

func (s *countingStore) check(read bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if read {
		s.reads++
	}
	if s.down {
		return errDown
	}
	return nil
}

func (s *countingStore) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *countingStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *countingStore) Get(ctx context.Context, key string) ([]byte, error) {
	if err := s.check(true); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, key)
}

func (s *countingStore) Put(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := s.check(false); err != nil {
		return err
	}
	return s.Store.Put(ctx, key, value, ttl)
}

func (s *countingStore) Take(ctx context.Context, key string) ([]byte, error) {
	if err := s.check(false); err != nil {
		return nil, err
	}
	return s.Store.Take(ctx, key)
}

func (s *countingStore) Update(ctx context.Context, key string, fn func([]byte) ([]byte, time.Duration, error)) error {
	if err := s.check(false); err != nil {
		return err
	}
	return s.Store.Update(ctx, key, fn)
}

// trail is an audit log that can be read.
type trail struct {
	mu     sync.Mutex
	events []audit.Event
}

func (l *trail) Record(_ context.Context, e audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *trail) all() []audit.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// world is a keeper, its store and its upstreams.
type world struct {
	*Keeper
	t      *testing.T
	clock  *clock
	store  *countingStore
	trail  *trail
	server *authServer
	github *Upstream // wants typed tokens
	linear *Upstream // connects accounts at server
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)}, trail: new(trail)}
	w.store = &countingStore{Store: memstore.New(w.clock.Now)}
	w.server = newAuthServer(t, w.clock)
	w.github = &Upstream{Resource: githubURI, Name: "GitHub tools", Header: must(ParseHeader("", ""))(t)}
	w.linear = w.connecting(linearURI, w.server.URL)
	w.Keeper = w.replica()
	return w
}

// connecting returns an upstream whose accounts are connected at server.
func (w *world) connecting(resource, server string) *Upstream {
	w.t.Helper()
	return &Upstream{
		Resource: resource, Header: must(ParseHeader("", ""))(w.t), RedirectURI: tenant + "/oauth2/connect" + resource[len(tenant):] + "/callback",
		OAuth: must(oauthclient.New(oauthclient.Config{Server: server, ClientID: "edge", ClientSecret: "s3cret", Scopes: []string{"read"}, Now: w.clock.Now}))(w.t),
	}
}

// replica returns a keeper of another process on the same store.
func (w *world) replica() *Keeper {
	w.t.Helper()
	ring := must(sessions.NewRing(sessions.RingConfig{Store: w.store, Now: w.clock.Now}))(w.t)
	revocations := sessions.NewRevocations(w.store, w.clock.Now)
	if err := errors.Join(ring.Load(w.t.Context()), revocations.Load(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	vault := &sessions.Vault{Ring: ring, Store: w.store, Revocations: revocations, Tenant: tenant, Now: w.clock.Now}
	return New(Config{Vault: vault, Audit: w.trail, Logger: zap.NewNop(), Now: w.clock.Now})
}

// hear lets a replica learn what others have announced, as it does within two seconds.
func hear(t *testing.T, k *Keeper) {
	t.Helper()
	if err := k.Vault.Revocations.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// value is what the upstream would get.
func value(t *testing.T, k *Keeper, person sessions.User, up *Upstream) string {
	t.Helper()
	held, err := k.Use(t.Context(), person, up)
	if err != nil {
		t.Fatalf("Use: %v", err)
	}
	return held.value
}

func wantUse(t *testing.T, k *Keeper, person sessions.User, up *Upstream, want error) {
	t.Helper()
	if held, err := k.Use(t.Context(), person, up); !errors.Is(err, want) || held.value != "" {
		t.Errorf("Use: %q, %v; want %v", held.value, err, want)
	}
}

// visit is a person at a browser of theirs.
func visit(person sessions.User) Visit {
	return Visit{Person: person, Session: sessions.NewID(), Browser: sessions.NewID()}
}

// begin begins to connect and returns the parameters that the server was asked with.
func (w *world) begin(v Visit, up *Upstream) url.Values {
	w.t.Helper()
	address, err := w.Connect(w.t.Context(), v, up)
	if err != nil {
		w.t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		w.t.Fatal(err)
	}
	return u.Query()
}

// connect connects an account and fails the test if that fails.
func (w *world) connect(person sessions.User, up *Upstream) {
	w.t.Helper()
	v := visit(person)
	q := w.begin(v, up)
	if _, err := w.Finish(w.t.Context(), v, up, w.server.answer(q)); err != nil {
		w.t.Fatal(err)
	}
}

// authServer is a small authorization server: it issues tokens for any code, rotates refresh tokens and
// remembers what it was asked.
type authServer struct {
	*httptest.Server
	clock *clock

	mu        sync.Mutex
	documents map[string]any
	challenge string // of the last authorization request
	issued    int
	refresh   string // the one that is valid
	life      int    // of access tokens, in seconds; 0: not said
	forms     []url.Values
	status    int  // what the token endpoint answers with instead
	reuse     bool // a refresh token was used twice
	revoked   []string
	hold      chan struct{} // refreshes wait for it
	issuing   func()        // called when something is issued
}

func newAuthServer(t *testing.T, c *clock) *authServer {
	t.Helper()
	s := &authServer{clock: c, life: 3600, documents: make(map[string]any)}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	s.documents["/.well-known/oauth-authorization-server"] = s.metadata()
	return s
}

func (s *authServer) metadata() map[string]any {
	return map[string]any{
		"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token",
		"revocation_endpoint": s.URL + "/revoke", "code_challenge_methods_supported": []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	}
}

// answer is the authorization response to a request.
func (s *authServer) answer(q url.Values) url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenge = q.Get("code_challenge")
	return url.Values{"code": {"code"}, "state": {q.Get("state")}, "iss": {s.URL}}
}

func (s *authServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	document, known := s.documents[r.URL.Path]
	hold := s.hold
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if known {
		_ = json.NewEncoder(w).Encode(document)
		return
	}
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		http.NotFound(w, r)
		return
	}
	if r.URL.Path == "/token" && r.PostForm.Get("grant_type") == "refresh_token" && hold != nil {
		<-hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	switch {
	case id != "edge" || secret != "s3cret":
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
	case r.URL.Path == "/revoke":
		s.revoked = append(s.revoked, r.PostForm.Get("token"))
	case r.URL.Path == "/token":
		s.token(w, r.PostForm)
	default:
		http.NotFound(w, r)
	}
}

func (s *authServer) token(w http.ResponseWriter, form url.Values) {
	s.forms = append(s.forms, form)
	if s.status != 0 {
		w.WriteHeader(s.status)
		return
	}
	if form.Get("grant_type") == "refresh_token" && form.Get("refresh_token") != s.refresh {
		s.reuse = true
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"nobody should see this"}`))
		return
	}
	s.issued++
	if s.issuing != nil {
		s.issuing()
	}
	s.refresh = "refresh-" + strconv.Itoa(s.issued)
	answer := map[string]any{"access_token": "access-" + strconv.Itoa(s.issued), "token_type": "Bearer", "refresh_token": s.refresh}
	if s.life > 0 {
		answer["expires_in"] = s.life
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// asked counts the token requests of a grant type.
func (s *authServer) asked(grantType string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, form := range s.forms {
		if form.Get("grant_type") == grantType {
			n++
		}
	}
	return n
}

func (s *authServer) set(change func(*authServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// Interface guards
var (
	_ sessions.Store = (*countingStore)(nil)
	_ audit.Recorder = (*trail)(nil)
)

func queryOf(t *testing.T, address string) url.Values {
	t.Helper()
	return must(url.Parse(address))(t).Query()
}

// newServer serves on loopback until the test ends.
func newServer(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}
