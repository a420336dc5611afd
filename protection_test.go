package mcpauth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

// newModeHandler makes a handler without providers from the lines of an mcp_auth block, on a memory
// store.
func newModeHandler(tb testing.TB, block string) *Handler {
	tb.Helper()
	d := caddyfile.NewTestDispenser("mcp_auth {\n" + block + "\n}")
	d.Next()
	h := &Handler{logger: zap.NewNop(), audit: audit.Discard{}}
	if err := h.unmarshal(d); err != nil {
		tb.Fatal(err)
	}
	if err := h.load(caddy.Context{}, nil); err != nil {
		tb.Fatal(err)
	}
	h.inherit(new(Options))
	if err := h.complete(); err != nil {
		tb.Fatal(err)
	}
	for _, r := range h.Resources {
		if err := r.load(); err != nil {
			tb.Fatal(err)
		}
	}
	var err error
	if h.runtime, err = newRuntime(MemoryStore{}, nil, zap.NewNop()); err != nil {
		tb.Fatal(err)
	}
	if h.clients, err = resolveClients(nil, nil); err != nil {
		tb.Fatal(err)
	}
	if h.fixed, err = h.newSite(h.Issuer); err != nil {
		tb.Fatal(err)
	}
	return h
}

// requestFrom prepares a request as Caddy's server does for a client with this address.
func requestFrom(addr, method, target string, header http.Header) *http.Request {
	r, _ := request(method, target, header)
	caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, addr)
	return r
}

func TestNetworkGate(t *testing.T) {
	const inside, outside = "10.0.0.7", "203.0.113.9"
	const whole = "allow_network 10.0.0.0/8\n"
	const parts = "resource /github {\nallow_network 10.0.0.0/8\n}\nresource /linear {\nallow_network private_ranges\ndeny_network 10.0.0.0/24\n}\n"
	for _, tc := range []struct {
		name, block, addr, path string
		status                  int
		passed                  bool
	}{
		{"inside", whole, inside, "/mcp", 204, true},
		{"outside", whole, outside, "/mcp", 403, false},
		{"inside, in IPv6 form", whole, "::ffff:10.0.0.7", "/mcp", 204, true},
		{"no address", whole, "", "/mcp", 403, false},
		{"an address that is none", whole, "unix", "/mcp", 403, false},
		{"metadata, inside", whole, inside, "/.well-known/oauth-protected-resource", 404, false},
		{"metadata of the authorization server, inside", whole, inside, "/.well-known/oauth-authorization-server/mcp", 404, false},
		{"metadata, outside", whole, outside, "/.well-known/oauth-protected-resource", 403, false},
		{"an endpoint that is not there, inside", whole, inside, "/oauth2/token", 404, false},
		{"an endpoint that is not there, outside", whole, outside, "/oauth2/token", 403, false},
		{"denied within allowed", whole + "deny_network 10.0.0.7\n", inside, "/mcp", 403, false},
		{"any, said in so many words", "allow_network any\n", outside, "/mcp", 204, true},
		{"a resource with networks of its own, inside", parts, inside, "/github/mcp", 204, true},
		{"a resource with networks of its own, outside", parts, outside, "/github/mcp", 403, false},
		{"a resource that denies", parts, inside, "/linear/mcp", 403, false},
		{"a resource that denies others", parts, "10.0.1.7", "/linear/mcp", 204, true},
		{"what belongs to no resource, outside", parts, outside, "/public", 204, true},
		{"an endpoint path that belongs to no resource, outside", parts, outside, "/oauth2/auth", 204, true},
		{"the site's networks and the resource's", whole + "resource /github {\nallow_network 10.9.0.0/16\n}\n", inside, "/github/mcp", 403, false},
		{"the resource's networks and not the site's", "allow_network 10.9.0.0/16\nresource /github {\nallow_network 10.0.0.0/8\n}\n", inside, "/github/mcp", 403, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newModeHandler(t, tc.block)
			r := requestFrom(tc.addr, "POST", "http://mcp.internal"+tc.path, http.Header{
				"X-Forwarded-User": {"mallory"}, "X-Forwarded-For": {"10.0.0.7"}, "Authorization": {"Bearer the upstream's own"},
			})
			status, header, got := serve(t, h, r)
			if status != tc.status || (got != nil) != tc.passed {
				t.Fatalf("status %d, passed on: %t; want %d, %t", status, got != nil, tc.status, tc.passed)
			}
			if challenge := header.Get("WWW-Authenticate"); challenge != "" {
				t.Errorf("challenge %q, where no token is asked for", challenge)
			}
			if got != nil && (got.Header.Get("X-Forwarded-User") != "" || got.Header.Get("Authorization") == "") {
				t.Errorf("passed on with %v", got.Header)
			}
		})
	}
}

