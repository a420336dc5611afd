package mcpauth

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// newGuardedHandler makes a handler with options of the guard.
func newGuardedHandler(t *testing.T, o GuardOptions, resources ...*Resource) *Handler {
	t.Helper()
	h := newTestHandler(t, resources...)
	var err error
	if h.guarding, err = o.settings(); err != nil {
		t.Fatal(err)
	}
	if h.fixed, err = h.newSite(testIssuer); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAPageNeedsToBeAllowed(t *testing.T) {
	h := newGuardedHandler(t, GuardOptions{Origins: []string{"https://app.example.com"}})
	token := "Bearer " + h.token(t, testIssuer, nil)
	for _, tc := range []struct {
		name   string
		method string
		header http.Header
		status int
		allow  string
	}{
		{"a page with a token", "POST", http.Header{"Origin": {"https://app.example.com"}, "Authorization": {token}}, 204, "https://app.example.com"},
		{"a page without a token", "POST", http.Header{"Origin": {"https://app.example.com"}}, 401, "https://app.example.com"},
		{"a page with two tokens", "POST", http.Header{"Origin": {"https://app.example.com"}, "Authorization": {token, token}}, 400, "https://app.example.com"},
		{"a page with a session of somebody else", "POST", http.Header{
			"Origin": {"https://app.example.com"}, "Authorization": {token}, "Mcp-Session-Id": {"stolen"}, "Content-Type": {"application/json"},
		}, 404, "https://app.example.com"},
		{"another page with a token", "POST", http.Header{"Origin": {"https://evil.example"}, "Authorization": {token}}, 403, ""},
		{"another page's preflight", "OPTIONS", http.Header{"Origin": {"https://evil.example"}, "Access-Control-Request-Method": {"POST"}}, 403, ""},
		{"a preflight", "OPTIONS", http.Header{"Origin": {"https://app.example.com"}, "Access-Control-Request-Method": {"POST"}}, 204, "https://app.example.com"},
		{"OPTIONS that is no preflight", "OPTIONS", http.Header{"Origin": {"https://app.example.com"}}, 401, "https://app.example.com"},
		{"a program", "POST", http.Header{"Authorization": {token}}, 204, ""},
		{"the site itself", "POST", http.Header{"Origin": {testIssuer}, "Authorization": {token}}, 204, testIssuer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, _ := request(tc.method, testIssuer+"/mcp", tc.header)
			status, header, got := serve(t, h, r)
			if status != tc.status {
				t.Fatalf("status %d, want %d", status, tc.status)
			}
			if passed := got != nil; passed != (status == 204 && tc.method != "OPTIONS") {
				t.Errorf("passed on: %v", passed)
			}
			allow := header.Values("Access-Control-Allow-Origin")
			if strings.Join(allow, "|") != tc.allow || header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%v", header)
			}
			if tc.header["Origin"] != nil && !strings.Contains(header.Get("Vary"), "Origin") {
				t.Errorf("Vary is %q", header.Get("Vary"))
			}
		})
	}
}

