package oauthclient

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
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

// documents serves JSON documents by path, and nothing else. %s in them is its own address.
func documents(t *testing.T, byPath map[string]string) *httptest.Server {
	t.Helper()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := byPath[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(strings.ReplaceAll(body, "%s", server.URL)))
	}))
	t.Cleanup(server.Close)
	return server
}

func TestDiscovery(t *testing.T) {
	const (
		root  = `{"issuer":"%s","authorization_endpoint":"%s/authorize","token_endpoint":"%s/token"}`
		realm = `{"issuer":"%s/realm","authorization_endpoint":"%s/authorize","token_endpoint":"%s/token"}`
		named = `{"resource":"%s/mcp","authorization_servers":["%s"]}`
	)
	for _, tc := range []struct {
		name, server string // server is a path
		issuerOnly   bool
		documents    map[string]string
		resource     string // a path; "-": none
		fails        bool
	}{
		{"the issuer of RFC 8414", "", false, map[string]string{"/.well-known/oauth-authorization-server": root}, "-", false},
		{"OpenID Connect", "", false, map[string]string{"/.well-known/openid-configuration": root}, "-", false},
		{"an issuer with a path, inserted", "/realm", false, map[string]string{"/.well-known/oauth-authorization-server/realm": realm}, "-", false},
		{"an issuer with a path, appended", "/realm", false, map[string]string{"/realm/.well-known/openid-configuration": realm}, "-", false},
		{"an MCP server", "/mcp", false, map[string]string{
			"/.well-known/oauth-protected-resource/mcp": named, "/.well-known/oauth-authorization-server": root,
		}, "/mcp", false},
		{"an MCP server that speaks of another", "/mcp", false, map[string]string{
			"/.well-known/oauth-protected-resource/mcp": `{"resource":"https://evil.example","authorization_servers":["%s"]}`,
			"/.well-known/oauth-authorization-server":   root,
		}, "-", true},
		{"an issuer that names itself as somebody's resource, and is not asked", "", true, map[string]string{
			"/.well-known/oauth-protected-resource":   `{"resource":"%s","authorization_servers":["https://evil.example"]}`,
			"/.well-known/oauth-authorization-server": root,
		}, "-", false},
		{"nothing", "", false, nil, "-", true},
		{"another issuer", "", false, map[string]string{
			"/.well-known/oauth-authorization-server": `{"issuer":"https://evil.example","authorization_endpoint":"%s/authorize","token_endpoint":"%s/token"}`,
		}, "-", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := documents(t, tc.documents)
			c := must(New(Config{Server: server.URL + tc.server, IssuerOnly: tc.issuerOnly, ClientID: "edge"}))(t)
			md, err := c.Metadata(t.Context())
			if (err != nil) != tc.fails || err != nil && !errors.Is(err, ErrServerDown) {
				t.Fatalf("Metadata: %v", err)
			}
			if tc.fails {
				return
			}
			address := must(c.AuthorizeURL(md, Authorization{State: "s", Verifier: strings.Repeat("v", 43), RedirectURI: "https://a.example/cb"}))(t)
			want := server.URL + tc.resource
			if tc.resource == "-" {
				want = ""
			}
			if !strings.HasPrefix(address, server.URL+"/authorize?") || queryOf(t, address).Get("resource") != want {
				t.Errorf("the browser goes to %s", address)
			}
		})
	}
}

func TestMetadataIsKept(t *testing.T) {
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	found := map[string]string{"/.well-known/oauth-authorization-server": `{"issuer":"%s","authorization_endpoint":"%s/authorize","token_endpoint":"%s/token"}`}
	server := documents(t, found)
	c := must(New(Config{Server: server.URL, ClientID: "edge", Now: func() time.Time { return now }}))(t)
	must(c.Metadata(t.Context()))(t)
	server.Close()
	now = now.Add(metadataLife - time.Second)
	must(c.Metadata(t.Context()))(t)
	// Longer, too, when it cannot be had anew.
	now = now.Add(time.Hour)
	must(c.Metadata(t.Context()))(t)
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
		c := &Client{config: Config{ClientID: "edge"}}
		address, err := c.AuthorizeURL(md, Authorization{State: "state", Verifier: strings.Repeat("v", 43), RedirectURI: "https://a.example/cb"})
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
