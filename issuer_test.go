package mcpauth

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
)

func TestCheckIssuer(t *testing.T) {
	for _, tc := range []struct{ name, issuer, want string }{
		{"an origin", "https://mcp.example.com", "https://mcp.example.com"},
		{"with a slash", "https://mcp.example.com/", "https://mcp.example.com"},
		{"in capitals", "HTTPS://MCP.Example.COM", "https://mcp.example.com"},
		{"with the default port", "https://mcp.example.com:443", "https://mcp.example.com"},
		{"with another port", "https://mcp.example.com:8443", "https://mcp.example.com:8443"},
		{"plain http on loopback", "http://localhost:8080", "http://localhost:8080"},
		{"plain http on a loopback address", "http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"plain http on the loopback of IPv6", "http://[::1]:8080", "http://[::1]:8080"},
		{"TLS on loopback", "https://localhost", "https://localhost"},
		{"plain http elsewhere", "http://mcp.example.com", ""},
		{"plain http on a name that begins like loopback", "http://localhost.example.com", ""},
		{"plain http on an unspecified address", "http://0.0.0.0:8080", ""},
		{"plain http on an address that begins like loopback", "http://127.0.0.1.example.com", ""},
		{"another scheme", "ftp://mcp.example.com", ""},
		{"no scheme", "mcp.example.com", ""},
		{"a host and port only", "mcp.example.com:443", ""},
		{"nothing", "", ""},
		{"no host", "https://", ""},
		{"a path", "https://mcp.example.com/auth", ""},
		{"a query", "https://mcp.example.com?x=1", ""},
		{"a fragment", "https://mcp.example.com#x", ""},
		{"userinfo", "https://user@mcp.example.com", ""},
		{"white space", "https://mcp.example.com /", ""},
		{"a placeholder that was not set", "https://{env.NOBODY_SETS_THIS}", ""},
		{"a bad port", "https://mcp.example.com:99999", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := checkIssuer(tc.issuer)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			}
			if err != nil && tc.issuer != "" && !strings.Contains(err.Error(), "issuer") {
				t.Errorf("the error does not name the option: %v", err)
			}
		})
	}
}

func TestDeriveIssuer(t *testing.T) {
	const (
		loopback, public = "127.0.0.1:8080", "203.0.113.7:443"

		unknown = -1 // errIssuerUnknown
	)
	h := newDerivedHandler(t)
	for _, tc := range []struct {
		name, host, sni, local string // sni "-": plain http
		want                   string
		status                 int
	}{
		{"TLS for the host", "mcp.example.com", "mcp.example.com", public, "https://mcp.example.com", 0},
		{"TLS in another case", "MCP.example.com", "mcp.EXAMPLE.com", public, "https://mcp.example.com", 0},
		{"TLS on another port", "mcp.example.com:8443", "mcp.example.com", public, "https://mcp.example.com:8443", 0},
		{"TLS with the default port", "mcp.example.com:443", "mcp.example.com", public, "https://mcp.example.com", 0},
		{"loopback", "localhost:8080", "-", loopback, "http://localhost:8080", 0},
		{"a loopback address", "127.0.0.1:8080", "-", loopback, "http://127.0.0.1:8080", 0},
		{"the loopback of IPv6", "[::1]:8080", "-", "[::1]:8080", "http://[::1]:8080", 0},
		{"TLS on loopback without a server name", "127.0.0.1:8443", "", loopback, "https://127.0.0.1:8443", 0},
		{"HTTP/3 on loopback without a server name", "localhost:8443", "", "udp", "https://localhost:8443", 0},
		{"TLS for another name", "evil.example", "mcp.example.com", public, "", 421},
		{"TLS without a server name", "mcp.example.com", "", public, "", 421},
		{"TLS with a dot after the host", "mcp.example.com.", "mcp.example.com", public, "", 421},
		{"TLS with userinfo in the host", "mcp.example.com@evil.example", "mcp.example.com", public, "", 421},
		{"TLS with a path in the host", "mcp.example.com/x", "mcp.example.com", public, "", 421},
		{"TLS with a port that is none", "mcp.example.com:x", "mcp.example.com", public, "", 400},
		{"plain http", "mcp.example.com", "-", public, "", unknown},
		{"plain http that claims to be loopback", "localhost", "-", public, "", unknown},
		{"plain http that claims to be a loopback address", "127.0.0.1", "-", public, "", unknown},
		{"plain http on loopback for another name", "mcp.example.com", "-", loopback, "", unknown},
		{"plain http on an unknown address", "localhost", "-", "", "", unknown},
		{"plain http on a unix socket", "localhost", "-", "unix", "", unknown},
		{"no host", "", "-", loopback, "", 400},
		{"a port without a host", ":8080", "-", loopback, "", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			// What a proxy or an attacker says about the address counts for nothing.
			r.Header = http.Header{"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}, "Forwarded": {"host=evil.example"}}
			r.Host = tc.host
			if tc.sni != "-" {
				r.TLS = &tls.ConnectionState{ServerName: tc.sni}
			}
			switch tc.local {
			case "":
			case "udp":
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.UDPAddr{IP: net.IPv6loopback})))
			case "unix":
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.UnixAddr{Name: "/run/caddy.sock"})))
			default:
				addr, err := net.ResolveTCPAddr("tcp", tc.local)
				if err != nil {
					t.Fatal(err)
				}
				r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr)))
			}
			for range 2 { // what the first request leaves behind changes nothing
				got := ""
				s, err := h.site(r)
				if err == nil {
					got = s.issuer
				}
				var failed caddyhttp.HandlerError
				if errors.As(err, &failed); errors.Is(err, errIssuerUnknown) {
					failed.StatusCode = unknown
				}
				if got != tc.want || failed.StatusCode != tc.status {
					t.Errorf("%q, %v; want %q or status %d", got, err, tc.want, tc.status)
				}
			}
		})
	}
}

