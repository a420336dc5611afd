package sseproxy

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestCheckTarget(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		want   int // 0: nothing to say
	}{
		{"a plain request", func(*http.Request) {}, 0},
		{"a host with a port", func(r *http.Request) { r.Host = "mcp.example.com:8443" }, 0},
		{"an IPv6 host", func(r *http.Request) { r.Host = "[2001:db8::1]:443" }, 0},
		{"a host in capitals", func(r *http.Request) { r.Host = "MCP.example.com" }, 0},
		{"the absolute form", func(r *http.Request) { r.URL.Scheme, r.URL.Host = "http", r.Host }, 0},
		{"the absolute form of another host", func(r *http.Request) { r.URL.Scheme, r.URL.Host = "http", "other.example" }, 400},
		{"the absolute form with a user", func(r *http.Request) {
			r.URL.Scheme, r.URL.Host, r.URL.User = "http", r.Host, url.User("mcp.example.com")
		}, 400},
		{"the absolute form of another scheme", func(r *http.Request) { r.URL.Scheme, r.URL.Host = "ftp", r.Host }, 400},
		{"no host", func(r *http.Request) { r.Host = "" }, 400},
		{"a host with a user", func(r *http.Request) { r.Host = "mcp.example.com@evil.example" }, 400},
		{"two hosts", func(r *http.Request) { r.Host = "mcp.example.com, evil.example" }, 400},
		{"a host with a path", func(r *http.Request) { r.Host = "evil.example/mcp.example.com" }, 400},
		{"a host with an escape", func(r *http.Request) { r.Host = "evil.example%00.mcp.example.com" }, 400},
		{"the asterisk", func(r *http.Request) { r.URL.Path = "*" }, 400},
		{"a path with two readings", func(r *http.Request) { r.URL.Path = "/public/../mcp" }, 400},
		{"a tunnel", func(r *http.Request) { r.Method, r.URL.Path = "CONNECT", "" }, 405},
		{"a tunnel over HTTP/3", func(r *http.Request) {
			r.Method, r.URL.Path, r.Proto, r.ProtoMajor = "CONNECT", "", "HTTP/3.0", 3
		}, 405},
		{"an extended CONNECT", func(r *http.Request) { r.Method, r.Header[":protocol"] = "CONNECT", []string{"websocket"} }, 0},
		{"an extended CONNECT over HTTP/3", func(r *http.Request) { r.Method, r.Proto, r.ProtoMajor = "CONNECT", "websocket", 3 }, 0},
		{"an echo", func(r *http.Request) { r.Method = "TRACE" }, 405},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/mcp", nil)
			r.Host = "mcp.example.com"
			tc.change(r)
			wantRefusal(t, CheckTarget(r), tc.want)
		})
	}
}

func wantRefusal(t *testing.T, got *Refusal, want int) {
	t.Helper()
	switch {
	case want == 0:
		if got != nil {
			t.Errorf("refused with %d: %v", got.Status, got)
		}
	case got == nil:
		t.Errorf("let through, want %d", want)
	case got.Status != want || got.Error() == "" || got.Reason == "" || (want == 405) != (got.Allow != ""):
		t.Errorf("got %d %q, Allow %q, reason %q; want %d", got.Status, got, got.Allow, got.Reason, want)
	}
}

