package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
)

// storeFor stores a credential of p's for the server below path.
func (w *world) storeFor(p *person, path, secret string) {
	w.t.Helper()
	page := w.credentialsPage(p)
	page, err := p.Send(w.ctx, page, w.url(credentialsPath), url.Values{"ticket": {ticketOf(w.t, page)}, "id": {path}, "do": {"store"}, "credential": {secret}})
	if err != nil || !strings.Contains(page.Text, "The token is stored") {
		w.t.Fatalf("storing: %v, %v", err, page)
	}
}

// What people store is text. Caddy expands placeholders in what operators write; were they expanded in what
// people store, anybody could read the environment at an upstream of theirs.
func TestNothingInACredentialIsExpanded(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	echo := w.echo()
	w.start(w.oidcSite("resource /keyed {\n\t\t\tcredentials\n\t\t}", "resource /plain {\n\t\t\tcredentials {\n\t\t\t\theader X-Api-Key \"key {credential}\"\n\t\t\t}\n\t\t}") +
		"\thandle /keyed/* {\n\t\treverse_proxy " + echo + " {\n\t\t\theader_up X-Copy {http.request.header.Authorization}\n\t\t}\n\t}\n" +
		"\thandle /plain/* {\n\t\treverse_proxy " + echo + "\n\t}\n")
	const hostile = `{env.OIDC_CLIENT_SECRET}{http.request.host}{file./etc/passwd}{credential}{$HOME}%0d%0aX-Admin:1`
	alice := newPerson(idp.Alice)
	for _, path := range []string{"/keyed", "/plain"} {
		token := w.newOAuthClient(path + "/mcp").signIn(alice).AccessToken
		w.storeFor(alice, path, hostile)
		got := w.wantStatus("a call", path+"/mcp", token, http.StatusOK).Header
		want := map[string]string{"Authorization": "Bearer " + hostile, "X-Copy": "Bearer " + hostile, "X-Api-Key": ""}
		if path == "/plain" {
			want = map[string]string{"Authorization": "", "X-Copy": "", "X-Api-Key": "key " + hostile}
		}
		for name, value := range want {
			if got.Get(name) != value {
				t.Errorf("%s: the server got %s: %q, want %q", path, name, got[name], value)
			}
		}
	}
	w.edge.Stop()
	for _, line := range w.edge.Logs().LinesWith("handled request") {
		if strings.Contains(line, "X-Admin") {
			t.Errorf("the access log has a credential: %.300s", line)
		}
	}
}

// A credential goes along with a request that leaves HTTP, and where the server refuses it, the client learns
// what to do instead of getting the server's challenge.
func TestACredentialGoesWithAnUpgrade(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	const secret = "keyed-token-of-alice-1f0c"
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+secret {
			rw.Header().Set("WWW-Authenticate", `Bearer realm="theirs"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		conn, buf, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = buf.Flush()
		line, _ := buf.ReadString('\n')
		_, _ = buf.WriteString("you said " + line)
		_ = buf.Flush()
	}))
	t.Cleanup(server.Close)
	w.start(w.oidcSite("upgrades", "resource /keyed {\n\t\t\tcredentials\n\t\t}") + "\thandle /keyed/* {\n\t\treverse_proxy " + server.Listener.Addr().String() + "\n\t}\n")
	alice := newPerson(idp.Alice)
	token := w.newOAuthClient("/keyed/ws").signIn(alice).AccessToken
	upgrade := func() (string, *bufio.Reader, net.Conn) {
		conn, err := new(net.Dialer).DialContext(w.ctx, "tcp", strings.TrimPrefix(w.edge.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, err = fmt.Fprintf(conn, "GET /keyed/ws HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAuthorization: Bearer %s\r\n\r\n", strings.TrimPrefix(w.edge.URL(), "http://"), token)
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			return resp.Status, r, conn
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("the server's challenge came through: %v", resp.Header)
		}
		return resp.Status + " " + string(body), r, conn
	}
	w.storeFor(alice, "/keyed", "a-wrong-token")
	if status, _, _ := upgrade(); !strings.HasPrefix(status, "403") || !strings.Contains(status, "does not accept the token") {
		t.Errorf("with a token that the server refuses: %s", status)
	}
	w.storeFor(alice, "/keyed", secret)
	status, r, conn := upgrade()
	if !strings.HasPrefix(status, "101") {
		t.Fatalf("with the right one: %s", status)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := r.ReadString('\n'); err != nil || line != "you said hello\n" {
		t.Errorf("the server said %q, %v", line, err)
	}
}