func TestBadTokensAreThrottledAndOthersAreNot(t *testing.T) {
	h := newGuardedHandler(t, GuardOptions{MaxBadTokens: given(3)})
	ask := func(addr, token string) (int, http.Header) {
		r, _ := request("POST", testIssuer+"/mcp", http.Header{"Authorization": {"Bearer " + token}})
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, addr)
		status, header, _ := serve(t, h, r)
		return status, header
	}
	expired := h.token(t, testIssuer, func(a *sessions.Access) { a.IssuedAt -= 7200; a.ExpiresAt = a.IssuedAt + 3600 })
	for range 5 { // expired tokens are no guesses
		if status, _ := ask("2001:db8::1", expired); status != 401 {
			t.Fatalf("an expired token was answered with %d", status)
		}
	}
	for i, want := range []int{401, 401, 401, 429} {
		if status, _ := ask("2001:db8::"+strconv.Itoa(i+1), "guess"); status != want {
			t.Fatalf("guess %d was answered with %d, want %d", i+1, status, want)
		}
	}
	status, header := ask("2001:db8::5", "mcpat_guess")
	if after, err := strconv.Atoi(header.Get("Retry-After")); status != 429 || err != nil || after < 1 || after > 60 {
		t.Errorf("got %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	if status, _ := ask("2001:db8::1", h.token(t, testIssuer, nil)); status != 204 {
		t.Errorf("a valid token from the same network was answered with %d", status)
	}
	if status, header := ask("2001:db8::1", expired); status != 401 || header.Get("WWW-Authenticate") == "" {
		t.Errorf("an expired token from the same network was answered with %d", status)
	}
	if status, _ := ask("2001:db8:0:1::1", "guess"); status != 401 {
		t.Errorf("another network was answered with %d", status)
	}
	h = newGuardedHandler(t, GuardOptions{MaxBadTokens: given(0)})
	for range 200 {
		if status, _ := ask("192.0.2.1", "guess"); status != 401 {
			t.Fatalf("without a limit a guess was answered with %d", status)
		}
	}
}

func TestOnePersonsRequestsAreLimitedAndOthersAreNot(t *testing.T) {
	h := newGuardedHandler(t, GuardOptions{MaxRequestsPerUser: given(3)})
	ask := func(change func(*sessions.Access)) (int, http.Header) {
		r, _ := request("POST", testIssuer+"/mcp", http.Header{"Authorization": {"Bearer " + h.token(t, testIssuer, change)}})
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
		status, header, _ := serve(t, h, r)
		return status, header
	}
	for i, want := range []int{204, 204, 204, 429} {
		// Another client and another token of the same person change nothing.
		if status, _ := ask(func(a *sessions.Access) { a.ClientID = strconv.Itoa(i) }); status != want {
			t.Fatalf("request %d was answered with %d, want %d", i+1, status, want)
		}
	}
	status, header := ask(nil)
	if after, err := strconv.Atoi(header.Get("Retry-After")); status != 429 || err != nil || after < 1 || after > 20 {
		t.Errorf("got %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	if header.Get("WWW-Authenticate") != "" {
		t.Error("a client that is told to wait must not be sent to sign in")
	}
	if status, _ := ask(func(a *sessions.Access) { a.Subject = "somebody else" }); status != 204 {
		t.Errorf("somebody else at the same address was answered with %d", status)
	}
	if status, _ := ask(func(a *sessions.Access) { a.IssuedAt -= 7200; a.ExpiresAt = a.IssuedAt + 3600 }); status != 401 {
		t.Errorf("an expired token of theirs was answered with %d: its owner has to learn that it is time to refresh", status)
	}
	h = newGuardedHandler(t, GuardOptions{MaxRequestsPerUser: given(0)})
	for range 50 {
		if status, _ := ask(nil); status != 204 {
			t.Fatalf("without a limit a request was answered with %d", status)
		}
	}
}

func TestTheLengthOfAMessage(t *testing.T) {
	const most = 4096
	h := newGuardedHandler(t, GuardOptions{MaxBody: given[int64](most)})
	token := "Bearer " + h.token(t, testIssuer, nil)
	reader := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return caddyhttp.Error(http.StatusBadGateway, err) // as a proxy does
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
	for _, tc := range []struct {
		name   string
		size   int
		known  bool // in Content-Length
		header http.Header
		status int
	}{
		{"a message that fits", most, true, http.Header{"Content-Type": {"application/json"}}, 204},
		{"one that is too long", most + 1, true, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, 413},
		{"one of unknown length that fits", most, false, http.Header{"Content-Type": {"application/json"}}, 204},
		{"one of unknown length that is too long", most + 1, false, http.Header{"Content-Type": {"application/json"}}, 413},
		{"a request that only says it is MCP", most + 1, false, http.Header{"Mcp-Protocol-Version": {"2025-11-25"}}, 413},
		{"an upload to another application", most + 1, true, http.Header{"Content-Type": {"image/png"}}, 204},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, _ := request("DELETE", testIssuer+"/mcp", tc.header)
			r.Header.Set("Authorization", token)
			r.Body = io.NopCloser(bytes.NewReader(make([]byte, tc.size)))
			if r.ContentLength = -1; tc.known {
				r.ContentLength = int64(tc.size)
			}
			w := httptest.NewRecorder()
			err := h.ServeHTTP(w, r, reader)
			status := w.Code
			var failed caddyhttp.HandlerError
			if errors.As(err, &failed) {
				status = failed.StatusCode
			}
			if status != tc.status {
				t.Errorf("got %d, %v; want %d", status, err, tc.status)
			}
		})
	}
}

