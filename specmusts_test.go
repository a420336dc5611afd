package mcpauth

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// The demands of the MCP authorization specification on the server side, by number, as far as they can be
// proven in one process. Where the others are proven stands in provenElsewhere.
func TestDiscoveryMusts(t *testing.T) {
	e := newEdge(t)
	scoped := newEdge(t, &Resource{Paths: []string{"/mcp"}, Scopes: []string{"tools:read", "tools:write"}})
	resource := e.get("/.well-known/oauth-protected-resource/mcp")
	server := e.get("/.well-known/oauth-authorization-server")
	openID := e.get("/.well-known/openid-configuration")
	challenge := scoped.do("POST", "/mcp", nil, "{}").Get("WWW-Authenticate")

	t.Run("N01 serves protected resource metadata", func(t *testing.T) {
		if resource.status != 200 || resource.Get("Content-Type") != "application/json" || resource.json == nil {
			t.Errorf("status %d, %q", resource.status, resource.Get("Content-Type"))
		}
	})
	t.Run("N02 lists an authorization server", func(t *testing.T) {
		if servers, _ := resource.json["authorization_servers"].([]any); len(servers) != 1 || servers[0] != testIssuer {
			t.Errorf("%v", resource.json)
		}
	})
	t.Run("N03 puts the metadata URL into the challenge", func(t *testing.T) {
		if !strings.Contains(challenge, `resource_metadata="`+testIssuer+`/.well-known/oauth-protected-resource/mcp"`) {
			t.Errorf("challenge %s", challenge)
		}
	})
	t.Run("N04 serves it at the root and at the path", func(t *testing.T) {
		for _, path := range []string{"", "/mcp"} {
			if a := scoped.get("/.well-known/oauth-protected-resource" + path); a.status != 200 {
				t.Errorf("%q: status %d", path, a.status)
			}
		}
	})
	t.Run("N05 names the resource that the client asked about", func(t *testing.T) {
		if resource.text("resource") != testIssuer+"/mcp" {
			t.Errorf("%v", resource.json)
		}
	})
	t.Run("N06 has no slash at the end, and accepts one and capitals", func(t *testing.T) {
		if root := e.get("/.well-known/oauth-protected-resource"); root.text("resource") != testIssuer {
			t.Errorf("%v", root.json)
		}
		for _, spelling := range []string{testIssuer, testIssuer + "/", "HTTPS://MCP.EXAMPLE.COM", testIssuer + "/mcp/"} {
			e.authorize("resource", spelling).ticket(t)
		}
	})
	t.Run("N07 says the scopes in the challenge", func(t *testing.T) {
		if !strings.Contains(challenge, `scope="tools:read tools:write"`) {
			t.Errorf("challenge %s", challenge)
		}
	})
	t.Run("N08 names offline_access at the authorization server only", func(t *testing.T) {
		of := scoped.get("/.well-known/oauth-protected-resource/mcp")
		if strings.Contains(challenge+of.body, "offline_access") || !strings.Contains(server.body, "offline_access") {
			t.Errorf("challenge %s\nresource %s\nserver %s", challenge, of.body, server.body)
		}
	})
	t.Run("N09 serves authorization server metadata and the OpenID alias", func(t *testing.T) {
		if server.status != 200 || openID.status != 200 || server.json == nil || openID.json == nil {
			t.Errorf("status %d and %d", server.status, openID.status)
		}
	})
	t.Run("N10 serves it at the origin whatever the path of the MCP URL", func(t *testing.T) {
		if a := scoped.get("/.well-known/oauth-authorization-server"); a.status != 200 || a.text("issuer") != testIssuer {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	})
	t.Run("N11 says the issuer that the resource named", func(t *testing.T) {
		for _, a := range []answer{server, openID} {
			if a.text("issuer") != resource.json["authorization_servers"].([]any)[0] || strings.ContainsAny(a.text("issuer"), "?#") {
				t.Errorf("issuer %q", a.text("issuer"))
			}
		}
	})
	t.Run("N12 names the endpoints and response types", func(t *testing.T) {
		for _, a := range []answer{server, openID} {
			types, _ := a.json["response_types_supported"].([]any)
			if a.text("authorization_endpoint") != testIssuer+"/oauth2/auth" || a.text("token_endpoint") != testIssuer+"/oauth2/token" || len(types) != 1 || types[0] != "code" {
				t.Errorf("%s", a.body)
			}
		}
	})
	t.Run("N13 announces S256 in both documents", func(t *testing.T) {
		for _, a := range []answer{server, openID} {
			if methods, _ := a.json["code_challenge_methods_supported"].([]any); len(methods) != 1 || methods[0] != "S256" {
				t.Errorf("%s", a.body)
			}
		}
	})
	t.Run("N14 takes public and confidential clients", func(t *testing.T) {
		methods, _ := server.json["token_endpoint_auth_methods_supported"].([]any)
		for _, method := range []any{"none", "client_secret_basic", "client_secret_post"} {
			if !slices.Contains(methods, method) {
				t.Errorf("%v lacks %v", methods, method)
			}
		}
		for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
			if a := e.register(method, ""); a.status != 201 || (a.text("client_secret") == "") != (method == "none") {
				t.Errorf("%s: status %d: %s", method, a.status, a.body)
			}
		}
	})
	t.Run("N15 announces iss", func(t *testing.T) {
		if server.json["authorization_response_iss_parameter_supported"] != true || openID.json["authorization_response_iss_parameter_supported"] != true {
			t.Errorf("%s", server.body)
		}
	})
	t.Run("N16 sends iss with codes and with errors", func(t *testing.T) {
		for name, q := range map[string]string{
			"code":  e.callback(e.atProvider()).redirected(t).Get("iss"),
			"error": e.authorize("response_type", "token").redirected(t).Get("iss"),
		} {
			if q != testIssuer {
				t.Errorf("%s: iss %q", name, q)
			}
		}
	})
	t.Run("N17 announces client ID metadata documents", func(t *testing.T) {
		if server.json["client_id_metadata_document_supported"] != true {
			t.Errorf("%s", server.body)
		}
	})
	t.Run("N18 announces registration", func(t *testing.T) {
		if server.text("registration_endpoint") != testIssuer+"/oauth2/register" {
			t.Errorf("%s", server.body)
		}
	})
	t.Run("N19 refuses an issuer without TLS", func(t *testing.T) {
		if _, err := checkIssuer("http://mcp.example.com"); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("N20 is not steered by Host and forwarding headers", func(t *testing.T) {
		a := e.do("GET", "https://evil.example/.well-known/oauth-authorization-server", http.Header{"X-Forwarded-Host": {"evil.example"}, "Forwarded": {"host=evil.example"}}, "")
		b := e.do("POST", "https://evil.example/mcp", http.Header{"X-Forwarded-Host": {"evil.example"}}, "{}")
		if a.body != server.body || strings.Contains(b.Get("WWW-Authenticate"), "evil") {
			t.Errorf("%s\n%s", a.body, b.Get("WWW-Authenticate"))
		}
	})
}

func TestAccessTokenMusts(t *testing.T) {
	e := newEdge(t, &Resource{Paths: []string{"/mcp"}}, &Resource{Paths: []string{"/other"}}, &Resource{
		Paths: []string{"/scoped"}, Scopes: []string{"read", "write", "admin"}, RequiredScope: []string{"read", "write"},
		Implies: map[string][]string{"admin": {"read", "write"}},
	})
	mcp := testIssuer + "/mcp"
	issued := e.tokens("resource", mcp)
	good := issued.text("access_token")
	expired := e.token(t, mcp, func(a *sessions.Access) { a.IssuedAt -= 7200; a.ExpiresAt = a.IssuedAt + 3600 })

	t.Run("N21 answers 401 without a good token", func(t *testing.T) {
		for _, token := range []string{"", "nonsense", good + "A", expired} {
			if a := e.mcp(token); a.status != 401 {
				t.Errorf("status %d", a.status)
			}
		}
	})
	t.Run("N22 answers 403 to who may not and 400 to what cannot be read", func(t *testing.T) {
		if a := e.mcp(e.token(t, mcp, func(a *sessions.Access) { a.Email = "eve@evil.example" })); a.status != 403 {
			t.Errorf("status %d", a.status)
		}
		if a := e.do("POST", "/mcp", http.Header{"Authorization": {"Bearer " + good, "Bearer " + good}}, "{}"); a.status != 400 {
			t.Errorf("status %d", a.status)
		}
	})
	t.Run("N23 asks for a token in each request of a session", func(t *testing.T) {
		if a := e.mcp(good); a.status != 202 {
			t.Fatalf("status %d", a.status)
		}
		if a := e.do("POST", "/mcp", http.Header{"Mcp-Session-Id": {"s"}}, "{}"); a.status != 401 {
			t.Errorf("status %d", a.status)
		}
	})
	t.Run("N24 takes no token from the query", func(t *testing.T) {
		if a := e.get("/mcp?access_token=" + good); a.status != 400 {
			t.Errorf("status %d", a.status)
		}
	})
	t.Run("N25 validates tokens", func(t *testing.T) {
		altered := []byte(good)
		for _, i := range []int{8, len(altered) / 2, len(altered) - 4} {
			altered[i] ^= 1
			if a := e.mcp(string(altered)); a.status != 401 {
				t.Errorf("byte %d: status %d", i, a.status)
			}
			altered[i] ^= 1
		}
	})
	t.Run("N26 answers with a Bearer challenge that says invalid_token", func(t *testing.T) {
		if c := e.mcp(expired).Get("WWW-Authenticate"); !strings.HasPrefix(c, "Bearer ") || !strings.Contains(c, `error="invalid_token"`) {
			t.Errorf("challenge %s", c)
		}
	})
	t.Run("N27 takes tokens of this resource only", func(t *testing.T) {
		if a := e.mcp(e.token(t, testIssuer+"/other", nil)); a.status != 401 {
			t.Errorf("status %d", a.status)
		}
	})
	t.Run("N28 takes no other kind of token", func(t *testing.T) {
		for _, token := range []string{issued.text("refresh_token"), e.code("resource", mcp), e.clientID, "eyJhbGciOiJub25lIn0.e30."} {
			if a := e.mcp(token); a.status != 401 {
				t.Errorf("status %d for %.6s", a.status, token)
			}
		}
	})
	t.Run("N29 does not pass the token on", func(t *testing.T) {
		if e.mcp(good); e.seen == nil || e.seen.Header.Get("Authorization") != "" || strings.Contains(e.seen.URL.String(), good) {
			t.Errorf("%v", e.seen)
		}
	})
	t.Run("N30 lets nothing through before it has validated", func(t *testing.T) {
		e.seen = nil
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD", "PUT", "OPTIONS"} {
			if a := e.do(method, "/mcp", http.Header{"Authorization": {"Bearer " + expired}}, "{}"); a.status != 401 || e.seen != nil {
				t.Errorf("%s: status %d, passed on: %t", method, a.status, e.seen != nil)
			}
		}
	})
	t.Run("N31 takes the scheme in any case", func(t *testing.T) {
		if a := e.do("POST", "/mcp", http.Header{"Authorization": {"bEaReR " + good}}, "{}"); a.status != 202 {
			t.Errorf("status %d", a.status)
		}
	})
	t.Run("N32 names all scopes that are needed at once", func(t *testing.T) {
		few := e.token(t, testIssuer+"/scoped", func(a *sessions.Access) { a.Scope = "read" })
		a := e.do("POST", "/scoped", http.Header{"Authorization": {"Bearer " + few}}, "{}")
		c := a.Get("WWW-Authenticate")
		if a.status != 403 || !strings.Contains(c, `error="insufficient_scope"`) || !strings.Contains(c, `scope="read write"`) || !strings.Contains(c, "resource_metadata=") {
			t.Errorf("status %d, challenge %s", a.status, c)
		}
	})
	t.Run("N33 knows which scopes include others", func(t *testing.T) {
		admin := e.token(t, testIssuer+"/scoped", func(a *sessions.Access) { a.Scope = "admin" })
		if a := e.do("POST", "/scoped", http.Header{"Authorization": {"Bearer " + admin}}, "{}"); a.status != 202 {
			t.Errorf("status %d, challenge %s", a.status, a.Get("WWW-Authenticate"))
		}
	})
	t.Run("N34 names no error when no token came", func(t *testing.T) {
		if c := e.do("POST", "/mcp", nil, "{}").Get("WWW-Authenticate"); c == "" || strings.Contains(c, "error") {
			t.Errorf("challenge %s", c)
		}
	})
	t.Run("N65 issues tokens that do not live long", func(t *testing.T) {
		if seconds, _ := issued.json["expires_in"].(float64); seconds <= 0 || time.Duration(seconds)*time.Second > time.Hour {
			t.Errorf("expires_in %v", issued.json["expires_in"])
		}
	})
	t.Run("N92 takes a session id for no authentication", func(t *testing.T) {
		e.cookies["__Host-"+sessions.SessionCookieName] = "x"
		if a := e.do("GET", "/mcp", http.Header{"Mcp-Session-Id": {"s"}}, ""); a.status != 401 {
			t.Errorf("status %d", a.status)
		}
	})
}
