package clients

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// site is a client's web site on loopback, with a clock of its own.
type site struct {
	*httptest.Server
	mu      sync.Mutex
	clock   time.Time
	serve   http.HandlerFunc
	fetches atomic.Int32
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{clock: now}
	s.Server = newTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fetches.Add(1)
		s.mu.Lock()
		serve := s.serve
		s.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(s.Close)
	s.answer(s.document(""))
	return s
}

func (s *site) answer(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve = h
}

func (s *site) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *site) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
}

// document answers with the document of whichever URL was asked for.
func (s *site) document(extra string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(200, "application/json", `{"client_id":"`+s.URL+r.URL.Path+`","client_name":"App","redirect_uris":["http://localhost/cb"]`+extra+`}`)(w, r)
	}
}

func (s *site) registry(t testing.TB, change func(*Config)) *Registry {
	t.Helper()
	return newRegistry(t, func(c *Config) {
		c.Now = s.now
		c.Documents = &Documents{AllowLoopback: true, Roots: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
		if change != nil {
			change(c)
		}
	})
}

func (s *site) expect(t testing.TB, g *Registry, path string, wantErr error, fetches int32) {
	t.Helper()
	before := s.fetches.Load()
	c, err := g.Lookup(context.Background(), s.URL+path)
	if !errors.Is(err, wantErr) || (c != nil) != (wantErr == nil) {
		t.Errorf("%s: %v, %v; want %v", path, c, err, wantErr)
	}
	if n := s.fetches.Load() - before; n != fetches {
		t.Errorf("%s: %d fetches, want %d", path, n, fetches)
	}
}

func TestDocumentIsCached(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	s.expect(t, g, "/a", nil, 1)
	s.expect(t, g, "/a", nil, 0)
	s.advance(defaultLifetime - time.Second)
	s.expect(t, g, "/a", nil, 0)
	s.advance(time.Second)
	s.expect(t, g, "/a", nil, 1)
	s.expect(t, g, "/b", nil, 1)
}

func TestDocumentThatMayNotBeStored(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	s.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		s.document("")(w, r)
	})
	s.expect(t, g, "/a", nil, 1)
	s.expect(t, g, "/a", nil, 0)
	s.advance(minLifetime)
	s.expect(t, g, "/a", nil, 1)
}

func TestRefusedDocumentIsForgottenSoon(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	s.answer(answer(200, "application/json", `{}`))
	s.expect(t, g, "/a", ErrUnknown, 1)
	s.expect(t, g, "/a", ErrUnknown, 0)
	s.answer(s.document(""))
	s.advance(failureLifetime)
	s.expect(t, g, "/a", nil, 1)
}

// A client whose site is down for a while must not lose its users; one that takes its document away
// is gone.
func TestOldDocumentWhileTheSiteIsDown(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	s.expect(t, g, "/a", nil, 1)
	s.expect(t, g, "/b", nil, 1)
	s.advance(2 * defaultLifetime)
	s.answer(answer(503, "text/plain", "down"))
	s.expect(t, g, "/a", nil, 1)
	s.expect(t, g, "/a", nil, 0)
	s.expect(t, g, "/new", ErrUnavailable, 1)

	s.answer(answer(404, "text/plain", "gone"))
	s.expect(t, g, "/b", ErrUnknown, 1)
	s.advance(failureLifetime)
	s.answer(answer(503, "text/plain", "down"))
	s.expect(t, g, "/b", ErrUnavailable, 1)
	s.expect(t, g, "/a", nil, 1)

	s.advance(maxLifetime)
	s.expect(t, g, "/a", ErrUnavailable, 1)
}

func TestChangedDocument(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	s.expect(t, g, "/a", nil, 1)
	s.answer(s.document(`,"redirect_uris2":[],"client_uri":"https://app.example"`))
	s.advance(defaultLifetime)
	c, err := g.Lookup(context.Background(), s.URL+"/a")
	if err != nil || c.URI != "https://app.example" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestConcurrentLookupsShareOneFetch(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s.answer(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(entered) })
		<-release
		s.document("")(w, r)
	})
	const n = 20
	// The first requester goes away while its fetch is under way; the others are served by it.
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	go func() {
		_, err := g.Lookup(ctx, s.URL+"/a")
		first <- err
	}()
	<-entered
	cancel()
	if err := <-first; !errors.Is(err, ErrUnavailable) {
		t.Errorf("the requester that went away got %v", err)
	}
	errs := make(chan error, n)
	for range n {
		go func() {
			_, err := g.Lookup(context.Background(), s.URL+"/a")
			errs <- err
		}()
	}
	close(release)
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := s.fetches.Load(); got != 1 {
		t.Errorf("%d fetches", got)
	}
}

type noSuchHost struct{}