func TestCheckMessage(t *testing.T) {
	only := func(more ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = append(h[more[i]], more[i+1])
		}
		return h
	}
	mcp := func(more ...string) http.Header {
		return only(append([]string{"Mcp-Protocol-Version", "2025-11-25", "Content-Type", "application/json"}, more...)...)
	}
	for _, tc := range []struct {
		name, method string
		header       http.Header
		want         int
	}{
		{"a message", "POST", mcp(), 0},
		{"a message with parameters in its type", "POST", only("Mcp-Protocol-Version", "2025-11-25", "Content-Type", "Application/JSON; charset=utf-8"), 0},
		{"a stream", "GET", only("Mcp-Session-Id", "abc", "Accept", "text/event-stream", "Last-Event-Id", "7"), 0},
		{"the end of a session", "DELETE", only("Mcp-Session-Id", "abc"), 0},
		{"a stateless message", "POST", mcp("Mcp-Method", "tools/call", "Mcp-Name", "a name", "Mcp-Param-Region", "=?base64?SGVsbG8=?="), 0},
		{"another method", "PUT", mcp(), 405},
		{"a method that is none", "mcp", mcp(), 405},
		{"a message without a type", "POST", only("Mcp-Protocol-Version", "2025-11-25"), 415},
		{"a form", "POST", only("Mcp-Session-Id", "abc", "Content-Type", "application/x-www-form-urlencoded"), 415},
		{"text, which pages may send unasked", "POST", only("Mcp-Session-Id", "abc", "Content-Type", "text/plain"), 415},
		{"two types", "POST", mcp("Content-Type", "text/plain"), 415},
		{"two versions", "POST", mcp("Mcp-Protocol-Version", "2025-06-18"), 400},
		{"two sessions", "POST", mcp("Mcp-Session-Id", "a", "Mcp-Session-Id", "b"), 400},
		{"two methods", "POST", mcp("Mcp-Method", "tools/list", "Mcp-Method", "tools/call"), 400},
		{"two parameters of one name", "POST", mcp("Mcp-Param-A", "1", "Mcp-Param-A", "2"), 400},
		{"two places to resume at", "GET", only("Last-Event-Id", "1", "Last-Event-Id", "2"), 400},
		{"a session with a space", "POST", mcp("Mcp-Session-Id", "a b"), 400},
		{"a session beyond ASCII", "POST", mcp("Mcp-Session-Id", "\u00fc"), 400},
		{"a session with DEL", "POST", mcp("Mcp-Session-Id", "a\x7f"), 400},
		{"an empty session", "POST", mcp("Mcp-Session-Id", ""), 400},
		{"a session of 4 KiB", "POST", mcp("Mcp-Session-Id", strings.Repeat("a", 4096)), 400},
		{"a version with a comma and a space", "POST", only("Mcp-Protocol-Version", "2025-11-25, 2024-11-05", "Content-Type", "application/json"), 400},
		{"a method with a tab", "POST", mcp("Mcp-Method", "tools/\tcall"), 400},
		{"a name beyond ASCII", "POST", mcp("Mcp-Name", "\u00fc"), 400},
		{"an upload to another application", "PUT", only("Content-Type", "image/png"), 0},
		{"a form of another application", "POST", only("Content-Type", "application/x-www-form-urlencoded"), 0},
		{"a WebSocket", "GET", only("Upgrade", "websocket", "Connection", "Upgrade"), 403},
		{"a WebSocket in capitals, among others", "GET", only("Upgrade", "foo/2, WebSocket"), 403},
		{"an offer of HTTP/2", "POST", only("Upgrade", "h2c", "Connection", "Upgrade, HTTP2-Settings"), 0},
		{"a WebSocket on one stream", "CONNECT", only(":protocol", "websocket"), 403},
		{"a change that came early to a proxy in front", "POST", only("Early-Data", "1"), 425},
		{"a question that came early to a proxy in front", "GET", only("Early-Data", "1"), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/mcp", nil)
			r.Method, r.Header = tc.method, tc.header
			wantRefusal(t, New(Config{}).CheckMessage(r), tc.want)
		})
	}
}

func TestWhatCanBeReplayedIsNotDone(t *testing.T) {
	g := New(Config{})
	for method, want := range map[string]int{"POST": 425, "DELETE": 425, "PATCH": 425, "GET": 0, "HEAD": 0} {
		for _, header := range []http.Header{{}, {"Mcp-Session-Id": {"abc"}, "Content-Type": {"application/json"}}} {
			r := httptest.NewRequest(method, "https://mcp.example.com/mcp", nil)
			r.Header = header
			r.TLS = &tls.ConnectionState{HandshakeComplete: false}
			refusal := g.CheckMessage(r)
			if method == "HEAD" && len(header) > 0 {
				want = 405 // an MCP endpoint has no HEAD
			}
			wantRefusal(t, refusal, want)
			r.TLS.HandshakeComplete = true
			if refusal := g.CheckMessage(r); refusal != nil && refusal.Status == 425 {
				t.Errorf("%s is refused after the handshake", method)
			}
		}
	}
}

func TestUpgradesWhereTheyAreAllowed(t *testing.T) {
	r := httptest.NewRequest("GET", "/socket", nil)
	r.Header.Set("Upgrade", "websocket")
	wantRefusal(t, New(Config{Upgrades: true}).CheckMessage(r), 0)
}
