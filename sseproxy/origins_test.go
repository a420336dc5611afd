package sseproxy

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const ownOrigin = "https://mcp.example.com"

func TestOrigins(t *testing.T) {
	const app, port = "https://app.example.com", "https://app.example.com:8443"
	for _, tc := range []struct {
		name    string
		allowed []string
		origin  []string
		want    string // what the answer allows; "" with ok: nothing to say
		ok      bool
	}{
		{"no origin", nil, nil, "", true},
		{"the site's own", nil, []string{ownOrigin}, ownOrigin, true},
		{"the site's own over plain http", nil, []string{"http://mcp.example.com"}, "", false},
		{"the site's own on another port", nil, []string{ownOrigin + ":8443"}, "", false},
		{"a stranger", []string{LoopbackOrigins}, []string{"https://evil.example"}, "", false},
		{"the Inspector", []string{LoopbackOrigins}, []string{"http://localhost:6274"}, "http://localhost:6274", true},
		{"loopback by address", []string{LoopbackOrigins}, []string{"http://127.0.0.1:6274"}, "http://127.0.0.1:6274", true},
		{"loopback by IPv6 address", []string{LoopbackOrigins}, []string{"http://[::1]:6274"}, "http://[::1]:6274", true},
		{"loopback on the default port, with TLS", []string{LoopbackOrigins}, []string{"https://localhost"}, "https://localhost", true},
		{"loopback, not allowed", []string{app}, []string{"http://localhost:6274"}, "", false},
		{"a name that begins like loopback", []string{LoopbackOrigins}, []string{"http://localhost.evil.example"}, "", false},
		{"an address that begins like loopback", []string{LoopbackOrigins}, []string{"http://127.0.0.1.evil.example"}, "", false},
		{"userinfo that looks like loopback", []string{LoopbackOrigins}, []string{"http://localhost:1@evil.example"}, "", false},
		{"loopback with a path", []string{LoopbackOrigins}, []string{"http://localhost:1/"}, "", false},
		{"loopback with an empty port", []string{LoopbackOrigins}, []string{"http://localhost:"}, "", false},
		{"loopback with another scheme", []string{LoopbackOrigins}, []string{"file://localhost"}, "", false},
		{"a listed one", []string{app}, []string{app}, app, true},
		{"a listed one on another port", []string{app}, []string{port}, "", false},
		{"a listed port", []string{port}, []string{port}, port, true},
		{"a listed one over plain http", []string{app}, []string{"http://app.example.com"}, "", false},
		{"a listed default port", []string{app + ":443"}, []string{app}, app, true},
		{"a listed one in capitals", []string{"https://App.Example.com"}, []string{app}, app, true},
		{"the end of a listed one", []string{app}, []string{"https://evilapp.example.com"}, "", false},
		{"a name below a listed one", []string{app}, []string{"https://x.app.example.com"}, "", false},
		{"the beginning of a listed one", []string{app}, []string{app + ".evil.example"}, "", false},
		{"a listed one with a slash", []string{app}, []string{app + "/"}, "", false},
		{"a listed one and another", []string{app}, []string{app + " https://evil.example"}, "", false},
		{"two headers", []string{app}, []string{app, app}, "", false},
		{"an empty header", []string{app}, []string{""}, "", false},
		{"null", []string{app, LoopbackOrigins}, []string{"null"}, "", false},
		{"an extension", []string{"chrome-extension://abcdef"}, []string{"chrome-extension://abcdef"}, "chrome-extension://abcdef", true},
		{"anybody", []string{AnyOrigin}, []string{"https://evil.example"}, "*", true},
		{"null, where anybody may", []string{AnyOrigin}, []string{"null"}, "*", true},
		{"two headers, where anybody may", []string{AnyOrigin}, []string{app, port}, "", false},
		{"a stranger, where only the site may", []string{OwnOrigin}, []string{"http://localhost:6274"}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o, err := NewOrigins(ownOrigin, tc.allowed)
			if err != nil {
				t.Fatal(err)
			}
			h := http.Header{}
			if tc.origin != nil {
				h["Origin"] = tc.origin
			}
			got, err := o.Check(h)
			if got != tc.want || (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrOrigin) {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestNewOriginsRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		entry []string
		says  string
	}{
		{"a host", []string{"app.example.com"}, "https://app.example.com"},
		{"a host and a port", []string{"app.example.com:8443"}, "no origin"},
		{"a path", []string{"https://app.example.com/"}, "more than"},
		{"a query", []string{"https://app.example.com?"}, "more than"},
		{"a fragment", []string{"https://app.example.com#"}, "more than"},
		{"userinfo", []string{"https://a@app.example.com"}, "more than"},
		{"a wildcard", []string{"https://*.example.com"}, "wildcard"},
		{"an empty port", []string{"https://app.example.com:"}, "empty port"},
		{"letters beyond ASCII", []string{"https://b\u00fccher.example"}, "xn--"},
		{"null", []string{"null"}, "no origin"},
		{"a scheme alone", []string{"https://"}, "no origin"},
		{"everybody and somebody", []string{"*", "https://app.example.com"}, "alone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if o, err := NewOrigins(ownOrigin, tc.entry); o != nil || err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, %v; want it to say %q", o, err, tc.says)
			}
		})
	}
}

