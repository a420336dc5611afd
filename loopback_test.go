package mcpauth

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// arrival is a request as the server of this computer gets it; change may make it another one.
func arrival(target, remote, local, host string, header http.Header) *http.Request {
	r, _ := request("GET", target, header)
	r.RemoteAddr, r.Host = remote, host
	r.TLS = nil
	if addr, err := net.ResolveTCPAddr("tcp", local); err == nil {
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr)))
	}
	return r
}

func TestCheckLoopback(t *testing.T) {
	const remote, local, host = "127.0.0.1:51234", "127.0.0.1:8080", "localhost:8080"
	for _, tc := range []struct {
		name, remote, local, host string
		header                    http.Header
		want                      error
	}{
		{"this computer", remote, local, host, nil, nil},
		{"by address", remote, local, "127.0.0.1:8080", nil, nil},
		{"by another address of this computer", "127.0.0.7:51234", "127.0.0.2:8080", "127.0.0.2:8080", nil, nil},
		{"by IPv6", "[::1]:51234", "[::1]:8080", "[::1]:8080", nil, nil},
		{"by IPv6 as a dual-stack listener sees IPv4", "[::ffff:127.0.0.1]:51234", "[::ffff:127.0.0.1]:8080", host, nil, nil},
		{"in capitals", remote, local, "LOCALHOST:8080", nil, nil},
		{"without a port", remote, local, "localhost", nil, nil},
		{"another computer", "192.0.2.7:51234", "192.0.2.1:8080", host, nil, errRemote},
		{"this computer by its public address", "192.0.2.1:51234", "192.0.2.1:8080", host, nil, errRemote},
		{"another computer that says it is this one", "192.0.2.7:51234", local, host, http.Header{"X-Forwarded-For": {"127.0.0.1"}}, errRemote},
		{"a public address only", remote, "192.0.2.1:8080", host, nil, errLocal},
		{"a connection without addresses", "@", "", host, nil, errRemote},
		{"a connection without a local address", remote, "", host, nil, errLocal},
		{"a website that resolves to this computer", remote, local, "evil.example:8080", nil, errHost},
		{"a website whose name begins like this computer's", remote, local, "localhost.evil.example:8080", nil, errHost},
		{"a website whose name begins like an address", remote, local, "127.0.0.1.evil.example:8080", nil, errHost},
		{"userinfo that looks like this computer", remote, local, "localhost:8080@evil.example", nil, errHost},
		{"every address", remote, local, "0.0.0.0:8080", nil, errHost},
		{"the computer's address in the network", remote, local, "192.0.2.1:8080", nil, errHost},
		{"no host", remote, local, "", nil, errHost},
		{"a tunnel", remote, local, host, http.Header{"X-Forwarded-For": {"192.0.2.7"}}, errForwarded},
		{"a tunnel that says it is this computer", remote, local, host, http.Header{"X-Forwarded-Host": {"localhost"}}, errForwarded},
		{"a proxy by RFC 7239", remote, local, host, http.Header{"Forwarded": {"for=127.0.0.1"}}, errForwarded},
		{"a proxy that names itself", remote, local, host, http.Header{"Via": {"1.1 edge"}}, errForwarded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := arrival("http://localhost:8080/mcp", tc.remote, tc.local, tc.host, tc.header)
			if err := checkLoopback(r); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// newDevHandler makes a handler in development mode whose issuer comes from the request, and what it logs.
func newDevHandler(t *testing.T) (*Handler, *bytes.Buffer) {
	t.Helper()
	h := newTestHandler(t)
	logged := new(bytes.Buffer)
	h.logger = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(logged), zap.InfoLevel))
	provider, err := new(Dev).build()
	if err != nil {
		t.Fatal(err)
	}
	h.fixed, h.policy, h.providers = nil, nil, []identity.Provider{provider}
	if err := h.complete(); err != nil {
		t.Fatal(err)
	}
	return h, logged
}

func TestDevelopmentModeAnswersOnThisComputerOnly(t *testing.T) {
	h, _ := newDevHandler(t)
	for _, path := range []string{"/mcp", "/.well-known/oauth-authorization-server", "/oauth2/auth", "/oauth2/token", "/oauth2/register"} {
		for host, outsider := range map[string]bool{"localhost:8080": false, "evil.example": true} {
			w := httptest.NewRecorder()
			err := h.ServeHTTP(w, arrival("http://localhost:8080"+path, "127.0.0.1:51234", "127.0.0.1:8080", host, nil), new(upstream))
			refused := w.Code == http.StatusForbidden && strings.Contains(w.Body.String(), "development mode")
			if refused != outsider {
				t.Errorf("%s at %s: status %d, %v: %s", path, host, w.Code, err, w.Body)
			}
			if w.Header().Get("Mcp-Auth-Mode") != "dev" {
				t.Errorf("%s at %s: the answer does not say in which mode it was given", path, host)
			}
		}
	}
}

// A laptop's site may keep its address and its store when it gets a real sign-in.
func TestRefusalsOfDevelopmentModeAreCounted(t *testing.T) {
	h, _ := newDevHandler(t)
	registry := prometheus.NewRegistry()
	if err := collectors.Register(registry); err != nil {
		t.Fatal(err)
	}
	count := func() (n float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, metric := range family.GetMetric() {
				for _, label := range metric.GetLabel() {
					if family.GetName() == "caddy_mcp_auth_requests_refused_total" && label.GetValue() == string(reasonOutsider) {
						n += metric.GetCounter().GetValue()
					}
				}
			}
		}
		return n
	}
	before := count()
	for range 2 {
		r := arrival("http://localhost:8080/mcp", "127.0.0.1:51234", "127.0.0.1:8080", "evil.example", nil)
		if err := h.ServeHTTP(httptest.NewRecorder(), r, new(upstream)); err != nil {
			t.Fatal(err)
		}
	}
	if counted := count() - before; counted != 2 {
		t.Errorf("counted %v of 2", counted)
	}
}

