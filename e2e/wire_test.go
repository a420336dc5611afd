package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
)

// What no client sends is refused on the wire, or arrives without what made it dangerous.
func TestHeadersThatNoClientSends(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false)
	token, _, _ := w.token(idp.Alice)
	host := strings.TrimPrefix(w.edge.URL(), "http://")
	request := func(header string) string {
		return "GET /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\nAuthorization: Bearer " + token + "\r\n" + header + "\r\n"
	}
	for _, tc := range []struct{ name, header string }{
		{"a NUL in a value", "X-A: a\x00b\r\n"},
		{"a bare CR in a value", "X-A: a\rX-Forwarded-User: mallory\r\n"},
		{"an escape in a value", "X-A: \x1b[31m\r\n"},
		{"DEL in a value", "X-A: a\x7f\r\n"},
		{"a blank in a name", "X-Forwarded User: mallory\r\n"},
		{"a tab in a name", "X-Forwarded-User\t: mallory\r\n"},
		{"a colon before a name", ":X-Forwarded-User: mallory\r\n"},
		{"a line without a name", ": mallory\r\n"},
		{"a name beyond ASCII", "X-Forwarded-\xdcser: mallory\r\n"},
	} {
		before := w.raw.Asked()
		answer := rawExchange(t, host, request(tc.header))
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) || w.raw.Asked() != before {
			t.Errorf("%s: %.60q, arrived: %d", tc.name, answer, w.raw.Asked()-before)
		}
	}
	answer := string(rawExchange(t, host, request("TE: trailers, deflate\r\nTrailer: X-A\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n"+
		"Proxy: http://evil.example\r\nProxy-Authenticate: Basic\r\nProxy-Authorization: Basic eA==\r\nUpgrade: foo/2\r\nX-Kept: kept\r\n")))
	if !strings.Contains(answer, `"X-Kept"`) {
		t.Fatalf("got %q", answer)
	}
	for _, name := range []string{"Trailer", "Keep-Alive", "Proxy-Connection", "Proxy", "Proxy-Authenticate", "Proxy-Authorization", "Upgrade", "deflate"} {
		if strings.Contains(answer, `"`+name+`"`) {
			t.Errorf("%s arrived: %q", name, answer)
		}
	}
}

// A body is not asked for, nor a range looked for, before the token has been checked (PA-07).
func TestNothingHappensBeforeTheTokenIsChecked(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false)
	token, _, _ := w.token(idp.Alice)
	host := strings.TrimPrefix(w.edge.URL(), "http://")
	for _, tc := range []struct{ name, request string }{
		{"a body that waits to be asked for", "POST /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"},
		{"a part of an answer", "GET /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\nRange: bytes=0-0\r\nConnection: close\r\n\r\n"},
		{"an answer if it has changed", "GET /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\nIf-None-Match: *\r\nConnection: close\r\n\r\n"},
	} {
		if answer := rawExchange(t, host, tc.request); !bytes.HasPrefix(answer, []byte("HTTP/1.1 401 ")) || w.raw.Asked() != 0 {
			t.Errorf("%s: %.60q, arrived: %d", tc.name, answer, w.raw.Asked())
		}
	}
	answer := rawExchange(t, host, "POST /tools/raw/echo HTTP/1.1\r\nHost: "+host+"\r\nAuthorization: Bearer "+token+
		"\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
	if !bytes.Contains(answer, []byte("HTTP/1.1 200 ")) {
		t.Errorf("with a token: %.200q", answer)
	}
}

// Headers are bounded before anybody looks at them, tokens more closely (DO-01).
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false)
	token, c, _ := w.token(idp.Alice)
	for _, tc := range []struct {
		name, header, value string
		status              int
	}{
		{"a header of 64 KiB", "X-Long", strings.Repeat("a", 64<<10), http.StatusRequestHeaderFieldsTooLarge},
		{"a cookie of 64 KiB", "Cookie", "a=" + strings.Repeat("a", 64<<10), http.StatusRequestHeaderFieldsTooLarge},
		{"a token of 64 KiB", "Authorization", "Bearer " + strings.Repeat("a", 64<<10), http.StatusRequestHeaderFieldsTooLarge},
		{"a token of 8 KiB", "Authorization", "Bearer " + strings.Repeat("a", 8<<10), http.StatusUnauthorized},
		{"a session of 8 KiB", "Mcp-Session-Id", strings.Repeat("a", 8<<10), http.StatusBadRequest},
	} {
		h := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
		h.Set(tc.header, tc.value)
		if a := c.do(http.MethodPost, "/tools/raw/echo", h, strings.NewReader("{}")); a.Status != tc.status || w.raw.Asked() != 0 {
			t.Errorf("%s was answered with %d, want %d; arrived: %d", tc.name, a.Status, tc.status, w.raw.Asked())
		}
	}
}

