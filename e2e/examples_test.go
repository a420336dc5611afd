package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// The files that people copy are run here as they are, but for the names of the world around them: their
// site is on loopback, and so are their identity provider and their servers.

// startExample runs an example. pairs are old and new texts; each old one has to be there.
func (w *world) startExample(file string, env map[string]string, pairs ...string) {
	w.t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "examples", file))
	if err != nil {
		w.t.Fatal(err)
	}
	text, port := string(content), edge.FreePort(w.t)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			w.t.Fatalf("%s has no %q", file, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	text = strings.ReplaceAll(text, "\nmcp.example.com {", "\nhttp://localhost:PORT {\n\tbind 127.0.0.1")
	text = strings.ReplaceAll(text, "PORT", fmt.Sprint(port))
	w.startAs(edge.Config{Port: port, Whole: text, Env: env})
}

const googleIssuer = "https://accounts.google.com"

var edgeAtProvider = map[string]string{"OIDC_CLIENT_ID": "edge"}

// prepareExample has an identity provider.
func prepareExample(t *testing.T) *world {
	t.Helper()
	w := prepareWorld(t)
	w.idp.AddUser(carol)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	return w
}

// below serves the MCP server of w below a path, as one of several behind a site.
func (w *world) below(path string) string {
	w.t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: w.up.Addr()})
	server := httptest.NewServer(http.StripPrefix(path, proxy))
	w.t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// arrived is what an echoing server got.
type arrived struct {
	Path   string
	Header http.Header
}

// echo answers with what it got.
func (w *world) echo() string {
	w.t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(rw).Encode(arrived{r.URL.Path, r.Header})
	}))
	w.t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// reaches sends a message with a token and returns the status, and what the server got.
func (w *world) reaches(path, token string, header ...http.Header) (int, arrived) {
	w.t.Helper()
	by := &oauthClient{t: w.t, ctx: w.ctx, base: w.edge.URL()}
	a := by.mcp(path, token, header...)
	var got arrived
	if a.Status == http.StatusOK {
		if err := json.Unmarshal(a.Body, &got); err != nil {
			w.t.Fatalf("%s answered %s", path, a.Body)
		}
	}
	return a.Status, got
}

func (w *world) wantStatus(what, path, token string, want int, header ...http.Header) arrived {
	w.t.Helper()
	status, got := w.reaches(path, token, header...)
	if status != want {
		w.t.Errorf("%s at %s: status %d, want %d", what, path, status, want)
	}
	return got
}

func TestTheExampleOfSigningIn(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	w.startExample("oidc.Caddyfile", edgeAtProvider, googleIssuer, w.idp.Issuer(), "localhost:3000", w.up.Addr())
	client := w.mustConnect(upstream.StreamablePath, newPerson(idp.Alice), mcpclient.Options{})
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject || who.Email != idp.Alice.Email || who.Authorization {
		t.Errorf("whoami answered %+v, %v", who, err)
	}
	mallory := newPerson(idp.Mallory)
	if _, err := mcpclient.Connect(w.ctx, w.url(upstream.StreamablePath), mcpclient.Options{SignIn: mallory.signIn}); err == nil {
		t.Error("somebody of another domain came in")
	}
}

