package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestAStolenSessionIsAnUnknownOne(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false)
	alice, c, _ := w.token(idp.Alice)
	bob, _, _ := w.token(idp.Bob)
	const path = "/tools" + upstream.StreamablePath
	opened := c.mcp(path, alice)
	session := opened.Header.Get("Mcp-Session-Id")
	if opened.Status != http.StatusOK || session == "" {
		t.Fatalf("opening a session was answered with %d, session %q", opened.Status, session)
	}
	id, tag, _ := strings.Cut(session, ".")
	before := len(w.up.Seen())
	for _, tc := range []struct{ name, token, session string }{
		{"a session that never was", alice, "ABCDEFG"},
		{"a session that never was, with a tag", alice, "ABCDEFG." + tag},
		{"somebody else's", bob, session},
		{"somebody else's as the upstream knows it", bob, id},
		{"one's own as the upstream knows it", alice, id},
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
			a := c.inSession(method, path, tc.token, tc.session)
			if a.Status != http.StatusNotFound || !strings.Contains(string(a.Body), "Session not found") {
				t.Errorf("%s, %s: %d %s", tc.name, method, a.Status, a.Body)
			}
		}
	}
	if n := len(w.up.Seen()) - before; n != 0 {
		t.Errorf("%d of these requests reached the server", n)
	}
	if a := c.inSession(http.MethodPost, path, alice, session); a.Status != http.StatusOK {
		t.Errorf("the owner was answered with %d %s", a.Status, a.Body)
	}
	if a := c.inSession(http.MethodDelete, path, alice, session); a.Status >= 300 {
		t.Errorf("the owner ended the session and was answered with %d", a.Status)
	}

	legacy := w.ask(nil, http.MethodGet, "/tools"+upstream.SSEPath, alice)
	legacy.expect("event: endpoint")
	endpoint, _ := strings.CutPrefix(<-legacy.lines, "data: ")
	if !strings.HasPrefix(endpoint, "/tools"+upstream.MessagePath+"?") {
		t.Fatalf("the endpoint is %q", endpoint)
	}
	untagged, _, _ := strings.Cut(endpoint, "&")
	for _, tc := range []struct{ name, token, path string }{
		{"somebody else's endpoint", bob, endpoint},
		{"an endpoint without its tag", bob, untagged},
		{"one's own endpoint without its tag", alice, untagged},
	} {
		if a := c.mcp(tc.path, tc.token); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d", tc.name, a.Status)
		}
	}
	if a := c.mcp(endpoint, alice); a.Status != http.StatusAccepted {
		t.Errorf("the owner's message was answered with %d %s", a.Status, a.Body)
	}
	legacy.expect("event: message")
}

