package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// One edge, one store: a site with a provider, a rule and a key of its own, and one block for every
// name below a domain.
const tenantSites = `
https://acme.test:%[1]d {
	bind 127.0.0.1
	tls internal
	mcp_auth {
		oidc %[2]s {
			client_id acme
			client_secret {env.OIDC_CLIENT_SECRET}
		}
		allow email %[4]s
		key {env.ACME_KEY}
	}
	reverse_proxy %[3]s {
		header_up Host {upstream_hostport}
	}
}

https://*.tenants.test:%[1]d {
	bind 127.0.0.1
	tls internal
	mcp_auth {
		local {
			user %[4]s ` + "`%[5]s`" + `
		}
		allow domain example.com
	}
	reverse_proxy %[3]s {
		header_up Host {upstream_hostport}
	}
}
`

func TestTenantsShareAnEdgeAndNothingElse(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(localPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	port := edge.FreePort(t)
	w.edge = edge.Start(t, edge.Config{
		Port: port, TLS: true, Site: "\trespond 404\n",
		More: fmt.Sprintf(tenantSites, port, w.idp.Issuer(), w.up.Addr(), idp.Alice.Email, hash),
		Env:  map[string]string{"OIDC_CLIENT_SECRET": clientSecret, "ACME_KEY": strings.Repeat("acme-key", 8)},
	})
	w.idp.AddClient("acme", clientSecret, fmt.Sprintf("https://acme.test:%d/oauth2/callback", port))

	hosts := []string{"acme.test", "one.tenants.test", "two.tenants.test"}
	transport := w.edge.Transport()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, fmt.Sprintf(".test:%d", port)) {
			address = fmt.Sprintf("127.0.0.1:%d", port)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	client := &http.Client{Transport: transport}
	clients := make(map[string]*mcpclient.Client)
	for _, host := range hosts {
		edge.Eventually(t, "a certificate for "+host, 20*time.Second, func() bool { return handshakes(port, host, transport.TLSClientConfig) })
		address := fmt.Sprintf("https://%s:%d", host, port)
		if issuer := issuerAt(t, client, address); issuer != address {
			t.Errorf("the issuer of %s is %s", address, issuer)
		}
		alice := newLocalPerson(idp.Alice.Email, localPassword)
		if host == "acme.test" {
			alice = newPerson(idp.Alice)
		}
		alice.SetTransport(transport)
		c, err := mcpclient.Connect(w.ctx, address+upstream.StreamablePath, mcpclient.Options{SignIn: alice.signIn, HTTP: client})
		if err != nil {
			t.Fatalf("%s: %v", host, err)
		}
		t.Cleanup(func() { _ = c.Close() })
		var who upstream.Identity
		if err := c.Call(w.ctx, "whoami", nil, &who); err != nil || who.Email != idp.Alice.Email {
			t.Errorf("%s: whoami answered %+v, %v", host, who, err)
		}
		clients[host] = c
	}

	for _, issuedBy := range hosts {
		for _, host := range hosts {
			status := callWith(t, client, fmt.Sprintf("https://%s:%d", host, port), "", clients[issuedBy].Token().AccessToken)
			if refused := status == http.StatusUnauthorized; refused == (issuedBy == host) {
				t.Errorf("a token of %s at %s: status %d", issuedBy, host, status)
			}
		}
	}
	// A connection to one tenant is none to another, though the certificate would cover both.
	status := callWith(t, client, fmt.Sprintf("https://one.tenants.test:%d", port), "two.tenants.test", clients["two.tenants.test"].Token().AccessToken)
	if status != http.StatusMisdirectedRequest {
		t.Errorf("one tenant's requests over another's connection: status %d, want 421", status)
	}
}

// handshakes tells whether host has its certificate already; Caddy gets it beside serving.
func handshakes(port int, host string, base *tls.Config) bool {
	c := base.Clone()
	c.ServerName = host
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), c)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

func issuerAt(t *testing.T, client *http.Client, address string) string {
	t.Helper()
	resp, err := client.Get(address + "/.well-known/oauth-authorization-server")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var document struct {
		Issuer string `json:"issuer"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&document); err != nil {
		t.Fatalf("%s: %s, %v", address, resp.Status, err)
	}
	return document.Issuer
}

// callWith sends a request to the MCP server at address, for another host if one is given.
func callWith(t *testing.T, client *http.Client, address, host, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+upstream.StreamablePath, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
