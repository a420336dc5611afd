package credentials

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

const issuer = "https://as.example"

func document(change func(map[string]any)) []byte {
	d := map[string]any{"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token", "revocation_endpoint": issuer + "/revoke"}
	if change != nil {
		change(d)
	}
	body, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return body
}

func TestParseMetadata(t *testing.T) {
	set := func(name string, value any) func(map[string]any) {
		return func(d map[string]any) { d[name] = value }
	}
	for _, tc := range []struct {
		name   string
		change func(map[string]any)
		want   string // a part of the error; empty for none
	}{
		{"complete", nil, ""},
		{"with S256", set("code_challenge_methods_supported", []string{"plain", "S256"}), ""},
		{"without revocation", set("revocation_endpoint", ""), ""},
		{"another issuer", set("issuer", "https://evil.example"), "another issuer"},
		{"a trailing slash", set("issuer", issuer+"/"), "trailing slash"},
		{"no issuer", set("issuer", ""), "another issuer"},
		{"plain PKCE only", set("code_challenge_methods_supported", []string{"plain"}), "S256"},
		{"no authorization endpoint", set("authorization_endpoint", ""), "authorization_endpoint"},
		{"a program on the person's device", set("authorization_endpoint", "file:///C:/Windows/System32/calc.exe"), "authorization_endpoint"},
		{"a command", set("authorization_endpoint", "http:$(calc.exe)?response_type=code"), "authorization_endpoint"},
		{"a script", set("authorization_endpoint", "javascript:alert(1)"), "authorization_endpoint"},
		{"an application", set("authorization_endpoint", "vscode://a.example/x"), "authorization_endpoint"},
		{"plain http", set("authorization_endpoint", "http://as.example/authorize"), "authorization_endpoint"},
		{"plain http on loopback", set("token_endpoint", "http://localhost/token"), "token_endpoint"},
		{"a user in the URL", set("token_endpoint", "https://as.example@evil.example/token"), "token_endpoint"},
		{"a fragment", set("token_endpoint", "https://as.example/token#x"), "token_endpoint"},
		{"a line break", set("token_endpoint", "https://as.example/to\r\nken"), "token_endpoint"},
		{"an endpoint of another type", set("token_endpoint", 7), "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			md, err := parseMetadata(document(tc.change), issuer, false)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) || (md == nil) != (err != nil) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	if md, err := parseMetadata(document(set("revocation_endpoint", "javascript:alert(1)")), issuer, false); err != nil || md.RevocationEndpoint != "" {
		t.Errorf("a revocation endpoint that is none: %+v, %v", md, err)
	}
}

func TestParseProtectedResource(t *testing.T) {
	const server = "https://mcp.as.example/mcp"
	for _, tc := range []struct {
		name, body, want string
	}{
		{"one server", `{"resource":"https://mcp.as.example/mcp","authorization_servers":["https://as.example"]}`, "https://as.example"},
		{"several", `{"resource":"https://MCP.as.example:443/mcp/","authorization_servers":["https://as.example","https://b.example"]}`, "https://as.example"},
		{"about another resource", `{"resource":"https://mcp.as.example/","authorization_servers":["https://as.example"]}`, ""},
		{"about none", `{"authorization_servers":["https://as.example"]}`, ""},
		{"no server", `{"resource":"https://mcp.as.example/mcp"}`, ""},
		{"a server that is no URL", `{"resource":"https://mcp.as.example/mcp","authorization_servers":["javascript:alert(1)"]}`, ""},
		{"a server over plain http", `{"resource":"https://mcp.as.example/mcp","authorization_servers":["http://as.example"]}`, ""},
		{"a server on this machine", `{"resource":"https://mcp.as.example/mcp","authorization_servers":["http://127.0.0.1:2019"]}`, ""},
		{"no object", `[]`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, err := parseProtectedResource([]byte(tc.body), server, false)
			if got != tc.want && err == nil || (err == nil) != (tc.want != "") {
				t.Errorf("%q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestDiscovery(t *testing.T) {
	const path = "/mcp"
	for _, tc := range []struct {
		name      string
		server    string // path
		documents func(*authServer) map[string]any
		resource  string // path; "-": no parameter
		fails     bool
	}{
		{"the issuer of RFC 8414", "", func(s *authServer) map[string]any {
			return map[string]any{"/.well-known/oauth-authorization-server": s.metadata()}
		}, "-", false},
		{"OpenID Connect", "", func(s *authServer) map[string]any {
			return map[string]any{"/.well-known/openid-configuration": s.metadata()}
		}, "-", false},
		{"an issuer with a path, inserted", "/realm", func(s *authServer) map[string]any {
			d := s.metadata()
			d["issuer"] = s.URL + "/realm"
			return map[string]any{"/.well-known/oauth-authorization-server/realm": d}
		}, "-", false},
		{"an issuer with a path, appended", "/realm", func(s *authServer) map[string]any {
			d := s.metadata()
			d["issuer"] = s.URL + "/realm"
			return map[string]any{"/realm/.well-known/openid-configuration": d}
		}, "-", false},
		{"an MCP server", path, func(s *authServer) map[string]any {
			return map[string]any{
				"/.well-known/oauth-protected-resource/mcp": map[string]any{"resource": s.URL + path, "authorization_servers": []string{s.URL}},
				"/.well-known/oauth-authorization-server":   s.metadata(),
			}
		}, path, false},
		{"an MCP server that speaks of another", path, func(s *authServer) map[string]any {
			return map[string]any{
				"/.well-known/oauth-protected-resource/mcp": map[string]any{"resource": "https://evil.example", "authorization_servers": []string{s.URL}},
				"/.well-known/oauth-authorization-server":   s.metadata(),
			}
		}, "-", true},
		{"nothing", "", func(*authServer) map[string]any { return nil }, "-", true},
		{"another issuer", "", func(s *authServer) map[string]any {
			d := s.metadata()
			d["issuer"] = "https://evil.example"
			return map[string]any{"/.well-known/oauth-authorization-server": d}
		}, "-", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.server.set(func(s *authServer) { s.documents = tc.documents(s) })
			up := w.connecting(linearURI, w.server.URL+tc.server)
			address, err := w.Connect(t.Context(), visit(alice), up)
			if (err != nil) != tc.fails || err != nil && !errors.Is(err, ErrServerDown) {
				t.Fatalf("Connect: %v", err)
			}
			if tc.fails {
				return
			}
			want := w.server.URL + tc.resource
			if tc.resource == "-" {
				want = ""
			}
			if !strings.HasPrefix(address, w.server.URL+"/authorize?") || queryOf(t, address).Get("resource") != want {
				t.Errorf("the browser goes to %s", address)
			}
		})
	}
}

func TestMetadataIsKept(t *testing.T) {
	w := newWorld(t)
	w.begin(visit(alice), w.linear)
	w.server.set(func(s *authServer) { clear(s.documents) })
	w.clock.Advance(metadataLife - time.Second)
	w.begin(visit(alice), w.linear)
	// Longer, too, when it cannot be had anew.
	w.clock.Advance(time.Hour)
	w.begin(visit(alice), w.linear)
}

// What a document names is not reached if it lies where only we can go.
func TestEndpointsOnPrivateAddressesAreNotReached(t *testing.T) {
	w := newWorld(t)
	w.server.set(func(s *authServer) { s.life = 60 })
	o := must(NewOAuth(OAuthConfig{Server: issuer, ClientID: "edge", Now: w.clock.Now}))(t)
	o.known, o.until = &metadata{Issuer: issuer, TokenEndpoint: w.server.URL + "/token", RevocationEndpoint: w.server.URL + "/revoke"}, w.clock.Now().Add(time.Hour)
	if _, err := o.refresh(t.Context(), issuer, "refresh"); err == nil || !strings.Contains(err.Error(), "not public") {
		t.Errorf("refresh: %v", err)
	}
	if err := o.revokeAll(t.Context(), issuer, "access", "refresh"); err == nil {
		t.Error("revoked at an address of this machine")
	}
	if len(w.server.forms) != 0 {
		t.Error("the server on this machine was reached")
	}
}

func TestNewOAuthRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config OAuthConfig
		want   string
	}{
		{"no URL", OAuthConfig{Server: "linear", ClientID: "edge"}, "not a URL"},
		{"plain http", OAuthConfig{Server: "http://as.example", ClientID: "edge"}, "not an https URL"},
		{"no client", OAuthConfig{Server: issuer}, "client_id"},
		{"one endpoint of two", OAuthConfig{Server: issuer, ClientID: "edge", TokenEndpoint: issuer}, "belong together"},
		{"a revocation endpoint alone", OAuthConfig{Server: issuer, ClientID: "edge", RevocationEndpoint: issuer}, "all three"},
		{"an endpoint that runs", OAuthConfig{Server: issuer, ClientID: "edge", TokenEndpoint: issuer, AuthorizationEndpoint: "javascript:x"}, "authorization_endpoint"},
		{"two scopes in one", OAuthConfig{Server: issuer, ClientID: "edge", Scopes: []string{"a b"}}, "scope"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := NewOAuth(tc.config); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestParseTokens(t *testing.T) {
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, body string
		status     int
		want       tokens
		err        string
	}{
		{"all of it", `{"access_token":"a","token_type":"Bearer","refresh_token":"r","expires_in":3600}`, 200, tokens{access: "a", refresh: "r", expires: now.Add(time.Hour)}, ""},
		{"the least", `{"access_token":"a"}`, 200, tokens{access: "a"}, ""},
		{"a lifetime in quotes", `{"access_token":"a","expires_in":"60"}`, 200, tokens{access: "a", expires: now.Add(time.Minute)}, ""},
		{"a lifetime that is null", `{"access_token":"a","expires_in":null}`, 200, tokens{access: "a"}, ""},
		{"a lifetime of ages", `{"access_token":"a","expires_in":1e300}`, 200, tokens{access: "a", expires: now.Add(maxTokenLife)}, ""},
		{"a lifetime in the past", `{"access_token":"a","expires_in":-1}`, 200, tokens{access: "a"}, ""},
		{"another type", `{"access_token":"a","token_type":"DPoP"}`, 200, tokens{}, "no bearer token"},
		{"a line break in the token", `{"access_token":"a\r\nX-Admin: 1"}`, 200, tokens{}, "no usable access token"},
		{"no token", `{}`, 200, tokens{}, "no usable access token"},
		{"ended", `{"error":"invalid_grant"}`, 400, tokens{}, errGrantEnded.Error()},
		{"ended, with status 200", `{"error":"bad_refresh_token"}`, 200, tokens{}, errGrantEnded.Error()},
		{"another error", `{"error":"invalid_client"}`, 401, tokens{}, "invalid_client"},
		{"an error in the server's own words", `{"error":"your secret is s3cret"}`, 400, tokens{}, "an unknown error"},
		{"a failure", `{"error":"invalid_grant"}`, 503, tokens{}, "status 503"},
		{"too many", `{"error":"invalid_grant"}`, 429, tokens{}, "status 429"},
		{"a form", `access_token=a`, 200, tokens{}, "no JSON"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseTokens(tc.status, []byte(tc.body), now)
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%+v, %v; want %+v, %q", got, err, tc.want, tc.err)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Error("the error holds what the server has worded")
			}
		})
	}
}

func TestClientAuthentication(t *testing.T) {
	for _, tc := range []struct {
		name, secret string
		methods      []string
		basic        bool
		inBody       string
	}{
		{"nothing said", "s", nil, true, ""},
		{"both", "s", []string{"client_secret_post", "client_secret_basic"}, true, ""},
		{"the body only", "s", []string{"client_secret_post"}, false, "s"},
		{"a public client", "", []string{"client_secret_basic"}, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var basic bool
			var inBody, id string
			server := newServer(t, func(w http.ResponseWriter, r *http.Request) {
				_, _, basic = r.BasicAuth()
				_ = r.ParseForm()
				inBody, id = r.PostForm.Get("client_secret"), r.PostForm.Get("client_id")
				_, _ = w.Write([]byte(`{"access_token":"a"}`))
			})
			o := must(NewOAuth(OAuthConfig{Server: server, ClientID: "edge", ClientSecret: tc.secret}))(t)
			o.known, o.until = &metadata{TokenEndpoint: server, AuthMethods: tc.methods}, time.Now().Add(time.Hour)
			if _, err := o.refresh(t.Context(), "", "r"); err != nil {
				t.Fatal(err)
			}
			if basic != tc.basic || inBody != tc.inBody || (id == "edge") == basic {
				t.Errorf("basic %t, in the body %q as %q", basic, inBody, id)
			}
		})
	}
}

func TestTheServerCannotLeadElsewhereOrFlood(t *testing.T) {
	reached := false
	elsewhere := newServer(t, func(http.ResponseWriter, *http.Request) { reached = true })
	for name, handler := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
		},
		"a flood": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Repeat(" ", maxDocument) + `{"access_token":"a"}`))
		},
	} {
		server := newServer(t, handler)
		o := must(NewOAuth(OAuthConfig{Server: server, ClientID: "edge", ClientSecret: "s"}))(t)
		o.known, o.until = &metadata{TokenEndpoint: server}, time.Now().Add(time.Hour)
		if got, err := o.refresh(t.Context(), "", "r"); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if reached {
		t.Error("a redirect was followed with a secret")
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add(document(nil), issuer)
	f.Add([]byte(`{"issuer":"","authorization_endpoint":"javascript:alert(1)"}`), "")
	f.Fuzz(func(t *testing.T, body []byte, issuer string) {
		md, err := parseMetadata(body, issuer, false)
		if err != nil {
			return
		}
		if md.Issuer != issuer || !strings.HasPrefix(md.AuthorizationEndpoint, "https://") && !strings.HasPrefix(strings.ToLower(md.AuthorizationEndpoint), "https://") {
			t.Errorf("%+v passed for %q", md, issuer)
		}
		for _, endpoint := range []string{md.AuthorizationEndpoint, md.TokenEndpoint} {
			if strings.ContainsAny(endpoint, "\r\n\x00 <>\"\\@#") && checkEndpoint(endpoint, false) != nil {
				t.Errorf("%q passed", endpoint)
			}
		}
		o := &OAuth{config: OAuthConfig{ClientID: "edge"}}
		address, err := o.authorizeURL(md, "state", strings.Repeat("v", 43), "https://a.example/cb")
		if err != nil || queryOf(t, address).Get("state") != "state" || len(queryOf(t, address)["redirect_uri"]) != 1 {
			t.Errorf("%q, %v", address, err)
		}
	})
}

func FuzzProtectedResource(f *testing.F) {
	f.Add([]byte(`{"resource":"https://mcp.as.example/mcp","authorization_servers":["https://as.example"]}`), "https://mcp.as.example/mcp")
	f.Fuzz(func(t *testing.T, body []byte, server string) {
		issuer, _, err := parseProtectedResource(body, server, false)
		if err == nil && checkEndpoint(issuer, false) != nil {
			t.Errorf("%q passed", issuer)
		}
	})
}

func FuzzTokens(f *testing.F) {
	f.Add(200, []byte(`{"access_token":"a","token_type":"Bearer","refresh_token":"r","expires_in":"3600"}`))
	f.Add(400, []byte(`{"error":"invalid_grant"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		now := time.Unix(math.MaxInt32, 0)
		got, err := parseTokens(status, body, now)
		if err == nil && (CheckSecret(got.access) != nil || !got.expires.IsZero() && !got.expires.After(now)) {
			t.Errorf("%+v passed", got)
		}
	})
}
