package clients

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestPublicAddress(t *testing.T) {
	for _, tc := range []struct {
		name, addr string
		want       bool
	}{
		{"IPv4", "8.8.8.8", true},
		{"IPv6", "2606:4700::1111", true},
		{"IPv6 beside the special block", "2001:4860:4860::8888", true},
		{"IPv4 below the private block", "172.15.255.255", true},
		{"IPv4 above the private block", "172.32.0.1", true},
		{"this network", "0.0.0.0", false},
		{"private 10", "10.1.2.3", false},
		{"carrier grade NAT", "100.64.0.1", false},
		{"loopback", "127.0.0.1", false},
		{"another loopback", "127.255.255.254", false},
		{"metadata service", "169.254.169.254", false},
		{"private 172", "172.31.255.255", false},
		{"protocol assignments", "192.0.0.192", false},
		{"documentation 1", "192.0.2.1", false},
		{"6to4 relay", "192.88.99.1", false},
		{"private 192", "192.168.1.1", false},
		{"benchmark", "198.19.0.1", false},
		{"documentation 2", "198.51.100.1", false},
		{"documentation 3", "203.0.113.1", false},
		{"multicast", "224.0.0.1", false},
		{"reserved", "240.0.0.1", false},
		{"broadcast", "255.255.255.255", false},
		{"unspecified", "::", false},
		{"IPv6 loopback", "::1", false},
		{"IPv4-compatible", "::8.8.8.8", false},
		{"mapped loopback", "::ffff:127.0.0.1", false},
		{"mapped private", "::ffff:10.0.0.1", false},
		{"mapped public", "::ffff:8.8.8.8", true},
		{"NAT64", "64:ff9b::7f00:1", false},
		{"local NAT64", "64:ff9b:1::1", false},
		{"discard", "100::1", false},
		{"Teredo", "2001::1", false},
		{"ORCHID", "2001:20::1", false},
		{"IPv6 documentation", "2001:db8::1", false},
		{"6to4", "2002:7f00:1::", false},
		{"new IPv6 documentation", "3fff::1", false},
		{"unique local", "fd00:ec2::254", false},
		{"link local", "fe80::1", false},
		{"link local with a zone", "fe80::1%eth0", false},
		{"public with a zone", "2606:4700::1111%eth0", false},
		{"site local", "fec0::1", false},
		{"IPv6 multicast", "ff02::1", false},
		{"unassigned", "4000::1", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := publicAddress(netip.MustParseAddr(tc.addr)); got != tc.want {
				t.Errorf("publicAddress(%s) = %v", tc.addr, got)
			}
		})
	}
	if publicAddress(netip.Addr{}) {
		t.Error("no address is public")
	}
}

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

// testFetcher connects to nothing, and reports where it would have.
func testFetcher(resolves ...[]string) (f *fetcher, connected *[]string) {
	f = newFetcher(false, nil, func() time.Time { return now })
	a := answers(resolves)
	connected = &[]string{}
	f.resolver = &a
	f.connect = func(_ context.Context, network, address string) (net.Conn, error) {
		if err := f.control(network, address, nil); err != nil {
			return nil, err
		}
		*connected = append(*connected, address)
		return nil, errors.New("nobody listens")
	}
	return f, connected
}

func TestDialJudgesEveryAddress(t *testing.T) {
	for _, tc := range []struct {
		name    string
		address string
		answer  []string
		want    string
	}{
		{"one public address", "a.example:443", []string{"8.8.8.8"}, "8.8.8.8:443"},
		{"public addresses of both families", "a.example:443", []string{"8.8.8.8", "2606:4700::1111"}, "8.8.8.8:443 [2606:4700::1111]:443"},
		{"a mapped public address", "a.example:443", []string{"::ffff:8.8.8.8"}, "8.8.8.8:443"},
		{"loopback", "a.example:443", []string{"127.0.0.1"}, ""},
		{"a public address, then loopback", "a.example:443", []string{"8.8.8.8", "127.0.0.1"}, ""},
		{"loopback, then a public address", "a.example:443", []string{"127.0.0.1", "8.8.8.8"}, ""},
		{"a public A and a private AAAA", "a.example:443", []string{"8.8.8.8", "fd00::1"}, ""},
		{"a private A and a public AAAA", "a.example:443", []string{"10.0.0.1", "2606:4700::1111"}, ""},
		{"a mapped metadata address", "a.example:443", []string{"::ffff:169.254.169.254"}, ""},
		{"a literal address", "127.0.0.1:443", nil, ""},
		{"a literal IPv6 address", "[::1]:443", nil, ""},
		{"no address", "a.example:443", []string{}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, connected := testFetcher(tc.answer)
			if conn, err := f.dial(context.Background(), "tcp", tc.address); conn != nil || err == nil {
				t.Fatalf("%v, %v", conn, err)
			}
			if got := strings.Join(*connected, " "); got != tc.want {
				t.Errorf("connected to %q, want %q", got, tc.want)
			}
		})
	}
}

// DNS rebinding: the name is public while it is checked and loopback when it is connected to. There
// is no second resolution between the two, and the next fetch is judged by its own.
func TestDialUnderRebinding(t *testing.T) {
	f, connected := testFetcher([]string{"8.8.8.8"}, []string{"127.0.0.1"})
	if _, err := f.dial(context.Background(), "tcp", "a.example:443"); errors.Is(err, errRefused) {
		t.Errorf("the public answer is refused: %v", err)
	}
	if _, err := f.dial(context.Background(), "tcp", "a.example:443"); !errors.Is(err, errRefused) {
		t.Errorf("the loopback answer is not refused: %v", err)
	}
	if got := strings.Join(*connected, " "); got != "8.8.8.8:443" {
		t.Errorf("connected to %q", got)
	}
}

// The socket itself refuses, should anything ever reach it that was not judged before.
func TestControlRefusesOnTheSocket(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	f := newFetcher(false, nil, time.Now)
	conn, err := f.connect(context.Background(), "tcp", server.Listener.Addr().String())
	if conn != nil || !errors.Is(err, errRefused) {
		t.Errorf("%v, %v", conn, err)
	}
	for _, address := range []string{"[::ffff:127.0.0.1]:443", "10.0.0.1:80", "a.example:443", "", "[fe80::1%lo]:443"} {
		if err := f.control("tcp", address, nil); !errors.Is(err, errRefused) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if err := f.control("tcp", "8.8.8.8:443", nil); err != nil {
		t.Error(err)
	}
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