func TestMessagesThatWouldBeReadTwoWays(t *testing.T) {
	h := newTestHandler(t)
	token := "Bearer " + h.token(t, testIssuer, nil)
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		status int
	}{
		{"a plain request of another application", func(r *http.Request) { r.Method = "PROPFIND" }, 204},
		{"a method that MCP has not", func(r *http.Request) { r.Method = "PUT"; r.Header.Set("Mcp-Protocol-Version", "2025-11-25") }, 405},
		{"two sessions", func(r *http.Request) { r.Header["Mcp-Session-Id"] = []string{"a", "b"} }, 400},
		{"early data", func(r *http.Request) { r.TLS = &tls.ConnectionState{ServerName: "mcp.example.com"} }, 425},
		{"a WebSocket", func(r *http.Request) { r.Header.Set("Upgrade", "websocket") }, 403},
		{"a tunnel", func(r *http.Request) { r.Method = "CONNECT" }, 405},
		{"a host that is none", func(r *http.Request) { r.Host = "mcp.example.com, evil.example" }, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, _ := request("POST", testIssuer+"/mcp", http.Header{"Authorization": {token}})
			tc.change(r)
			status, header, got := serve(t, h, r)
			if status != tc.status || (got != nil) != (tc.status == 204) || (status == 405) != (header.Get("Allow") != "") {
				t.Errorf("status %d, Allow %q, passed on: %v", status, header.Get("Allow"), got != nil)
			}
		})
	}
	// What an endpoint of the authorization server does must not be done twice either.
	for path, want := range map[string]bool{
		"/oauth2/token": true, "/oauth2/register": true, "/oauth2/consent": true, "/oauth2/login": true,
		"/oauth2/auth": false, "/.well-known/oauth-authorization-server": false,
	} {
		r, _ := request("GET", testIssuer+path, nil)
		r.TLS = &tls.ConnectionState{ServerName: "mcp.example.com"}
		if status, _, _ := serve(t, h, r); (status == 425) != want {
			t.Errorf("%s in early data was answered with %d", path, status)
		}
	}
}

// A host that a request may claim once must not vouch for those that may not.
func TestADerivedHostVouchesForNobody(t *testing.T) {
	h := newDerivedHandler(t)
	ask := func(server string) error {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host, r.TLS = "mcp.example.com", &tls.ConnectionState{ServerName: server}
		_, err := h.site(r)
		return err
	}
	if err := ask("mcp.example.com"); err != nil {
		t.Fatal(err)
	}
	if err := ask("other.example.com"); err == nil {
		t.Error("a request with another server name got the site")
	}
}

func given[T any](v T) *T { return &v }

