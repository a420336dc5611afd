package authserver

import (
	"crypto/sha256"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

// registration sends client metadata.
func (w *world) registration(contentType, body string) tokens {
	w.t.Helper()
	r := httptest.NewRequest("POST", issuer+RegisterPath, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return w.decode(w.send(r))
}

// registered registers a client and returns its id.
func (w *world) registered(authMethod string) string {
	w.t.Helper()
	got := w.registration("application/json", `{"redirect_uris":["`+callback+`"],"client_name":"Dyn","token_endpoint_auth_method":"`+authMethod+`"}`)
	if got.status != http.StatusCreated || got.ClientID == "" {
		w.t.Fatalf("status %d: %s", got.status, got.body)
	}
	return got.ClientID
}

func TestRegistration(t *testing.T) {
	const good = `{"redirect_uris":["https://client.example/cb"]}`
	long := func(n int) string {
		return `{"redirect_uris":["https://client.example/cb"],"x":"` + strings.Repeat("a", n) + `"}`
	}
	w := newWorld(t)
	for _, tc := range []struct {
		name, contentType, body string
		status                  int
		code                    string
	}{
		{"a good one", "application/json", good, 201, ""},
		{"with a charset", "application/json; charset=utf-8", good, 201, ""},
		{"in another case of the type", "Application/JSON", good, 201, ""},
		{"with members of its own", "application/json", `{"client_id":"mine","client_secret":"mine","redirect_uris":["https://client.example/cb"],"x":{}}`, 201, ""},
		{"just as large as allowed", "application/json", long(maxRegistration - len(long(0))), 201, ""},
		{"a byte too large", "application/json", long(maxRegistration - len(long(0)) + 1), 413, "invalid_client_metadata"},
		{"without a type", "", good, 400, "invalid_client_metadata"},
		{"as a form", "application/x-www-form-urlencoded", good, 400, "invalid_client_metadata"},
		{"as plain text, which needs no preflight", "text/plain", good, 400, "invalid_client_metadata"},
		{"with an unreadable type", "application/json;;", good, 400, "invalid_client_metadata"},
		{"nothing", "application/json", "", 400, "invalid_client_metadata"},
		{"null", "application/json", "null", 400, "invalid_client_metadata"},
		{"a list", "application/json", "[]", 400, "invalid_client_metadata"},
		{"two objects", "application/json", good + good, 400, "invalid_client_metadata"},
		{"a member twice", "application/json", `{"redirect_uris":["https://a.example/cb"],"redirect_uris":["https://b.example/cb"]}`, 400, "invalid_client_metadata"},
		{"nested without end", "application/json", strings.Repeat(`{"a":`, 3000), 400, "invalid_client_metadata"},
		{"no redirect URI", "application/json", `{}`, 400, "invalid_redirect_uri"},
		{"a script to go to", "application/json", `{"redirect_uris":["javascript:alert(1)"]}`, 400, "invalid_redirect_uri"},
		{"a good and a bad redirect URI", "application/json", `{"redirect_uris":["https://a.example/cb","http://a.example/cb"]}`, 400, "invalid_redirect_uri"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := w.registration(tc.contentType, tc.body)
			if tc.status != 201 {
				got.wantError(t, tc.status, tc.code)
				return
			}
			if got.status != 201 || !strings.HasPrefix(got.ClientID, "mcpid_") || strings.Contains(got.body, "null") || strings.Contains(got.body, "mine") {
				t.Errorf("status %d: %s", got.status, got.body)
			}
			if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("headers %v", got.header)
			}
		})
	}
	if w.store.written() != writesOfTheRing {
		t.Errorf("registering wrote %d times", w.store.written()-writesOfTheRing)
	}
	for _, e := range w.trail.of(audit.Registration) {
		if strings.Contains(e.ClientID, "mcpid_") || e.Allowed != (e.ClientID != "") {
			t.Errorf("recorded %+v", e)
		}
	}
}

func TestMachineEndpointsTakePostOnly(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{TokenPath, RevokePath, RegisterPath, IntrospectPath} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH"} {
			a := w.send(httptest.NewRequest(method, issuer+path, nil))
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
				t.Errorf("%s %s: status %d, Allow %q", method, path, a.status, a.header.Get("Allow"))
			}
		}
		r := httptest.NewRequest("OPTIONS", issuer+path, nil)
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Access-Control-Request-Method", "POST")
		a := w.send(r)
		if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("preflight of %s: status %d, %v", path, a.status, a.header)
		}
	}
}

// What an attacker on the network can replay, before the handshake is complete, does nothing
// (RFC 8470, section 5.2).
func TestEarlyDataIsRefused(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{TokenPath, RevokePath, RegisterPath, IntrospectPath, ConsentPath, LoginPath, CallbackPath} {
		for _, complete := range []bool{false, true} {
			r := formRequest(path, nil)
			if path == CallbackPath {
				r = httptest.NewRequest("GET", issuer+path, nil)
			}
			r.TLS = &tls.ConnectionState{HandshakeComplete: complete}
			if a := w.send(r); (a.status == http.StatusTooEarly) == complete {
				t.Errorf("%s with a complete handshake %t: status %d", path, complete, a.status)
			}
		}
	}
}

func TestRegistrationWithAnInitialAccessToken(t *testing.T) {
	one, two := strings.Repeat("initial-1", 5), strings.Repeat("initial-2", 5)
	w := newWorld(t, func(c *Config) {
		c.RegistrationTokens = [][32]byte{sha256.Sum256([]byte(one)), sha256.Sum256([]byte(two))}
	})
	issued := w.tokens()
	for _, tc := range []struct {
		name   string
		header []string
		status int
	}{
		{"the first", []string{"Bearer " + one}, 201},
		{"the second", []string{"bearer " + two}, 201},
		{"none", nil, 401},
		{"an empty one", []string{"Bearer "}, 401},
		{"another", []string{"Bearer " + one + "x"}, 401},
		{"half of one", []string{"Bearer " + one[:20]}, 401},
		{"one as Basic", []string{"Basic " + one}, 401},
		{"two at once", []string{"Bearer " + one, "Bearer " + two}, 401},
		{"an access token", []string{"Bearer " + issued.AccessToken}, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", issuer+RegisterPath, strings.NewReader(`{"redirect_uris":["`+callback+`"]}`))
			r.Header.Set("Content-Type", "application/json")
			r.Header["Authorization"] = tc.header
			got := w.decode(w.send(r))
			if got.status != tc.status || (got.ClientID != "") != (tc.status == 201) {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			if tc.status == 401 && (got.Error != "invalid_token" || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Bearer ")) {
				t.Errorf("%s, challenge %q", got.body, got.header.Get("WWW-Authenticate"))
			}
		})
	}
}