func TestTheExampleOfAnAuditLog(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	logs := t.TempDir()
	w.startExample("audit-log.Caddyfile", edgeAtProvider, googleIssuer, w.idp.Issuer(), "localhost:3000", w.up.Addr(), "/var/log/caddy", logs)
	w.newOAuthClient("").signIn(newPerson(idp.Alice))
	w.edge.Stop()
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(logs, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	audit, access := read("mcp-audit.log"), read("mcp-access.log")
	var types []string
	for line := range strings.Lines(audit) {
		var d decision
		if err := json.Unmarshal([]byte(line), &d); err != nil || d.Logger != "mcp_auth.audit" || d.RequestID == "" {
			t.Fatalf("a line of the audit log: %v: %s", err, line)
		}
		types = append(types, d.Type)
		// Requests that carry codes are in no access log.
		if logged := strings.Contains(access, d.RequestID); logged != (d.Type == "client_registration" || d.Type == "token_issued") {
			t.Errorf("%s: its request is in the access log: %t", d.Type, logged)
		}
	}
	if !slices.Equal(types, []string{"client_registration", "consent", "sign_in", "token_issued"}) {
		t.Errorf("recorded %q", types)
	}
	if lines := w.edge.Logs().LinesWith("mcp_auth.audit"); len(lines) > 0 {
		t.Errorf("the default log has decisions too: %s", lines[0])
	}
}

func TestTheExampleOfServiceTokens(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	const nightly = "nightly-report-token-0123456789abcdefghij"
	w.startExample("service-tokens.Caddyfile", map[string]string{"OIDC_CLIENT_ID": "edge", "CI_TOKEN": ciToken},
		googleIssuer, w.idp.Issuer(), "localhost:3000", w.echo(), "localhost:3001", w.echo(),
		"networks 192.0.2.0/24 2001:db8:1::/48", "networks 127.0.0.0/8",
		"9f56e761d79bfdb34304a012586cb04d16b435ef6130091a97702e559260a2f2", fingerprintOf(nightly))
	if got := w.wantStatus("the token of CI", "/github/mcp", ciToken, http.StatusOK); got.Header.Get("X-Forwarded-User") != "token:ci" || got.Header["Authorization"] != nil {
		t.Errorf("the server got %v", got)
	}
	w.wantStatus("the token of CI", "/linear/mcp", ciToken, http.StatusUnauthorized)
	for _, path := range []string{"/github/mcp", "/linear/mcp"} {
		w.wantStatus("the other token", path, nightly, http.StatusOK)
		w.wantStatus("its hash", path, fingerprintOf(nightly), http.StatusUnauthorized)
		w.wantStatus("no token", path, "", http.StatusUnauthorized)
	}
	token := w.newOAuthClient("/github/mcp").signIn(newPerson(idp.Alice)).AccessToken
	if got := w.wantStatus("a person", "/github/mcp", token, http.StatusOK); got.Header.Get("X-Forwarded-Email") != idp.Alice.Email {
		t.Errorf("the server got %v", got)
	}
}

func TestTheExampleOfANetworkGate(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	w.startExample("network-gate.Caddyfile", nil, "mcp.internal.example.com {", "http://localhost:PORT {\n\tbind 127.0.0.1",
		"static 10.0.0.2", "static 127.0.0.1", "tls internal", "", "localhost:3000", w.echo(), "localhost:3001", w.echo())
	for _, tc := range []struct {
		address      string
		tools, admin int
	}{
		{"192.168.7.7", 200, 403}, {"10.1.0.9", 200, 200}, {"::ffff:10.1.0.9", 200, 200}, {"fd00::7", 200, 403},
		{"10.66.0.9", 403, 403}, {"203.0.113.9", 403, 403}, {"10.1.0.9, 203.0.113.9", 403, 403}, {"nobody, 203.0.113.9", 403, 403},
		// What is no address is none, and then the proxy's own counts.
		{"nobody", 200, 403},
	} {
		w.wantStatus(tc.address, "/tools/mcp", "", tc.tools, forwardedFor(tc.address))
		w.wantStatus(tc.address, "/admin/mcp", "", tc.admin, forwardedFor(tc.address))
	}
	w.wantStatus("a client that looks for OAuth", "/.well-known/oauth-protected-resource/tools", "", http.StatusNotFound, forwardedFor("10.1.0.9"))
}

func TestTheExampleOfALaptop(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	w.startExample("dev.Caddyfile", nil, "http://:8080", "http://:PORT", "127.0.0.1 [::1]", "127.0.0.1", "localhost:3000", w.up.Addr())
	somebody := newLocalPerson("", "")
	client := w.mustConnect(upstream.StreamablePath, somebody, mcpclient.Options{})
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.Email != "ann@example.com" || who.Groups != "engineering" {
		t.Errorf("whoami answered %+v, %v", who, err)
	}
	if len(somebody.seen) != 1 {
		t.Errorf("the browser saw %d pages, want none but the client's own", len(somebody.seen))
	}
}

func TestTheExampleOfAnExternalServer(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	const realm = "https://login.example.com/realms/main"
	w.startExample("external-server.Caddyfile", map[string]string{"INTROSPECTION_SECRET": clientSecret},
		"issuer https://mcp.example.com", "issuer http://localhost:PORT", realm+"/protocol/openid-connect/certs", w.idp.Issuer()+"/keys",
		realm+"/protocol/openid-connect/token/introspect", w.idp.Issuer()+"/oauth/introspect", "client_id mcp-edge", "client_id edge",
		realm, w.idp.Issuer(), "localhost:3000", w.below("/tools"))
	for name, opaque := range map[string]bool{"a JWT, checked here": false, "a token that is asked about": true} {
		t.Run(name, func(t *testing.T) {
			id := fmt.Sprint(ownClient, opaque)
			w.idp.AddResourceClient(id, ownClientSecret, idp.Resource{
				Audience: []string{w.url("/tools")}, Scopes: []string{"mcp:tools"}, Opaque: opaque,
			}, mcpclient.RedirectURI)
			client, err := mcpclient.Connect(w.ctx, w.url("/tools"+upstream.StreamablePath), mcpclient.Options{
				SignIn: newPerson(idp.Alice).signIn, ClientID: id, ClientSecret: ownClientSecret,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			var who upstream.Identity
			if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject || who.Authorization {
				t.Errorf("whoami answered %+v, %v", who, err)
			}
		})
	}
}

func TestTheExampleOfCredentialsForUpstreams(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	forge := newProvider(t)
	keyed, rewritten := w.echo(), w.echo()
	env := map[string]string{
		"OIDC_CLIENT_ID": "edge", "LINEAR_CLIENT_ID": "linear", "LINEAR_CLIENT_SECRET": forgeSecret, "FORGE_CLIENT_ID": "forge", "FORGE_CLIENT_SECRET": forgeSecret,
	}
	w.startExample("upstream-credentials.Caddyfile", env, googleIssuer, w.idp.Issuer(), "localhost:3000", keyed, "localhost:3001", keyed,
		"reverse_proxy https://mcp.linear.app", "reverse_proxy http://"+rewritten, "https://mcp.linear.app/mcp", forge.Issuer(),
		"scopes read write", "scopes openid offline_access", "header X-Forge-Token", "scopes openid\n\t\t\t\theader X-Forge-Token",
		"https://forge.example.com/login/oauth/authorize", forge.Issuer()+"/authorize", "https://forge.example.com/login/oauth/access_token", forge.Issuer()+"/oauth/token",
		"https://forge.example.com", forge.Issuer())
	forge.AddClient("linear", forgeSecret, w.url("/oauth2/connect/linear/callback"))
	forge.AddClient("forge", forgeSecret, w.url("/oauth2/connect/forge/callback"))

	alice := newPerson(idp.Alice)
	tokens := map[string]string{}
	for _, path := range []string{"/github", "/linear", "/forge"} {
		tokens[path] = w.newOAuthClient(path + "/mcp").signIn(alice).AccessToken
		by := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL()}
		if a := by.mcp(path+"/mcp", tokens[path]); a.Status != http.StatusOK || !strings.Contains(string(a.Body), w.url(credentialsPath)) {
			t.Errorf("%s before: %d %s", path, a.Status, a.Body)
		}
	}
	w.press(alice, w.credentialsPage(alice), "store", map[string]string{"credential": "ghp_of_alice_0123"})
	for _, server := range []string{"/linear", "/forge"} {
		page := w.credentialsPage(alice)
		page, err := alice.Send(w.ctx, page, w.url(credentialsPath), url.Values{"ticket": {ticketOf(t, page)}, "id": {server}, "do": {"connect"}})
		if err != nil {
			t.Fatal(err)
		}
		if page, err = alice.walk(w.ctx, page, nil); err != nil || !strings.Contains(page.Text, "Your account is connected") {
			t.Fatalf("%s: %v %v", server, page, err)
		}
	}
	got := w.wantStatus("a stored token", "/github/mcp", tokens["/github"], http.StatusOK)
	if got.Header.Get("Authorization") != "Bearer ghp_of_alice_0123" {
		t.Errorf("github got %v", got)
	}
	got = w.wantStatus("a connected account", "/linear/mcp", tokens["/linear"], http.StatusOK)
	if got.Path != "/mcp" || !slices.Contains(forge.Issued(), strings.TrimPrefix(got.Header.Get("Authorization"), "Bearer ")) {
		t.Errorf("linear got %v", got)
	}
	got = w.wantStatus("an account in a header of its own", "/forge/mcp", tokens["/forge"], http.StatusOK)
	if got.Header["Authorization"] != nil || !slices.Contains(forge.Issued(), got.Header.Get("X-Forge-Token")) {
		t.Errorf("forge got %v", got)
	}
}

func TestTheExampleOfTenants(t *testing.T) {
	t.Parallel()
	w := prepareExample(t)
	env := map[string]string{
		"OIDC_CLIENT_ID": "edge", "ACME_CLIENT_ID": "acme", "ACME_CLIENT_SECRET": clientSecret, "ACME_KEY": strings.Repeat("acme-key", 8),
	}
	const here = "\n\tbind 127.0.0.1\n"
	w.startExample("tenants.Caddyfile", env, googleIssuer, w.idp.Issuer(), "https://login.acme.example", w.idp.Issuer(),
		"\nacme.example.net {", "\nhttps://acme.example.net:PORT {\n\ttls internal"+here,
		"\ntools.example.com {", "\nhttps://tools.example.com:PORT {\n\ttls internal"+here,
		"\n*.mcp.example.com {", "\nhttps://*.mcp.example.com:PORT {"+here,
		"allow domain acme.example", "allow email "+idp.Alice.Email,
		"acme-mcp:3000", w.echo(), "tools-mcp:3000", w.echo(), "tenants-mcp:3000", w.echo())
	u, err := url.Parse(w.edge.URL())
	if err != nil {
		t.Fatal(err)
	}
	bases := map[string]string{} // by host
	for _, host := range []string{"acme.example.net", "tools.example.com", "one.mcp.example.com", "two.mcp.example.com"} {
		bases[host] = "https://" + host + ":" + u.Port()
	}
	w.idp.AddClient("acme", clientSecret, bases["acme.example.net"]+"/oauth2/callback")
	w.idp.AddClient("edge", clientSecret, bases["tools.example.com"]+"/oauth2/callback", bases["one.mcp.example.com"]+"/oauth2/callback", bases["two.mcp.example.com"]+"/oauth2/callback")

	var transport *http.Transport
	edge.Eventually(t, "Caddy's own authority", 20*time.Second, func() bool {
		_, err := os.Stat(filepath.Join(w.edge.Dir(), "storage", "pki", "authorities", "local", "root.crt"))
		return err == nil
	})
	transport = w.edge.Transport()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, port, _ := net.SplitHostPort(address); bases[host] != "" {
			address = "127.0.0.1:" + port
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	w.transport = transport
	tokens := map[string]string{}
	for host, base := range bases {
		edge.Eventually(t, "a certificate for "+host, 20*time.Second, func() bool {
			conn, err := tls.Dial("tcp", "127.0.0.1:"+u.Port(), &tls.Config{ServerName: host, RootCAs: transport.TLSClientConfig.RootCAs})
			return err == nil && conn.Close() == nil
		})
		alice := newPerson(idp.Alice)
		alice.SetTransport(transport)
		tokens[host] = w.newOAuthClientAt(base, "/mcp").signIn(alice).AccessToken
	}
	for host, base := range bases {
		for issuedBy, token := range tokens {
			by := &oauthClient{t: t, ctx: w.ctx, base: base, transport: transport}
			a := by.mcp("/mcp", token)
			if want := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}[host == issuedBy]; a.Status != want {
				t.Errorf("a token of %s at %s: status %d, want %d", issuedBy, host, a.Status, want)
			}
			if name, wildcard := strings.CutSuffix(host, ".mcp.example.com"); wildcard && a.Status == http.StatusOK {
				var got arrived
				if err := json.Unmarshal(a.Body, &got); err != nil || got.Header.Get("X-Tenant") != name {
					t.Errorf("the server of %s got %v, %v", host, got, err)
				}
			}
		}
	}
}

// ticketOf is the hidden field of a page's forms.
func ticketOf(t *testing.T, page *browser.Page) string {
	t.Helper()
	form, ok := page.Form("ticket")
	if !ok {
		t.Fatalf("no form at %s: %s", page.URL, page.Text)
	}
	return form.Fields.Get("ticket")
}
