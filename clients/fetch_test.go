package clients

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// answers resolves each lookup to the next answer, the last one for good.
type answers [][]string

func (a *answers) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	next := (*a)[0]
	if len(*a) > 1 {
		*a = (*a)[1:]
	}
	addrs := make([]netip.Addr, len(next))
	for i, s := range next {
		addrs[i] = netip.MustParseAddr(s)
	}
	return addrs, nil
}

func TestFetcherIgnoresTheProxyOfTheEnvironment(t *testing.T) {
	if newFetcher(false, nil, time.Now).client.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy would resolve and connect where the fetcher cannot see it")
	}
}

func TestFetch(t *testing.T) {
	const doc = `{"a":1}`
	reached := false
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    string // "" for an error
		refused bool
	}{
		{"a document", answer(200, "application/json", doc), doc, false},
		{"a document with a charset", answer(200, "application/json; charset=utf-8", doc), doc, false},
		{"a more specific type", answer(200, "application/cimd+json", doc), doc, false},
		{"a page", answer(200, "text/html", doc), "", true},
		{"a look-alike type", answer(200, "text/x+json", doc), "", true},
		{"no type", func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil }, "", true},
		{"nothing there", answer(404, "application/json", doc), "", true},
		{"gone", answer(410, "application/json", doc), "", true},
		{"another success", answer(201, "application/json", doc), "", false},
		{"no content", answer(204, "application/json", ""), "", false},
		{"a bot rule", answer(403, "application/json", doc), "", false},
		{"an error", answer(500, "application/json", doc), "", false},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				reached = true
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "", true},
		{"exactly the limit", answer(200, "application/json", strings.Repeat(" ", maxDocument)), strings.Repeat(" ", maxDocument), false},
		{"one byte too many", answer(200, "application/json", strings.Repeat(" ", maxDocument+1)), "", true},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, "", true},
		{"huge headers", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Large", strings.Repeat("x", 64<<10))
			answer(200, "application/json", doc)(w, nil)
		}, "", false},
		{"a cut body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			answer(200, "application/json", doc)(w, nil)
		}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, url := loopbackFetcher(t, tc.handler)
			body, _, err := f.fetch(context.Background(), url)
			if (err == nil) != (tc.want != "") || string(body) != tc.want {
				t.Fatalf("%d bytes, %v", len(body), err)
			}
			if err != nil && errors.Is(err, errRefused) != tc.refused {
				t.Errorf("refused for good: %v; %v", !tc.refused, err)
			}
		})
	}
	if reached {
		t.Error("a redirect was followed")
	}
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func loopbackFetcher(t testing.TB, handler http.Handler) (*fetcher, string) {
	t.Helper()
	server := newTLSServer(handler)
	t.Cleanup(server.Close)
	f := newFetcher(true, server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, func() time.Time { return now })
	return f, server.URL + "/client.json"
}

// newTLSServer starts a server that does not log the handshakes that tests make fail.
func newTLSServer(handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	return server
}

func TestFetchChecksTheCertificate(t *testing.T) {
	f, url := loopbackFetcher(t, answer(200, "application/json", "{}"))
	stranger := newFetcher(true, nil, time.Now)
	if _, _, err := stranger.fetch(context.Background(), url); err == nil {
		t.Error("a certificate of an unknown authority is accepted")
	}
	// The certificate names 127.0.0.1 and example.com, not localhost.
	if _, _, err := f.fetch(context.Background(), strings.Replace(url, "127.0.0.1", "localhost", 1)); err == nil {
		t.Error("a certificate for another name is accepted")
	}
}

func TestFetchWhileTooManyOthersDo(t *testing.T) {
	f, url := loopbackFetcher(t, answer(200, "application/json", "{}"))
	for range maxFetches {
		f.slots <- struct{}{}
	}
	if _, _, err := f.fetch(context.Background(), url); !errors.Is(err, errBusy) {
		t.Errorf("%v", err)
	}
	<-f.slots
	if _, _, err := f.fetch(context.Background(), url); err != nil {
		t.Errorf("with a free slot: %v", err)
	}
	if len(f.slots) != maxFetches-1 {
		t.Error("a fetch kept its slot")
	}
}

func TestLifetime(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		want    time.Duration
	}{
		{"nothing said", nil, defaultLifetime},
		{"max-age", []string{"Cache-Control: public, max-age=600"}, 10 * time.Minute},
		{"max-age in quotes and capitals", []string{`Cache-Control: Max-Age="600"`}, 10 * time.Minute},
		{"s-maxage wins", []string{"Cache-Control: max-age=600, s-maxage=1200"}, 20 * time.Minute},
		{"s-maxage wins in front", []string{"Cache-Control: s-maxage=1200, max-age=600"}, 20 * time.Minute},
		{"two headers", []string{"Cache-Control: public", "Cache-Control: max-age=600"}, 10 * time.Minute},
		{"too short", []string{"Cache-Control: max-age=0"}, minLifetime},
		{"too long", []string{"Cache-Control: max-age=99999999"}, maxLifetime},
		{"overflowing", []string{"Cache-Control: max-age=99999999999999999999"}, minLifetime},
		{"negative", []string{"Cache-Control: max-age=-1"}, minLifetime},
		{"no-store", []string{"Cache-Control: no-store, max-age=600"}, minLifetime},
		{"no-cache", []string{"Cache-Control: no-cache"}, minLifetime},
		{"age is subtracted", []string{"Cache-Control: max-age=600", "Age: 120"}, 8 * time.Minute},
		{"Expires", []string{"Expires: " + now.Add(time.Hour*2).Format(http.TimeFormat)}, 2 * time.Hour},
		{"max-age wins over Expires", []string{"Cache-Control: max-age=600", "Expires: 0"}, 10 * time.Minute},
		{"Expires that is no date", []string{"Expires: 0"}, minLifetime},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			for _, line := range tc.headers {
				name, value, _ := strings.Cut(line, ": ")
				h.Add(name, value)
			}
			if got := lifetime(h, now); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}