// frames is a client that speaks HTTP/2 itself.
type frames struct {
	t      *testing.T
	framer *http2.Framer
	next   uint32
}

func newFrames(t *testing.T, w *streamWorld) *frames {
	t.Helper()
	config := w.edge.Transport().TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	config.ServerName = "localhost"
	addr := strings.TrimPrefix(w.edge.URL(), "https://")
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", "127.0.0.1:"+port, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := &frames{t: t, framer: http2.NewFramer(conn, bufio.NewReader(conn)), next: 1}
	f.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// ask sends the fields as they are, and returns the status or what became of the stream.
func (f *frames) ask(fields ...string) string {
	f.t.Helper()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			f.t.Fatal(err)
		}
	}
	id := f.next
	f.next += 2
	err := f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	if err != nil {
		return fmt.Sprint("writing: ", err)
	}
	for {
		frame, err := f.framer.ReadFrame()
		if err != nil {
			return fmt.Sprint("reading: ", err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamID == id {
				return frame.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == id {
				return "reset: " + frame.ErrCode.String()
			}
		case *http2.GoAwayFrame:
			return "gone: " + frame.ErrCode.String()
		}
	}
}

// The parts of a request line are fields in HTTP/2, and each may be there twice, be missing or hold what a
// line could not (PA-08).
func TestPseudoHeadersWithTwoReadingsDoNotPass(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, true)
	token, _, _ := w.token(idp.Alice)
	host := strings.TrimPrefix(w.edge.URL(), "https://")
	bearer := []string{"authorization", "Bearer " + token}
	with := func(fields ...string) []string { return append(fields, bearer...) }
	const path = "/tools/raw/echo"
	if got := newFrames(t, w).ask(with(":method", "GET", ":scheme", "https", ":authority", host, ":path", path)...); got != "200" {
		t.Fatalf("a plain request was answered with %s", got)
	}
	for _, tc := range []struct {
		name   string
		fields []string
	}{
		{"two paths", with(":method", "GET", ":scheme", "https", ":authority", host, ":path", "/public", ":path", path)},
		{"two methods", with(":method", "OPTIONS", ":method", "GET", ":scheme", "https", ":authority", host, ":path", path)},
		{"a path after the headers", append(with(":method", "GET", ":scheme", "https", ":authority", host), ":path", path)},
		{"no path", with(":method", "GET", ":scheme", "https", ":authority", host)},
		{"an empty path", with(":method", "GET", ":scheme", "https", ":authority", host, ":path", "")},
		{"a path without a slash", with(":method", "GET", ":scheme", "https", ":authority", host, ":path", "tools/raw/echo")},
		{"an address as the path", with(":method", "GET", ":scheme", "https", ":authority", host, ":path", "https://evil.example"+path)},
		{"a line in the path", with(":method", "GET", ":scheme", "https", ":authority", host, ":path", path+" HTTP/1.1\r\nX-Forwarded-User: mallory")},
		{"a line in the method", with(":method", "GET "+path+" HTTP/1.1\r\nX:", ":scheme", "https", ":authority", host, ":path", path)},
		{"a user in the authority", with(":method", "GET", ":scheme", "https", ":authority", "x@"+host, ":path", path)},
		{"a path in the authority", with(":method", "GET", ":scheme", "https", ":authority", host+"/evil", ":path", path)},
		{"another host beside the authority", with(":method", "GET", ":scheme", "https", ":authority", "evil.example", ":path", path, "host", host)},
		{"a field that is none", with(":method", "GET", ":scheme", "https", ":authority", host, ":path", path, ":user", "mallory")},
		{"a tunnel", with(":method", "CONNECT", ":authority", host)},
		{"a WebSocket", with(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", host, ":path", path)},
		{"capitals", append(with(":method", "GET", ":scheme", "https", ":authority", host, ":path", path), "X-Forwarded-User", "mallory")},
		{"a connection option", append(with(":method", "GET", ":scheme", "https", ":authority", host, ":path", path), "connection", "x-forwarded-user")},
		{"an encoding of the transfer", append(with(":method", "GET", ":scheme", "https", ":authority", host, ":path", path), "transfer-encoding", "chunked")},
	} {
		before := w.raw.Asked()
		got := newFrames(t, w).ask(tc.fields...)
		// A tunnel is to no path, so to no resource here; Caddy answers by itself.
		if got == "200" && tc.name != "a tunnel" || w.raw.Asked() != before {
			t.Errorf("%s: %s, arrived: %d", tc.name, got, w.raw.Asked()-before)
		}
	}
}
