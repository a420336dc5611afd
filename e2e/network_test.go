package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func (w *world) gatedSite(extra string) string {
	return fmt.Sprintf("\tmcp_auth {\n\t\t%s\n\t}\n\treverse_proxy %s\n", extra, w.up.Addr())
}

func forwardedFor(addr string) http.Header { return http.Header{"X-Forwarded-For": {addr}} }

// The address that counts is the one that Caddy takes for the client's, whatever a client says.
func TestTheNetworkOfAClientIsTheOneThatCaddySees(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	for _, tc := range []struct {
		name, options, gate string
		header              http.Header
		want                int
	}{
		{"a client inside", "", "allow_network 127.0.0.0/8", nil, http.StatusOK},
		{"a client outside", "", "allow_network 10.0.0.0/8", nil, http.StatusForbidden},
		{"a client outside that says it is inside", "", "allow_network 10.0.0.0/8", forwardedFor("10.0.0.7"), http.StatusForbidden},
		{"a client inside that says it is outside", "", "allow_network 127.0.0.0/8", forwardedFor("203.0.113.9"), http.StatusOK},
		{"a client inside, behind a trusted proxy", "trusted_proxies static 127.0.0.1/32 ::1/128", "allow_network 10.0.0.0/8", forwardedFor("10.0.0.7"), http.StatusOK},
		{"a client outside, behind a trusted proxy", "trusted_proxies static 127.0.0.1/32 ::1/128", "allow_network 10.0.0.0/8", forwardedFor("203.0.113.9"), http.StatusForbidden},
		{"a client inside, in IPv6 form, behind a trusted proxy", "trusted_proxies static 127.0.0.1/32 ::1/128", "allow_network 10.0.0.0/8", forwardedFor("::ffff:10.0.0.7"), http.StatusOK},
		{"a denied client behind a trusted proxy", "trusted_proxies static 127.0.0.1/32 ::1/128", "allow_network private_ranges\n\t\tdeny_network 10.0.0.7", forwardedFor("10.0.0.7"), http.StatusForbidden},
		{"a client outside, whose own word comes first", "trusted_proxies static 127.0.0.1/32 ::1/128\n\t\ttrusted_proxies_strict", "allow_network 10.0.0.0/8", forwardedFor("10.0.0.7, 203.0.113.9"), http.StatusForbidden},
		{"a client inside, behind two proxies", "trusted_proxies static 127.0.0.1/32 ::1/128 192.0.2.1/32\n\t\ttrusted_proxies_strict", "allow_network 10.0.0.0/8", forwardedFor("10.0.0.7, 192.0.2.1"), http.StatusOK},
		{"a proxy that is not trusted", "trusted_proxies static 192.0.2.1/32", "allow_network 10.0.0.0/8", forwardedFor("10.0.0.7"), http.StatusForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := edge.Config{Site: w.gatedSite(tc.gate), Servers: tc.options}
			by := &oauthClient{t: t, ctx: w.ctx, base: edge.Start(t, config).URL()}
			before := len(w.up.Seen())
			a := by.mcp(upstream.StatelessPath, "", tc.header)
			if a.Status != tc.want || a.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("status %d, want %d; challenge %q", a.Status, tc.want, a.Header.Get("WWW-Authenticate"))
			}
			if reached := len(w.up.Seen()) > before; reached != (tc.want == http.StatusOK) {
				t.Errorf("reached the server: %t", reached)
			}
		})
	}
}

func TestAClientWithoutOAuthUsesAServerOfItsNetwork(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	w.start(w.gatedSite("allow_network private_ranges"))
	client := w.mustConnect(upstream.StreamablePath, newPerson(idp.Alice), mcpclient.Options{
		Header: http.Header{"X-Forwarded-User": {"mallory"}},
	})
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
		t.Fatal(err)
	}
	if who != (upstream.Identity{}) {
		t.Errorf("the server believes that %+v is calling", who)
	}
	if n := client.SignIns(); n != 0 {
		t.Errorf("%d sign-ins", n)
	}
}