// A page that somebody inside opens must not reach what only their network opens.
func TestAnOpenSiteRefusesForeignPages(t *testing.T) {
	h := newModeHandler(t, "allow_network 10.0.0.0/8")
	for origin, want := range map[string]int{"https://evil.example": 403, "null": 403, "http://localhost:6274": 204} {
		r := requestFrom("10.0.0.7", "POST", "http://mcp.internal/mcp", http.Header{"Origin": {origin}})
		if status, _, got := serve(t, h, r); status != want || (got != nil) != (want == 204) {
			t.Errorf("%s: status %d, passed on: %t", origin, status, got != nil)
		}
	}
}

func TestNetworksCombineWithSignIn(t *testing.T) {
	h := newTestHandler(t)
	var err error
	if h.Options.networks, err = (&Networks{AllowNetworks: []string{"10.0.0.0/8"}}).resolve(); err != nil {
		t.Fatal(err)
	}
	if h.fixed, err = h.newSite(testIssuer); err != nil {
		t.Fatal(err)
	}
	bearer := http.Header{"Authorization": {"Bearer " + h.token(t, testIssuer, nil)}}
	for _, tc := range []struct {
		name, addr, path string
		header           http.Header
		status           int
	}{
		{"inside with a token", "10.0.0.7", "/mcp", bearer, 204},
		{"inside without a token", "10.0.0.7", "/mcp", nil, 401},
		{"outside with a token", "203.0.113.9", "/mcp", bearer, 403},
		{"outside without a token", "203.0.113.9", "/mcp", nil, 403},
		{"the metadata, outside", "203.0.113.9", "/.well-known/oauth-authorization-server", nil, 403},
		{"the metadata, inside", "10.0.0.7", "/.well-known/oauth-authorization-server", nil, 200},
		{"the authorization endpoint, outside", "203.0.113.9", "/oauth2/auth", nil, 403},
	} {
		if status, _, _ := serve(t, h, requestFrom(tc.addr, "GET", testIssuer+tc.path, tc.header)); status != tc.status {
			t.Errorf("%s: status %d, want %d", tc.name, status, tc.status)
		}
	}
}