// Two values are none to a browser, and the upstream does not know what a token is worth.
func TestWhatTheUpstreamSaysToPagesGivesWay(t *testing.T) {
	for _, tc := range []struct {
		name, method, allow string
		want                http.Header
	}{
		{"for a page", "POST", "http://localhost:6274", http.Header{
			"Access-Control-Allow-Origin": {"http://localhost:6274"}, "Vary": {"Accept-Encoding", "Origin"},
		}},
		{"for any page", "GET", "*", http.Header{"Access-Control-Allow-Origin": {"*"}, "Vary": {"Accept-Encoding"}}},
		{"for no page, where caches look", "GET", "", http.Header{
			"Access-Control-Allow-Origin": {"https://upstream.example"}, "Access-Control-Allow-Credentials": {"true"}, "Vary": {"Accept-Encoding", "Origin"},
		}},
		{"for no page", "POST", "", http.Header{
			"Access-Control-Allow-Origin": {"https://upstream.example"}, "Access-Control-Allow-Credentials": {"true"}, "Vary": {"Accept-Encoding"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			call := &Call{Identity: *alice, AllowOrigin: tc.allow}
			if tc.allow != "" {
				rec.Header().Set("Access-Control-Allow-Origin", tc.allow) // as it is set for refusals
			}
			err := New(Config{}).ServeCall(rec, httptest.NewRequest(tc.method, "/", nil), call, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				h := w.Header()
				h.Add("Access-Control-Allow-Origin", "https://upstream.example")
				h.Add("Access-Control-Allow-Credentials", "true")
				h.Add("Access-Control-Expose-Headers", "X-Upstream")
				h.Add("Vary", "Accept-Encoding")
				w.WriteHeader(http.StatusOK)
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Vary"} {
				if got := rec.Header().Values(name); !slices.Equal(got, tc.want.Values(name)) {
					t.Errorf("%s: %q, want %q", name, got, tc.want.Values(name))
				}
			}
			exposed := rec.Header().Values("Access-Control-Expose-Headers")
			if tc.allow != "" && (len(exposed) != 1 || !strings.Contains(exposed[0], "Mcp-Session-Id") || !strings.Contains(exposed[0], "WWW-Authenticate")) {
				t.Errorf("exposed: %q", exposed)
			}
		})
	}
}

func FuzzOrigins(f *testing.F) {
	f.Add("http://localhost:6274", "https://app.example.com")
	f.Add("https://app.example.com", "https://app.example.com:443")
	f.Add("null", "chrome-extension://abc")
	f.Fuzz(func(t *testing.T, origin, allowed string) {
		o, err := NewOrigins(ownOrigin, []string{LoopbackOrigins, allowed})
		if err != nil {
			return
		}
		got, err := o.Check(http.Header{"Origin": {origin}})
		if err != nil {
			return
		}
		if got != origin {
			t.Fatalf("%q was answered with %q", origin, got)
		}
		if strings.ContainsAny(origin, " ,@/?#\\\r\n") && !strings.Contains(origin, "://") || strings.Count(origin, "/") != 2 {
			t.Errorf("%q passes for an origin, with %q allowed", origin, allowed)
		}
	})
}