// The port of an issuer that is told from the request is what the Host header says. It must not get anybody
// around a limit, nor push out what was fetched.
func TestAnotherPortIsNoWayAroundLimits(t *testing.T) {
	h := newTestHandler(t)
	settings, err := resolveClients(nil, []*Client{{ID: "tv", GrantTypes: []string{clients.GrantDeviceCode}}})
	if err != nil {
		t.Fatal(err)
	}
	settings.documents = &clients.Documents{AllowLoopback: true}
	h.fixed, h.clients = nil, settings
	if _, err := h.newSite(noIssuer); err != nil { // as provisioning does
		t.Fatal(err)
	}
	ask := func(port int, method, target, body string) int {
		t.Helper()
		host := "localhost:" + strconv.Itoa(port)
		r := httptest.NewRequest(method, "https://"+host+target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.TLS = &tls.ConnectionState{ServerName: "localhost", HandshakeComplete: true}
		local := net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443})
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
		w := httptest.NewRecorder()
		if err := h.ServeHTTP(w, r, new(upstream)); err != nil {
			t.Fatal(err)
		}
		return w.Code
	}

	issued := 0
	for port := 1001; port <= 1040; port++ {
		if ask(port, http.MethodPost, "/oauth2/device_authorization", "client_id=tv") == http.StatusOK {
			issued++
		}
	}
	if issued != 10 {
		t.Errorf("one address got %d device codes at once, want 10", issued)
	}

	var fetches atomic.Int32
	documents, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer documents.Close()
	go func() {
		for {
			conn, err := documents.Accept()
			if err != nil {
				return
			}
			fetches.Add(1)
			conn.Close()
		}
	}()
	for port := 1001; port <= 1040; port++ {
		id := "https://" + documents.Addr().String() + "/" + strconv.Itoa(port)
		ask(port, http.MethodGet, "/oauth2/auth?client_id="+url.QueryEscape(id), "")
	}
	if n := fetches.Load(); n != 10 {
		t.Errorf("one address had %d documents fetched at once, want 10", n)
	}
}

// Each issuer has its own tokens, also where the issuers were told from requests; and asking for many does
// not fill the memory.
func TestDerivedSites(t *testing.T) {
	h := newTestHandler(t)
	h.fixed = nil
	ask := func(host string) *site {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host, r.TLS = host, &tls.ConnectionState{ServerName: host}
		s, err := h.site(r)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one := ask("one.example.com")
	if ask("one.example.com") != one {
		t.Error("a site is made for each request")
	}
	if s := ask("two.example.com"); s.issuer != "https://two.example.com" || s.vault.Tenant == one.vault.Tenant {
		t.Errorf("issuer %s, tenant %s", s.issuer, s.vault.Tenant)
	}
	for i := range maxDerivedSites + 10 {
		ask("n" + strings.Repeat("x", i%50) + "-" + string(rune('a'+i%26)) + "-" + strings.Repeat("y", i/50) + ".example.com")
	}
	if n, hosts := len(h.derived.sites), len(*h.derived.hosts.Load()); n > maxDerivedSites || hosts > maxDerivedSites {
		t.Errorf("%d sites of %d hosts are kept", n, hosts)
	}
	if s := ask("one.example.com"); s.issuer != one.issuer {
		t.Errorf("issuer %s", s.issuer)
	}
}
