package mcpauth

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func TestSignInMusts(t *testing.T) {
	e := newEdge(t)
	t.Run("N35 demands PKCE with S256", func(t *testing.T) {
		for _, pairs := range [][]string{
			{"code_challenge", "", "code_challenge_method", ""}, {"code_challenge_method", "plain"}, {"code_challenge_method", ""},
		} {
			if q := e.authorize(pairs...).redirected(t); q.Get("error") != "invalid_request" || q.Has("code") {
				t.Errorf("%v: %v", pairs, q)
			}
		}
	})
	t.Run("N36 compares redirect URIs exactly and redirects to no other", func(t *testing.T) {
		for _, uri := range []string{"https://evil.example/cb", testCallback + "/", testCallback + "?x=1", strings.ToUpper(testCallback)} {
			if a := e.authorize("redirect_uri", uri); a.status != 400 || a.Get("Location") != "" {
				t.Errorf("%s: status %d, Location %q", uri, a.status, a.Get("Location"))
			}
		}
	})
	t.Run("N37 takes any port on loopback", func(t *testing.T) {
		e.authorize("redirect_uri", "http://127.0.0.1:50124/callback").ticket(t)
	})
	t.Run("N38 takes redirect URIs on loopback or over TLS", func(t *testing.T) {
		a := e.do("POST", authserver.RegisterPath, http.Header{"Content-Type": {"application/json"}}, `{"redirect_uris":["http://client.example/cb"]}`)
		a.wantError(t, 400, "invalid_redirect_uri")
	})
	t.Run("N39 returns state exactly, and each parameter once", func(t *testing.T) {
		const state = "a b+c&d=%41\u00e9\"'"
		for _, q := range []url.Values{
			e.callback(e.atProvider("state", state)).redirected(t), e.authorize("state", state, "response_type", "token").redirected(t),
		} {
			if q.Get("state") != state {
				t.Errorf("state %q", q.Get("state"))
			}
			for name, values := range q {
				if len(values) != 1 {
					t.Errorf("%s comes %d times", name, len(values))
				}
			}
		}
	})
	t.Run("N40 tells errors by their codes", func(t *testing.T) {
		for want, q := range map[string]url.Values{
			"access_denied":             e.decide(e.authorize().ticket(t), "deny").redirected(t),
			"unsupported_response_type": e.authorize("response_type", "token").redirected(t),
			"invalid_scope":             e.authorize("scope", "\x01").redirected(t),
		} {
			if q.Get("error") != want || q.Has("code") {
				t.Errorf("%v, want %s", q, want)
			}
		}
	})
	t.Run("N41 answers invalid_target to a foreign resource", func(t *testing.T) {
		for _, resource := range []string{"https://evil.example", "not a URI", "urn:x"} {
			if q := e.authorize("resource", resource).redirected(t); q.Get("error") != "invalid_target" {
				t.Errorf("%s: %v", resource, q)
			}
		}
	})
	t.Run("N42 works with and without a resource", func(t *testing.T) {
		for _, resource := range []string{"", testIssuer, testIssuer + "/mcp"} {
			a := e.exchange(e.code("resource", resource), "resource", resource)
			if a.status != 200 || e.mcp(a.text("access_token")).status != 202 {
				t.Errorf("%q: status %d: %s", resource, a.status, a.body)
			}
		}
	})
	t.Run("N43 asks for consent before it goes to the provider", func(t *testing.T) {
		before := len(e.provider.began)
		e.cookies = make(map[string]string)
		ticket := e.authorize().ticket(t)
		if len(e.provider.began) != before {
			t.Fatal("the provider was asked first")
		}
		if e.decide(ticket, "allow"); len(e.provider.began) != before+1 {
			t.Error("the provider was not asked afterwards")
		}
	})
	t.Run("N44 keeps consent for each client and person", func(t *testing.T) {
		e.code()
		if q := e.authorize("prompt", "").redirected(t); q.Get("code") == "" {
			t.Errorf("asked again: %v", q)
		}
		first := e.clientID
		defer func() { e.clientID = first }()
		e.clientID = e.register("none", `,"client_name":"Another"`).text("client_id")
		if a := e.authorize("prompt", ""); a.Get("Location") != "" || !strings.Contains(a.body, "Another") {
			t.Errorf("another client: status %d, Location %q", a.status, a.Get("Location"))
		}
		e.clientID, e.cookies = first, make(map[string]string)
		if a := e.authorize("prompt", ""); a.Get("Location") != "" {
			t.Errorf("nobody in particular: status %d, Location %q", a.status, a.Get("Location"))
		}
	})
	t.Run("N45 names the client, the scopes and where access goes, escaped", func(t *testing.T) {
		scoped := newEdge(t, &Resource{Paths: []string{"/mcp"}, Scopes: []string{"tools:<read>"}})
		scoped.clientID = scoped.register("none", `,"client_name":"<b>Mallory</b>"`).text("client_id")
		a := scoped.authorize("resource", testIssuer+"/mcp")
		for _, want := range []string{"&lt;b&gt;Mallory&lt;/b&gt;", "tools:&lt;read&gt;", "client.example", testIssuer + "/mcp"} {
			if !strings.Contains(a.body, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		if strings.Contains(a.body, "<b>Mallory") {
			t.Error("the name is markup")
		}
	})
	t.Run("N46 takes consent from its own page only", func(t *testing.T) {
		form := url.Values{"ticket": {e.authorize().ticket(t)}, "decision": {"allow"}}
		forged := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {"https://evil.example"}}
		if a := e.do("POST", authserver.ConsentPath, forged, form.Encode()); a.status != 403 {
			t.Errorf("another site: status %d", a.status)
		}
		victim := e.cookies
		e.cookies = make(map[string]string)
		if a := e.post(authserver.ConsentPath, form); a.status != 400 {
			t.Errorf("another browser: status %d", a.status)
		}
		e.cookies = victim
		e.decide(form.Get("ticket"), "allow").redirected(t)
	})
	t.Run("N47 cannot be framed", func(t *testing.T) {
		a := e.authorize()
		if a.Get("X-Frame-Options") != "DENY" || !strings.Contains(a.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%v", a.Header)
		}
	})
	t.Run("N48 sets cookies that belong to this host and hold one client's request", func(t *testing.T) {
		e.code()
		if len(e.set) == 0 {
			t.Fatal("no cookie")
		}
		for _, c := range e.set {
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("cookie %v", c)
			}
		}
		// What consent was asked for is sealed in the form; another client's request cannot be put in its place.
		code := e.decide(e.authorize().ticket(t), "allow").redirected(t).Get("code")
		other := e.register("none", `,"client_name":"Another"`).text("client_id")
		e.exchange(code, "client_id", other).wantError(t, 400, "invalid_grant")
	})
	t.Run("N49 binds the provider's state to one browser and one use", func(t *testing.T) {
		state := e.freshState()
		victim := e.cookies
		e.cookies = make(map[string]string)
		if a := e.callback(state); a.status != 400 {
			t.Errorf("another browser: status %d", a.status)
		}
		e.cookies = victim
		if a := e.callback(state + "A"); a.status != 400 {
			t.Errorf("another state: status %d", a.status)
		}
		kept := victim["__Host-"+sessions.LoginCookieName]
		e.callback(state).redirected(t)
		e.cookies["__Host-"+sessions.LoginCookieName] = kept
		if a := e.callback(state); a.status != 400 {
			t.Errorf("a second time: status %d", a.status)
		}
		if other := e.freshState(); other == state {
			t.Error("two sign-ins share a state")
		}
	})
	t.Run("N50 sets the state's cookie after consent", func(t *testing.T) {
		e.cookies, e.set = make(map[string]string), nil
		ticket := e.authorize().ticket(t)
		for _, c := range e.set {
			if strings.HasSuffix(c.Name, sessions.LoginCookieName) {
				t.Error("it is there before")
			}
		}
		if e.decide(ticket, "allow"); e.cookies["__Host-"+sessions.LoginCookieName] == "" {
			t.Error("it is not there afterwards")
		}
	})
	t.Run("N51 shows the redirect host and warns about loopback", func(t *testing.T) {
		web, native := e.authorize(), e.authorize("redirect_uri", "http://127.0.0.1:33418/callback")
		if !strings.Contains(native.body, "127.0.0.1:33418") || !strings.Contains(native.body, "warning\" id=\"caution\"") || strings.Contains(web.body, "warning\" id=\"caution\"") {
			t.Error(native.body)
		}
	})
	t.Run("N52 sends nobody on by itself to what was not agreed to, and never to programs", func(t *testing.T) {
		first := e.clientID
		defer func() { e.clientID = first }()
		e.clientID = e.register("none", `,"client_name":"A third"`).text("client_id")
		e.code("redirect_uri", "http://127.0.0.1:1/callback")
		for _, uri := range []string{testCallback, "http://127.0.0.1:1/callback"} {
			if a := e.authorize("redirect_uri", uri, "prompt", ""); a.Get("Location") != "" || a.Get("Refresh") != "" || a.status != 200 {
				t.Errorf("%s: status %d, Location %q", uri, a.status, a.Get("Location"))
			}
		}
	})
	t.Run("N53 copes with a provider that fails", func(t *testing.T) {
		defer func() { e.provider.finish = nil }()
		for err, status := range map[error]int{identity.ErrUnavailable: 503, identity.ErrRefused: 403, identity.ErrDenied: 303} {
			state := e.freshState()
			e.provider.finish = err
			if a := e.callback(state); a.status != status || e.cookies["__Host-"+sessions.SessionCookieName] != "" {
				t.Errorf("%v: status %d", err, a.status)
			}
		}
	})
	t.Run("N55 redirects with 303, uncached", func(t *testing.T) {
		a := e.callback(e.freshState())
		if a.redirected(t); a.Get("Cache-Control") != "no-store" || a.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%v", a.Header)
		}
	})
	t.Run("N57 uses PKCE, state and nonce towards the provider", func(t *testing.T) {
		e.freshState()
		a := e.provider.began[len(e.provider.began)-1]
		if len(a.Verifier) < 43 || len(a.Nonce) < 43 || a.State == "" || a.RedirectURI != testIssuer+authserver.CallbackPath {
			t.Errorf("%+v", a)
		}
	})
}

// freshState goes as far as the provider in a browser that is not signed in.
func (e *edge) freshState() string {
	e.t.Helper()
	e.cookies = make(map[string]string)
	return e.atProvider()
}