// inSession sends a ping, asks for the events after the first, or ends the session, as the method says.
func (c *oauthClient) inSession(method, path, token, session string) answer {
	c.t.Helper()
	h := http.Header{
		"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Session-Id": {session}, "Mcp-Protocol-Version": {"2025-06-18"},
	}
	var body io.Reader
	switch method {
	case http.MethodGet:
		h.Set("Last-Event-Id", "0_0")
	case http.MethodPost:
		body = strings.NewReader(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	}
	return c.do(method, path, h, body)
}

// identityNames are headers by which applications are told who is calling, as clients may misspell them.
var identityNames = []string{
	"X-Forwarded-User", "x-forwarded-user", "X-FORWARDED-USER", "X_Forwarded_User", "X-Forwarded_User", "X.Forwarded.User",
	"X-Forwarded-Email", "X-Forwarded-Groups", "X_Forwarded_Groups", "X-Forwarded-Preferred-Username", "X-Remote-User", "Remote-User",
	"Remote_User", "X-Auth-Request-User", "X-Auth-Request-Email", "Tailscale-User-Login", "X-Pomerium-Jwt-Assertion",
	"X-Authentik-Username", "X-Goog-Authenticated-User-Email", "X-Ms-Client-Principal", "Cf-Access-Authenticated-User-Email",
	"X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Forwarded-Access-Token", "Ssl-Client-Cert", "Proxy",
}

func TestNobodyCanSayWhoTheyAre(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false)
	token, _, _ := w.token(idp.Alice)
	host := strings.TrimPrefix(w.edge.URL(), "http://")
	forge := func(path, connection string, names ...string) (int, http.Header) {
		t.Helper()
		var b strings.Builder
		fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: %s\r\nTransfer-Encoding: chunked\r\n", path, host, token, connection)
		for _, name := range names {
			fmt.Fprintf(&b, "%s: forged\r\n", name)
		}
		b.WriteString("Trailer: X-Forwarded-User\r\n\r\n0\r\nX-Forwarded-User: forged\r\n\r\n")
		resp := raw(t, host, b.String())
		defer resp.Body.Close()
		var got http.Header
		if resp.StatusCode == http.StatusOK {
			if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
				t.Fatalf("reading the answer: %v", err)
			}
		}
		return resp.StatusCode, got
	}
	check := func(what string, status int, got http.Header) {
		t.Helper()
		if status != http.StatusOK {
			t.Errorf("%s: status %d", what, status)
			return
		}
		for name, values := range got {
			for _, value := range values {
				if strings.Contains(value, "forged") || strings.Contains(value, token) {
					t.Errorf("%s: the upstream got %s: %q", what, name, values)
				}
			}
		}
		for name, want := range map[string]string{
			"X-Forwarded-User": idp.Alice.Subject, "X-Forwarded-Email": idp.Alice.Email, "X-Forwarded-Groups": strings.Join(idp.Alice.Groups, ","), "Authorization": "",
		} {
			if values := got.Values(name); strings.Join(values, "|") != want {
				t.Errorf("%s: the upstream got %s: %q, want %q", what, name, values, want)
			}
		}
	}
	for _, name := range identityNames {
		status, got := forge("/tools/raw/echo", "close", name)
		check(name, status, got)
		status, got = forge("/tools/raw/echo", "close, "+name, name, name)
		check(name+", twice and as a connection option", status, got)
	}
	status, got := forge("/tools/raw/echo", "close", identityNames...)
	check("all at once", status, got)
	status, got = forge("/tools/raw/echo", "close, X-Forwarded-User, X-Forwarded-Email, X-Forwarded-Groups")
	check("asking for what the edge adds to be removed", status, got)
}

// raw sends bytes and reads one answer.
func raw(t *testing.T, host, request string) *http.Response {
	t.Helper()
	conn, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("reading the answer to %.60q: %v", request, err)
	}
	return resp
}

func TestTargetsWithTwoReadingsDoNotPass(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false)
	token, _, _ := w.token(idp.Alice)
	host := strings.TrimPrefix(w.edge.URL(), "http://")
	auth := "Authorization: Bearer " + token + "\r\nConnection: close\r\n"
	for _, tc := range []struct {
		name, request string
		pass          bool
	}{
		{"a plain request", "GET /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, true},
		{"the absolute form", "GET http://" + host + "/tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, true},
		{"the absolute form, whose host counts", "GET http://" + host + "/tools/raw/echo HTTP/1.1\r\nHost: evil.example\r\n" + auth, true},
		{"the absolute form of another host", "GET http://evil.example/tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"a user before the host", "GET http://x@" + host + "/tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"two hosts", "GET /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\nHost: evil.example\r\n" + auth, false},
		{"no host", "GET /tools/raw/echo HTTP/1.0\r\n" + auth, false},
		{"a tunnel", "CONNECT " + host + " HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"a tunnel to a path", "CONNECT /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"an echo", "TRACE /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"dot segments", "GET /tools/../tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"encoded dot segments", "GET /x/%2e%2e/tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"an encoded slash", "GET /tools%2Fraw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"a backslash", "GET /tools\\raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"two slashes", "GET //tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"path parameters", "GET /tools;x/raw/echo HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"two tokens", "GET /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer x\r\n" + auth, false},
		{"a token in the query", "GET /tools/raw/echo?access_token=x HTTP/1.1\r\nHost: " + host + "\r\n" + auth, false},
		{"a WebSocket", "GET /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nAuthorization: Bearer " + token + "\r\nConnection: Upgrade\r\n", false},
		{"early data at a proxy in front", "POST /tools/raw/echo HTTP/1.1\r\nHost: " + host + "\r\nEarly-Data: 1\r\nContent-Length: 0\r\n" + auth, false},
	} {
		resp := raw(t, host, tc.request+"\r\n")
		// What is for another site gets Caddy's empty answer.
		if passed := resp.Header.Get("Content-Type") == "application/json"; passed != tc.pass || passed && resp.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d, %v", tc.name, resp.StatusCode, resp.Header)
		}
		_ = resp.Body.Close()
	}
}
