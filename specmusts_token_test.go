package mcpauth

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
)

func TestTokenEndpointMusts(t *testing.T) {
	e := newEdge(t, &Resource{Paths: []string{"/mcp"}, Scopes: []string{"tools:read", "tools:write"}})
	t.Run("N58 verifies the code verifier", func(t *testing.T) {
		for _, verifier := range []string{"", strings.Repeat("a", 43), testChallenge} {
			e.exchange(e.code("resource", ""), "code_verifier", verifier).wantError(t, 400, "invalid_grant")
		}
	})
	t.Run("N59 takes a code once, and ends the grant of a replayed one", func(t *testing.T) {
		code := e.code("resource", "")
		first := e.exchange(code)
		e.exchange(code).wantError(t, 400, "invalid_grant")
		if a := e.mcp(first.text("access_token")); a.status != 401 {
			t.Errorf("status %d", a.status)
		}
		e.refresh(first.text("refresh_token")).wantError(t, 400, "invalid_grant")
	})
	t.Run("N59 takes a code once in a race", func(t *testing.T) {
		code := e.code("resource", "")
		answers := make([]answer, 20)
		var all sync.WaitGroup
		racers := *e
		racers.cookies = nil
		for i := range answers {
			all.Go(func() { racer := racers; answers[i] = racer.exchange(code) })
		}
		all.Wait()
		won := 0
		for _, a := range answers {
			if a.status == 200 {
				won++
			} else {
				a.wantError(t, 400, "invalid_grant")
			}
		}
		if won > 1 {
			t.Errorf("%d won", won)
		}
	})
	t.Run("N60 binds codes and refresh tokens to their client", func(t *testing.T) {
		other := e.register("none", `,"client_name":"Another"`).text("client_id")
		e.exchange(e.code("resource", ""), "client_id", other).wantError(t, 400, "invalid_grant")
		mine := e.tokens("resource", "")
		e.refresh(mine.json["refresh_token"], "client_id", other).wantError(t, 400, "invalid_grant")
		if a := e.refresh(mine.json["refresh_token"]); a.status != 200 {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	})
	t.Run("N61 authenticates confidential clients", func(t *testing.T) {
		public := e.clientID
		defer func() { e.clientID = public }()
		registered := e.register("client_secret_post", `,"client_name":"Confidential"`)
		e.clientID = registered.text("client_id")
		for secret, status := range map[string]int{"": 401, "wrong": 401, registered.text("client_secret"): 200} {
			a := e.exchange(e.code("resource", ""), "client_secret", secret)
			if a.status != status || status == 401 && a.text("error") != "invalid_client" {
				t.Errorf("status %d: %s", a.status, a.body)
			}
		}
	})
	t.Run("N62 answers JSON that nobody keeps, with a token type", func(t *testing.T) {
		a := e.tokens("resource", "")
		if a.Get("Content-Type") != "application/json" || a.Get("Cache-Control") != "no-store" || a.text("token_type") != "Bearer" {
			t.Errorf("%v: %s", a.Header, a.body)
		}
	})
	t.Run("N63 tells errors by their codes", func(t *testing.T) {
		e.exchange("").wantError(t, 400, "invalid_request")
		e.exchange("nothing").wantError(t, 400, "invalid_grant")
		e.exchange("nothing", "client_id", "nobody").wantError(t, 401, "invalid_client")
		e.exchange("nothing", "grant_type", "password").wantError(t, 400, "unsupported_grant_type")
		e.refresh(e.tokens("resource", "", "scope", "tools:read").json["refresh_token"], "scope", "tools:write").wantError(t, 400, "invalid_scope")
	})
	t.Run("N64 takes a form in a POST, each parameter once", func(t *testing.T) {
		form := url.Values{"grant_type": {"authorization_code"}, "client_id": {e.clientID}, "code": {"x"}, "code_verifier": {testVerifier}}
		if a := e.get(authserver.TokenPath + "?" + form.Encode()); a.status != 405 {
			t.Errorf("GET: status %d", a.status)
		}
		e.do("POST", authserver.TokenPath, http.Header{"Content-Type": {"application/json"}}, `{"grant_type":"authorization_code"}`).wantError(t, 400, "invalid_request")
		form["code"] = []string{"x", "x"}
		e.post(authserver.TokenPath, form).wantError(t, 400, "invalid_request")
		e.exchange(e.code("resource", ""), "redirect_uri", "https://evil.example/cb").wantError(t, 400, "invalid_grant")
		if a := e.exchange(e.code("resource", ""), "redirect_uri", testCallback); a.status != 200 {
			t.Errorf("the right redirect_uri: status %d", a.status)
		}
	})
	t.Run("N66 rotates refresh tokens", func(t *testing.T) {
		first := e.tokens("resource", "")
		if second := e.refresh(first.json["refresh_token"]); second.text("refresh_token") == "" || second.text("refresh_token") == first.text("refresh_token") {
			t.Errorf("%s", second.body)
		}
	})
	t.Run("N67 ends the family of a reused refresh token", func(t *testing.T) {
		first := e.tokens("resource", "")
		second := e.refresh(first.json["refresh_token"])
		third := e.refresh(second.json["refresh_token"])
		e.refresh(first.json["refresh_token"]).wantError(t, 400, "invalid_grant")
		e.refresh(third.json["refresh_token"]).wantError(t, 400, "invalid_grant")
		if a := e.mcp(third.text("access_token")); a.status != 401 {
			t.Errorf("status %d", a.status)
		}
	})
	t.Run("N68 refreshes without widening", func(t *testing.T) {
		first := e.tokens("resource", "", "scope", "tools:read")
		e.refresh(first.json["refresh_token"], "scope", "tools:read tools:write").wantError(t, 400, "invalid_scope")
		e.refresh(first.json["refresh_token"], "resource", "https://evil.example").wantError(t, 400, "invalid_target")
		a := e.refresh(first.json["refresh_token"], "resource", testIssuer+"/mcp")
		if a.status != 200 || a.text("scope") != "tools:read" || e.mcp(a.text("access_token")).status != 202 {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	})
	t.Run("N69 revokes both kinds, for their own client, and knows no unknown token", func(t *testing.T) {
		other := e.register("none", `,"client_name":"Another"`).text("client_id")
		revoke := func(token, client string) int {
			return e.post(authserver.RevokePath, url.Values{"token": {token}, "client_id": {client}}).status
		}
		a := e.tokens("resource", "")
		if status := revoke(a.text("access_token"), other); status != 400 || e.mcp(a.text("access_token")).status != 202 {
			t.Errorf("another client: status %d", status)
		}
		if status := revoke(a.text("access_token"), e.clientID); status != 200 || e.mcp(a.text("access_token")).status != 401 {
			t.Errorf("access token: status %d", status)
		}
		b := e.refresh(a.json["refresh_token"])
		if status := revoke(b.text("refresh_token"), e.clientID); status != 200 || e.mcp(b.text("access_token")).status != 401 || e.refresh(b.json["refresh_token"]).status != 400 {
			t.Errorf("refresh token: status %d", status)
		}
		if status := revoke("unknown", e.clientID); status != 200 {
			t.Errorf("unknown token: status %d", status)
		}
	})
	t.Run("N70 grants scopes that exist, and the default to who names none", func(t *testing.T) {
		for requested, want := range map[string]string{
			"tools:read evil offline_access": "tools:read", "": "tools:read tools:write", "evil": "tools:read tools:write",
		} {
			if got := e.tokens("resource", "", "scope", requested).text("scope"); got != want {
				t.Errorf("%q: granted %q, want %q", requested, got, want)
			}
		}
	})
}

func TestRegistrationMusts(t *testing.T) {
	e := newEdge(t)
	t.Run("N71 returns what was registered, and when a secret expires", func(t *testing.T) {
		a := e.register("client_secret_basic", `,"client_name":"A client","client_uri":"https://client.example"`)
		if a.status != 201 || a.text("client_name") != "A client" || a.text("token_endpoint_auth_method") != "client_secret_basic" ||
			a.json["redirect_uris"] == nil || a.json["grant_types"] == nil || a.text("client_secret") == "" || a.json["client_secret_expires_at"] != 0.0 {
			t.Errorf("status %d: %s", a.status, a.body)
		}
		if a := e.register("none", ""); a.json["client_secret"] != nil || a.json["client_secret_expires_at"] != nil {
			t.Errorf("%s", a.body)
		}
	})
	t.Run("N72 ignores unknown members and needs redirect URIs", func(t *testing.T) {
		if a := e.register("none", `,"shoe_size":42,"contacts":["x"]`); a.status != 201 || strings.Contains(a.body, "shoe") {
			t.Errorf("status %d: %s", a.status, a.body)
		}
		e.do("POST", authserver.RegisterPath, http.Header{"Content-Type": {"application/json"}}, `{"client_name":"x"}`).wantError(t, 400, "invalid_redirect_uri")
	})
	t.Run("N73 answers 400 with an error code", func(t *testing.T) {
		e.register("tls_client_auth", "").wantError(t, 400, "invalid_client_metadata")
	})
	t.Run("N74 takes application_type", func(t *testing.T) {
		for _, kind := range []string{"native", "web"} {
			if a := e.register("none", `,"application_type":"`+kind+`"`); a.status != 201 {
				t.Errorf("%s: status %d: %s", kind, a.status, a.body)
			}
		}
	})
}