func (noSuchHost) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

// A made-up host is no client, and no outage of ours; the host of a client that was there before may
// be missing for a moment.
func TestHostThatDoesNotExist(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	s.expect(t, g, "/a", nil, 1)
	f := newFetcher(true, nil, s.now)
	f.resolver = noSuchHost{}
	g.documents.clients.fetch = func(ctx context.Context, _ string) ([]byte, time.Duration, error) { return f.fetch(ctx, docURL) }
	s.expect(t, g, "/b", ErrUnknown, 0)
	s.advance(defaultLifetime)
	s.expect(t, g, "/a", nil, 0)
	s.expect(t, g, "/a", nil, 0)
	s.advance(maxLifetime)
	s.expect(t, g, "/a", ErrUnknown, 0)
}

// A fetch that was not even tried says nothing about the document, so nothing is remembered.
func TestBusyFetcherIsNotHeldAgainstTheDocument(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, nil)
	fetch := g.documents.clients.fetch
	g.documents.clients.fetch = func(context.Context, string) ([]byte, time.Duration, error) { return nil, 0, errBusy }
	s.expect(t, g, "/a", ErrUnavailable, 0)
	g.documents.clients.fetch = fetch
	s.expect(t, g, "/a", nil, 1)
}

func TestSourceNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "192.0.2.1:443": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3::4": "2001:db8:1:2::/64", "[2001:db8:1:2::5]:443": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "nonsense": "unknown", "@": "unknown",
	} {
		if got := sourceNetwork(addr); got != want {
			t.Errorf("sourceNetwork(%q) = %q, want %q", addr, got, want)
		}
	}
}

func TestUntrustedAndImpossibleDocumentsAreNotFetched(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, func(c *Config) { c.Documents.AllowHosts = []string{"app.example"} })
	for _, path := range []string{"/a", "/a?x=1", "/a#x", "/a/../b", ""} {
		s.expect(t, g, path, ErrUnknown, 0)
	}
	s.expect(t, s.registry(t, func(c *Config) { c.Documents = nil }), "/a", ErrUnknown, 0)
}

// Loopback is refused at the socket unless it is switched on, whatever the name says.
func TestLoopbackIsRefusedByDefault(t *testing.T) {
	s := newSite(t)
	g := s.registry(t, func(c *Config) { c.Documents.AllowLoopback = false })
	s.expect(t, g, "/a", ErrUnknown, 0)
	a := answers{{"127.0.0.1"}}
	f := newFetcher(false, nil, s.now)
	f.resolver = &a
	g.documents.clients.fetch = f.fetch
	if c, err := g.Lookup(context.Background(), docURL); c != nil || !errors.Is(err, ErrUnknown) {
		t.Errorf("%v, %v", c, err)
	}
	if s.fetches.Load() != 0 {
		t.Error("the loopback site was reached")
	}
}

func TestPinnedDocument(t *testing.T) {
	g := newRegistry(t, func(c *Config) {
		c.Documents = &Documents{AllowHosts: []string{"other.example"}, Pinned: map[string][]byte{docURL: []byte(docBody(``))}}
	})
	c, err := g.Lookup(context.Background(), docURL)
	if err != nil || c.Name != "App" || c.Source != MetadataDocument {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := g.Authenticate(context.Background(), Credentials{ClientID: docURL, Method: AuthNone}); err != nil {
		t.Errorf("authenticating: %v", err)
	}
	if _, err := g.Lookup(context.Background(), docURL+"2"); !errors.Is(err, ErrUnknown) {
		t.Errorf("beside the pinned one: %v", err)
	}
}

// The operator vouches for a pinned document, and so for redirects to other sites of its vendor.
func TestAPinnedDocumentMayRedirectElsewhere(t *testing.T) {
	body := []byte(`{"client_id":"` + docURL + `","client_name":"App","redirect_uris":["https://app.other.example/cb","acme-ide://cb","javascript:alert(1)"]}`)
	config := Documents{Pinned: map[string][]byte{docURL: body}}
	if err := config.Check(); err != nil {
		t.Fatal(err)
	}
	g := newRegistry(t, func(c *Config) { c.Documents, c.PrivateSchemes = &config, []string{"acme-ide"} })
	c, err := g.Lookup(context.Background(), docURL)
	if err != nil || !c.Redirect("https://app.other.example/cb") || !c.Redirect("acme-ide://cb") || c.Redirect("javascript:alert(1)") || c.Redirect("https://evil.example/cb") {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestVerifiedHostShowsThePort(t *testing.T) {
	s := newSite(t)
	c, err := s.registry(t, nil).Lookup(context.Background(), s.URL+"/a")
	if err != nil || "https://"+c.VerifiedHost() != s.URL {
		t.Errorf("%v, %v", c, err)
	}
}
