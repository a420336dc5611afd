package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func begin(t testing.TB, o *OIDC) error {
	t.Helper()
	_, err := o.Begin(context.Background(), testAttempt)
	checkErrorText(t, err)
	return err
}

func TestDiscoveryRefuses(t *testing.T) {
	set := func(name string, value any) func(*idp) { return func(p *idp) { p.discovery[name] = value } }
	answer := func(h http.HandlerFunc) func(*idp) { return func(p *idp) { p.handle(discoveryPath, h) } }
	for _, tc := range []struct {
		name   string
		change func(*idp)
	}{
		{"another issuer", set("issuer", "https://hostile.example")},
		{"no issuer", func(p *idp) { delete(p.discovery, "issuer") }},
		{"the issuer with a slash more", func(p *idp) { p.discovery["issuer"] = p.URL + "/" }},
		{"the issuer in another case", func(p *idp) { p.discovery["issuer"] = strings.ToUpper(p.URL) }},
		{"a plain authorization endpoint elsewhere", set("authorization_endpoint", "http://hostile.example/auth")},
		{"a script as authorization endpoint", set("authorization_endpoint", "javascript:hostile()")},
		{"a plain token endpoint elsewhere", set("token_endpoint", "http://hostile.example/token")},
		{"a plain key set elsewhere", set("jwks_uri", "http://hostile.example/keys")},
		{"a plain UserInfo endpoint elsewhere", set("userinfo_endpoint", "http://hostile.example/userinfo")},
		{"a host that begins like loopback", set("token_endpoint", "http://127.0.0.1.hostile.example/token")},
		{"credentials in an endpoint", set("token_endpoint", "https://hostile@idp.example/token")},
		{"a fragment in an endpoint", set("token_endpoint", "https://idp.example/token#hostile")},
		{"no authorization endpoint", set("authorization_endpoint", "")},
		{"no token endpoint", set("token_endpoint", "")},
		{"no key set", set("jwks_uri", "")},
		{"a relative endpoint", set("token_endpoint", "/token")},
		{"an endpoint that is a list", set("token_endpoint", []string{"hostile"})},
		{"an error page", answer(func(w http.ResponseWriter, r *http.Request) { http.Error(w, hostile, 500) })},
		{"not found", answer(http.NotFound)},
		{"garbage", answer(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, hostile) })},
		{"null", answer(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "null") })},
		{"a huge document", answer(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, strings.Repeat(" ", 2<<20)+"{}")
		})},
		{"a redirect to another host", answer(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://hostile.example/", http.StatusFound)
		})},
		{"a redirect to another port", answer(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/hostile", http.StatusFound)
		})},
		{"a redirect in a circle", answer(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, discoveryPath, http.StatusFound)
		})},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			tc.change(p)
			o := p.provider(t)
			if err := begin(t, o); !errors.Is(err, ErrUnavailable) {
				t.Errorf("Begin: got %v, want %v", err, ErrUnavailable)
			}
			if _, err := finish(t, o, callback()); !errors.Is(err, ErrUnavailable) {
				t.Errorf("Finish: got %v, want %v", err, ErrUnavailable)
			}
			if n := p.count(discoveryPath); n > maxRedirects+1 {
				t.Errorf("the provider was asked %d times", n)
			}
		})
	}
}

func TestDiscoveryOfAnHTTPSIssuer(t *testing.T) {
	for _, tc := range []struct {
		name, endpoint string
		ok             bool
	}{
		{"https elsewhere, as at Google", "https://oauth2.example/token", true},
		{"http on loopback", "http://127.0.0.1/token", false},
		{"http elsewhere", "http://idp.example/token", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var server *httptest.Server
			server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				writeJSON(w, map[string]any{
					"issuer": server.URL, "authorization_endpoint": server.URL + "/auth",
					"token_endpoint": tc.endpoint, "jwks_uri": server.URL + "/keys",
				})
			}))
			defer server.Close()
			o, err := NewOIDC(OIDCConfig{ID: "idp", Issuer: server.URL, ClientID: testClientID, HTTPClient: server.Client()})
			if err != nil {
				t.Fatal(err)
			}
			if err := begin(t, o); (err == nil) != tc.ok {
				t.Errorf("got %v, want success: %v", err, tc.ok)
			}
		})
	}
}

func TestDiscoveryWithACertificateThatIsNotTrusted(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	o, err := NewOIDC(OIDCConfig{ID: "idp", Issuer: server.URL, ClientID: testClientID})
	if err != nil {
		t.Fatal(err)
	}
	err = begin(t, o)
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "certificate is not trusted") {
		t.Errorf("got %v", err)
	}
}

func TestDiscoveryDoesNotFollowARedirectToAnotherPort(t *testing.T) {
	p := newIDP(t)
	var asked atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		writeJSON(w, p.discovery)
	}))
	defer other.Close()
	p.handle(discoveryPath, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	if err := begin(t, p.provider(t)); !errors.Is(err, ErrUnavailable) || asked.Load() != 0 {
		t.Errorf("got %v, and the other server was asked %d times", err, asked.Load())
	}
}