// Every limit has two words for no limit, and no other spelling of zero means the default instead.
func TestLimitsAreOffWithZero(t *testing.T) {
	parse := func(text string) GuardOptions {
		t.Helper()
		d := caddyfile.NewTestDispenser(text)
		var o GuardOptions
		for d.Next() {
			if known, err := o.unmarshalOption(d); err != nil || !known {
				t.Fatalf("%s: %v, %v", text, known, err)
			}
		}
		return o
	}
	decode := func(text string) (o GuardOptions) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, tc := range []struct {
		name string
		o    GuardOptions
	}{
		{"off", parse("max_body off\nmax_bad_tokens off\nmax_requests_per_user off\nstreams {\nheartbeat off\nmax_per_user off\nmax off\nexpiry_grace off\n}")},
		{"0", parse("max_body 0\nmax_bad_tokens 0\nmax_requests_per_user 0\nstreams {\nheartbeat 0\nmax_per_user 0\nmax 0\nexpiry_grace 0\n}")},
		{"0 with a unit", parse("max_body 0B\nmax_bad_tokens 00\nmax_requests_per_user 00\nstreams {\nheartbeat 0s\nmax_per_user 0\nmax 0\nexpiry_grace 0s\n}")},
		{"0 in JSON", decode(`{"max_body": 0, "max_bad_tokens": 0, "max_requests_per_user": 0, "streams": {"heartbeat": 0, "max_per_user": 0, "max": 0, "expiry_grace": 0}}`)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.o.inherit(&GuardOptions{MaxBody: given[int64](4 << 20), MaxBadTokens: given(10), Streams: &Streams{Max: given(7)}})
			text, err := json.Marshal(tc.o)
			if err != nil {
				t.Fatal(err)
			}
			handedOver := decode(string(text)) // as Caddy does
			s, err := handedOver.settings()
			if err != nil || s.maxBody != 0 || s.badTokens != nil || s.requests != nil || s.heartbeat != 0 || s.limits != (sseproxy.Limits{}) || s.grace != 0 {
				t.Errorf("%s became %+v, %v", text, s, err)
			}
		})
	}
	s, err := new(GuardOptions).settings()
	if err != nil || s.maxBody == 0 || s.badTokens == nil || s.requests == nil || s.heartbeat == 0 || s.limits.PerUser == 0 || s.limits.All == 0 {
		t.Errorf("nothing became %+v, %v", s, err)
	}
}

func TestGuardOptionsAreBounded(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		name string
		o    GuardOptions
		says string
	}{
		{"nothing", GuardOptions{}, ""},
		{"everything off", GuardOptions{MaxBody: given[int64](0), MaxBadTokens: given(0), MaxRequestsPerUser: given(0),
			Streams: &Streams{Heartbeat: given[caddy.Duration](0), MaxPerUser: given(0), Max: given(0)}}, ""},
		{"everything on", GuardOptions{Upgrades: &yes, Origins: []string{"self"}, Streams: &Streams{ExpiryGrace: caddy.Duration(time.Minute)}}, ""},
		{"a heartbeat of nothing", GuardOptions{Streams: &Streams{Heartbeat: given[caddy.Duration](5)}}, "heartbeat"},
		{"a heartbeat of less than nothing", GuardOptions{Streams: &Streams{Heartbeat: given[caddy.Duration](-1)}}, "heartbeat"},
		{"a heartbeat of a day", GuardOptions{Streams: &Streams{Heartbeat: given(caddy.Duration(24 * time.Hour))}}, "heartbeat"},
		{"a grace of a day", GuardOptions{Streams: &Streams{ExpiryGrace: caddy.Duration(24 * time.Hour)}}, "expiry_grace"},
		{"a grace in the past", GuardOptions{Streams: &Streams{ExpiryGrace: -5}}, "expiry_grace"},
		{"fewer than no streams", GuardOptions{Streams: &Streams{Max: given(-1)}}, "max"},
		{"fewer than no streams of one person", GuardOptions{Streams: &Streams{MaxPerUser: given(-1)}}, "max_per_user"},
		{"fewer than no tokens", GuardOptions{MaxBadTokens: given(-1)}, "max_bad_tokens"},
		{"fewer than no requests", GuardOptions{MaxRequestsPerUser: given(-1)}, "max_requests_per_user"},
		{"a body of a few bytes", GuardOptions{MaxBody: given[int64](10)}, "max_body"},
		{"a body of less than nothing", GuardOptions{MaxBody: given[int64](-1)}, "max_body"},
		{"half an origin", GuardOptions{Origins: []string{"example.com"}}, "https://"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.o.settings()
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want it to say %q", err, tc.says)
			}
		})
	}
}