func TestDevelopmentTokensEndWithDevelopmentMode(t *testing.T) {
	dev, _ := newDevHandler(t)
	devSite, err := dev.newSite(testIssuer)
	if err != nil {
		t.Fatal(err)
	}
	signing := newTestHandler(t)
	signing.runtime = dev.runtime
	if signing.fixed, err = signing.newSite(testIssuer); err != nil {
		t.Fatal(err)
	}
	dev.fixed = devSite
	token := dev.token(t, testIssuer, nil)
	var a sessions.Access
	if err := devSite.vault.OpenAccess(token, &a); err != nil {
		t.Fatalf("in development mode: %v", err)
	}
	if err := signing.fixed.vault.OpenAccess(token, &a); !errors.Is(err, sessions.ErrInvalid) {
		t.Errorf("with a sign-in: %v, want %v", err, sessions.ErrInvalid)
	}
}

func TestDevelopmentModeIsLoud(t *testing.T) {
	h, logged := newDevHandler(t)
	h.warnDev()
	if line := logged.String(); !strings.Contains(line, `"warn"`) || !strings.Contains(line, "DEVELOPMENT MODE") || !strings.Contains(line, "dev@example.com") {
		t.Errorf("logged %s", line)
	}
}

func TestAProviderOfItsOwnEndsInheritedDevelopmentMode(t *testing.T) {
	dev, err := new(Dev).build()
	if err != nil {
		t.Fatal(err)
	}
	own := newTestHandler(t)
	shared := Options{providers: []identity.Provider{dev}}
	for _, tc := range []struct {
		name         string
		site, shared Options
		develops     bool
		rules        bool
	}{
		{"the site signs people in", own.Options, shared, false, true},
		{"the site says nothing", Options{}, shared, true, false},
		{"the site develops, the others sign people in", shared, own.Options, true, false},
		{"the site says nothing, and there are rules", Options{}, Options{providers: shared.providers, policy: own.policy}, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			site := tc.site
			site.inherit(&tc.shared)
			if site.develops() != tc.develops || (site.policy != nil) != tc.rules {
				t.Errorf("develops: %t, has rules: %t", site.develops(), site.policy != nil)
			}
		})
	}
}