func TestDiscoveryFollowsARedirectOnTheSameHost(t *testing.T) {
	p := newIDP(t)
	p.handle(discoveryPath, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/moved", http.StatusFound) })
	p.handle("/moved", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, p.discovery) })
	if err := begin(t, p.provider(t)); err != nil {
		t.Error(err)
	}
}

func TestDiscoveryIsLazyAndHappensOnceForAll(t *testing.T) {
	p := newIDP(t)
	arrived, answer := make(chan struct{}), make(chan struct{})
	p.handle(discoveryPath, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-answer
		writeJSON(w, p.discovery)
	})
	o := p.provider(t)
	if p.count(discoveryPath) != 0 {
		t.Fatal("the provider was asked before anybody signed in")
	}
	// The first browser goes away; the others must not be left without an answer for that.
	first, leave := context.WithCancel(context.Background())
	errs := make(chan error)
	go func() {
		_, err := o.Begin(first, testAttempt)
		errs <- err
	}()
	<-arrived
	leave()
	if err := <-errs; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrUnavailable) {
		t.Errorf("the one who left got %v", err)
	}
	var waiting sync.WaitGroup
	for range 20 {
		waiting.Go(func() {
			if err := begin(t, o); err != nil {
				t.Error(err)
			}
		})
	}
	close(answer)
	waiting.Wait()
	if n := p.count(discoveryPath); n != 1 {
		t.Errorf("the provider was asked %d times, want once", n)
	}
}

func TestDiscoveryRecovers(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	p.handle(discoveryPath, func(w http.ResponseWriter, r *http.Request) { http.Error(w, hostile, http.StatusBadGateway) })
	for range 5 {
		if err := begin(t, o); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("got %v, want %v", err, ErrUnavailable)
		}
	}
	if n := p.count(discoveryPath); n != 1 {
		t.Errorf("a provider that is down was asked %d times at one time", n)
	}
	p.handle(discoveryPath, nil)
	p.clock.advance(retryAfter)
	if _, err := finish(t, o, callback()); err != nil {
		t.Errorf("after the provider is back: %v", err)
	}
}

func TestDiscoveryIsRenewedInTheBackground(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	if err := begin(t, o); err != nil {
		t.Fatal(err)
	}
	p.clock.advance(discoveryLife - time.Second)
	if err := begin(t, o); err != nil || p.count(discoveryPath) != 1 {
		t.Fatalf("got %v after %d fetches, want one", err, p.count(discoveryPath))
	}
	// It hangs: nobody must wait for it.
	arrived, answer := make(chan struct{}), make(chan struct{})
	p.handle(discoveryPath, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-answer
		writeJSON(w, with(p.discovery, map[string]any{"authorization_endpoint": p.URL + "/new"}))
	})
	p.clock.advance(2 * time.Second)
	if err := begin(t, o); err != nil {
		t.Fatal(err)
	}
	<-arrived
	keys := o.discovery.last().value.keys
	close(answer)
	e := <-o.discovery.renew(t.Context(), discoveryLife) // joins the one that is under way, or finds its result
	if md := e.Val.(edition[*metadata]).value; md.AuthorizationEndpoint != p.URL+"/new" || md.keys != keys {
		t.Errorf("got endpoint %s and keys kept: %v", md.AuthorizationEndpoint, md.keys == keys)
	}
}

func TestDiscoveryThatCannotBeRenewedIsKept(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	if err := begin(t, o); err != nil {
		t.Fatal(err)
	}
	p.handle(discoveryPath, func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, with(p.discovery, map[string]any{"issuer": "https://hostile.example"}))
	})
	p.clock.advance(discoveryLife + time.Second)
	if e := <-o.discovery.renew(t.Context(), discoveryLife); e.Err == nil {
		t.Fatal("a document of another issuer was taken")
	}
	if err := begin(t, o); err != nil {
		t.Error(err)
	}
}

func TestAnEndpointThatHangsIsGivenUp(t *testing.T) {
	for _, path := range []string{discoveryPath, "/token", "/keys", "/userinfo"} {
		t.Run(path, func(t *testing.T) {
			p := newIDP(t)
			p.claims = with(p.claims, map[string]any{"email": nil})
			p.handle(path, func(w http.ResponseWriter, r *http.Request) {
				// A first byte, so that waiting for the body counts too.
				fmt.Fprint(w, " ")
				_ = http.NewResponseController(w).Flush()
				_, _ = r.Body.Read(make([]byte, 1))
				<-r.Context().Done()
			})
			o := p.provider(t, func(c *OIDCConfig) { c.HTTPClient = &http.Client{Timeout: 50 * time.Millisecond} })
			_, err := finish(t, o, callback())
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v, want %v", err, ErrUnavailable)
			}
		})
	}
}

func TestFinishIsBoundedInNumber(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	for range maxConcurrent {
		o.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := o.Finish(ctx, testAttempt, callback()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want %v", err, ErrUnavailable)
	}
	<-o.slots
	if _, err := finish(t, o, callback()); err != nil {
		t.Error(err)
	}
	if len(o.slots) != maxConcurrent-1 {
		t.Errorf("%d slots are taken, want %d", len(o.slots), maxConcurrent-1)
	}
}