func TestValidateProtection(t *testing.T) {
	t.Setenv("CI_TOKEN", "ci-0123456789abcdefghijklmnopqrstuvwxyz")
	t.Setenv("SHORT_TOKEN", "short")
	t.Setenv("PLACEHOLDER_TOKEN", strings.Repeat("changeme", 5))
	const external = "authorization_server https://idp.example.com\n"
	const token = "token ci {\nvalue {env.CI_TOKEN}\n"
	const hash = "a591a6d40bf420404a011733cfb7b190d62c65bf0bcda32b57b277d9ad9f146e"
	for _, tc := range []struct {
		name, block string
		want        string // a part of the error; empty for none
	}{
		{"networks alone", "allow_network private_ranges\n", ""},
		{"tokens alone", token + "}\n", ""},
		{"a token by its hash", "token ci {\nsha256 " + hash + "\n}\n", ""},
		{"somebody else's authorization server", "issuer https://mcp.example.com\n" + external + "allow any\n", ""},
		{"everything together", "issuer https://mcp.example.com\n" + external + "allow any\nallow_network any\n" + token + "}\n", ""},
		{"networks of every resource", "resource /a {\nallow_network 10.0.0.0/8\n}\n", ""},
		{"a token that has expired", token + "expires 2020-01-01\n}\n", ""},

		{"nothing", "name x\n", "nothing to sign in with"},
		{"only denied networks", "deny_network 203.0.113.0/24\n", "nothing to sign in with"},
		{"a resource without networks", "resource /a {\nallow_network 10.0.0.0/8\n}\nresource /b\n", "resource /b: nothing protects it"},
		{"a resource with denied networks only", "resource /a {\ndeny_network 10.0.0.0/8\n}\n", "resource /a: nothing protects it"},
		{"every address", "allow_network 0.0.0.0/0\n", `write "allow_network any"`},
		{"a network that is none", "allow_network intranet\n", "Caddyfile:3"},
		{"rules for people who cannot sign in", "allow domain example.com\nallow_network 10.0.0.0/8\n", "nothing to sign in with"},
		{"rules of a resource for people who cannot sign in", "resource /a {\nallow domain example.com\n}\n" + token + "}\n", "resource /a has allow rules"},
		{"all pages, without a token", "allow_network 10.0.0.0/8\norigins *\n", "name the origins"},

		{"somebody else's authorization server without rules", "issuer https://mcp.example.com\n" + external, "no allow rule"},
		{"two ways to issue tokens", external + "allow any\noidc https://idp.example.com {\nclient_id edge\n}\n", "keep one of the two"},
		{"an issuer over plain http", "authorization_server http://idp.example.com\nallow any\n", "Caddyfile:3"},
		{"an unknown option of it", "authorization_server https://idp.example.com {\nclient_id x\n}\nallow any\n", "authorization_server knows:"},
		{"two introspection endpoints", "authorization_server https://a.example.com {\nintrospection https://a.example.com/i\n}\n" +
			"authorization_server https://b.example.com {\nintrospection https://b.example.com/i\n}\nallow any\n", "leave it to one"},
		{"a secret whose variable is not set", "authorization_server https://a.example.com {\nintrospection https://a.example.com/i {\n" +
			"client_id edge\nclient_secret {env.TEST_UNSET}\n}\n}\nallow any\n", "env.TEST_UNSET"},

		{"a token without a value", "token ci\n", "has no value"},
		{"a token with two values", "token ci {\nvalue {env.CI_TOKEN}\nsha256 " + hash + "\n}\n", "keep one of them"},
		{"a token in the configuration", "token ci {\nvalue ci-0123456789abcdefghijklmnopqrstuvwxyz\n}\n", "not a placeholder"},
		{"a token whose variable is not set", "token ci {\nvalue {env.TEST_UNSET}\n}\n", "env.TEST_UNSET"},
		{"a token that is too short", "token ci {\nvalue {env.SHORT_TOKEN}\n}\n", "shorter than 32"},
		{"a token that is a placeholder", "token ci {\nvalue {env.PLACEHOLDER_TOKEN}\n}\n", "easy to guess"},
		{"a token of another resource", token + "resource /b\n}\nresource /a\n", "resource /b: there is no such resource"},
		{"a token of a part of the site", token + "resource /mcp\n}\n", "resource /mcp: there is no such resource"},
		{"a token with an unknown scope", token + "scopes admin\n}\nresource /a {\nscopes read\n}\n", "has the scope admin"},
		{"a token with a network that is none", token + "networks intranet\n}\n", "Caddyfile:3"},
		{"a token with an end that is none", token + "expires tomorrow\n}\n", "no date"},
		{"a token with a name that is none", "token {env.NAME} {\nvalue {env.CI_TOKEN}\n}\n", "a name is"},
		{"two tokens of one name", token + "}\n" + token + "}\n", "given twice"},
		{"two tokens of one value", token + "}\ntoken backup {\nvalue {env.CI_TOKEN}\n}\n", "has the same value"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(t, ":8080 {\nmcp_auth {\n"+tc.block+"}\n}\n")
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "0123456789abcdefghijklmnopqrstuvwxyz") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestASiteReplacesWhereTokensComeFrom(t *testing.T) {
	t.Setenv("CI_TOKEN", "ci-0123456789abcdefghijklmnopqrstuvwxyz")
	const oidc = "oidc https://idp.example.com {\nclient_id edge\n}\n"
	const external = "authorization_server https://idp.example.com\n"
	for _, tc := range []struct{ name, global, site, want string }{
		{"somebody else's server instead of the shared provider", oidc + "allow any\n", external, ""},
		{"a provider instead of the shared server", external + "allow any\n", oidc, ""},
		{"shared networks alone", "allow_network 10.0.0.0/8\n", "", ""},
		{"shared tokens alone", "token ci {\nvalue {env.CI_TOKEN}\n}\n", "", ""},
		{"both shared", oidc + external + "allow any\n", "", "keep one of the two"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(t, "{\nmcp_auth {\n"+tc.global+"}\n}\n:8080 {\nmcp_auth {\nissuer https://mcp.example.com\n"+tc.site+"}\n}\n")
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

// Nobody is known on an open site, so nothing that hangs on a person or a token may end a stream.
func TestStreamsOfAnOpenSite(t *testing.T) {
	h := newModeHandler(t, "allow_network 10.0.0.0/8\nstreams {\nmax_per_user 1\n}")
	const event = "data: hello\n\n"
	var nested func(depth int) caddyhttp.Handler
	nested = func(depth int) caddyhttp.Handler {
		return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(http.StatusOK)
			if depth > 0 {
				// While this stream is open, somebody else opens one.
				other := requestFrom("10.0.0.8", "GET", "http://mcp.internal/mcp", http.Header{"Accept": {"text/event-stream"}})
				answer := httptest.NewRecorder()
				if err := h.ServeHTTP(answer, other, nested(depth-1)); err != nil || answer.Code != 200 || answer.Body.String() != event {
					t.Errorf("stream %d: %d %q, %v", depth, answer.Code, answer.Body, err)
				}
			}
			_, err := w.Write([]byte(event))
			return err
		})
	}
	w := httptest.NewRecorder()
	r := requestFrom("10.0.0.7", "GET", "http://mcp.internal/mcp", http.Header{"Accept": {"text/event-stream"}})
	if err := h.ServeHTTP(w, r, nested(2)); err != nil || w.Body.String() != event {
		t.Errorf("got %q, %v", w.Body, err)
	}
}

func TestProxiesOfEverybodyAreRefused(t *testing.T) {
	t.Setenv("CI_TOKEN", "ci-0123456789abcdefghijklmnopqrstuvwxyz")
	for _, tc := range []struct {
		name, proxies, block string
		refused              bool
	}{
		{"a proxy", "10.0.0.2/32", "allow_network private_ranges", false},
		{"everybody", "0.0.0.0/0", "allow_network private_ranges", true},
		{"everybody by IPv6", "10.0.0.2/32 ::/0", "allow_network private_ranges", true},
		{"everybody, for one resource", "0.0.0.0/0", "resource /a {\nallow_network private_ranges\n}", true},
		{"everybody, for one token", "0.0.0.0/0", "token ci {\nvalue {env.CI_TOKEN}\nnetworks 10.0.0.0/8\n}", true},
		{"a proxy, where addresses decide about limits only", "10.0.0.2/32", "token ci {\nvalue {env.CI_TOKEN}\n}", false},
		{"everybody, where addresses decide about limits only", "0.0.0.0/0", "token ci {\nvalue {env.CI_TOKEN}\n}", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(t, "{\nservers {\ntrusted_proxies static "+tc.proxies+"\n}\n}\n:8080 {\nmcp_auth {\n"+tc.block+"\n}\n}\n")
			if tc.refused != (err != nil) || err != nil && !strings.Contains(err.Error(), "write the addresses of your proxies") {
				t.Errorf("got %v", err)
			}
		})
	}
}
