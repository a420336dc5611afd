package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// A request that ends elsewhere for the next program could hide a second one in its body (RFC 9112, section
// 11.2). The edge may take what follows for a request of its own, which then lacks a token; it must not
// reach the server past the guard.
func TestARequestInARequestNeverArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token := w.newOAuthClient(upstream.StatelessPath).signIn(newPerson(idp.Alice)).AccessToken
	host := strings.TrimPrefix(w.edge.URL(), "http://")
	hidden := "GET " + upstream.SSEPath + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	for _, tc := range []struct{ name, headers, body string }{
		{"a length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + hidden},
		{"chunks and a length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n" + hidden},
		{"two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n" + hidden},
		{"an encoding before chunks", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n" + hidden},
		{"an encoding that is none", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n" + hidden},
		{"an encoding after a tab", "Transfer-Encoding:\vchunked\r\n", "0\r\n\r\n" + hidden},
		{"a space before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n" + hidden},
		{"two lengths", "Content-Length: 0\r\nContent-Length: 60\r\n", hidden},
		{"a list of lengths", "Content-Length: 0, 60\r\n", hidden},
		{"a signed length", "Content-Length: +0\r\n", hidden},
		{"a chunk size with a sign", "Transfer-Encoding: chunked\r\n", "-1\r\n\r\n" + hidden},
		{"a chunk size too large", "Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n" + hidden},
		{"a bare CR in a header", "X-A: a\rContent-Length: 0\r\n", hidden},
		{"a folded header", "X-A: a\r\n Content-Length: 60\r\n", hidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(w.up.Seen())
			answers := rawExchange(t, host, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s\r\n%s",
				upstream.StatelessPath, host, token, tc.headers, tc.body))
			for _, r := range w.up.Seen()[before:] {
				if !strings.HasPrefix(r.Path, upstream.StatelessPath) {
					t.Errorf("%s %s arrived", r.Method, r.Path)
				}
			}
			if !bytes.HasPrefix(answers, []byte("HTTP/1.1 ")) {
				t.Errorf("the answer begins with %.100q", answers)
			}
		})
	}
}

// The edge is nobody's way to other hosts (RFC 9110, section 9.3.6; RFC 9112, section 3.2.2).
func TestTheEdgeIsNoOpenProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := strings.TrimPrefix(w.edge.URL(), "http://")
	for _, line := range []string{
		"CONNECT evil.example:443", "GET http://evil.example" + upstream.StatelessPath,
		"GET http://" + host + "@evil.example" + upstream.StatelessPath, "GET http://" + host + upstream.StatelessPath,
	} {
		answer := rawExchange(t, host, line+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		if len(w.up.Seen()) != 0 {
			t.Fatalf("%s arrived: %.200q", line, answer)
		}
	}
}

// rawExchange sends bytes and returns all that comes back until the edge hangs up or falls silent.
func rawExchange(t *testing.T, host, request string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	answers, _ := io.ReadAll(conn)
	return answers
}
