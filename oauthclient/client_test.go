package oauthclient

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// What a document names is not reached if it lies where only we can go.
func TestEndpointsOnPrivateAddressesAreNotReached(t *testing.T) {
	reached := false
	server := newServer(t, func(http.ResponseWriter, *http.Request) { reached = true })
	c := must(New(Config{Server: issuer, ClientID: "edge"}))(t)
	c.known, c.until = &Metadata{Issuer: issuer, TokenEndpoint: server + "/token", RevocationEndpoint: server + "/revoke"}, time.Now().Add(time.Hour)
	if _, err := c.Refresh(t.Context(), "refresh", nil); err == nil || !strings.Contains(err.Error(), "not public") {
		t.Errorf("refresh: %v", err)
	}
	if err := c.Revoke(t.Context(), "access", "refresh"); err == nil {
		t.Error("revoked at an address of this machine")
	}
	if reached {
		t.Error("the server on this machine was reached")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config Config
		want   string
	}{
		{"no URL", Config{Server: "linear", ClientID: "edge"}, "not a URL"},
		{"plain http", Config{Server: "http://as.example", ClientID: "edge"}, "not an https URL"},
		{"no client", Config{Server: issuer}, "client_id"},
		{"one endpoint of two", Config{Server: issuer, ClientID: "edge", TokenEndpoint: issuer}, "belong together"},
		{"a revocation endpoint alone", Config{Server: issuer, ClientID: "edge", RevocationEndpoint: issuer}, "all three"},
		{"an endpoint that runs", Config{Server: issuer, ClientID: "edge", TokenEndpoint: issuer, AuthorizationEndpoint: "javascript:x"}, "authorization_endpoint"},
		{"two scopes in one", Config{Server: issuer, ClientID: "edge", Scopes: []string{"a b"}}, "scope"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := New(tc.config); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestAuthorizeURL(t *testing.T) {
	c := must(New(Config{Server: issuer, ClientID: "edge", Scopes: []string{"openid", "tools:read"}}))(t)
	md := &Metadata{Issuer: issuer, AuthorizationEndpoint: issuer + "/authorize?tenant=a&client_id=other", TokenEndpoint: issuer + "/token"}
	address := must(c.AuthorizeURL(md, Authorization{
		State: "state", Verifier: strings.Repeat("v", 43), RedirectURI: "https://mcp.example.com/oauth2/callback",
		Scopes: []string{"tools:write", "tools:read"},
		Params: url.Values{"audience": {"https://mcp.example.com"}, "resource": {"https://mcp.example.com"}, "redirect_uri": {"https://evil.example"}, "state": {"other"}},
	}))(t)
	q := queryOf(t, address)
	for name, want := range map[string]string{
		"tenant": "a", "client_id": "edge", "response_type": "code", "redirect_uri": "https://mcp.example.com/oauth2/callback", "state": "state",
		"scope": "openid tools:read tools:write", "audience": "https://mcp.example.com", "resource": "https://mcp.example.com", "code_challenge_method": "S256",
	} {
		if len(q[name]) != 1 || q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q[name], want)
		}
	}
	if len(q.Get("code_challenge")) != 43 || strings.Contains(address, "vvv") {
		t.Errorf("the challenge in %s", address)
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
			c := must(New(Config{Server: server, ClientID: "edge", ClientSecret: tc.secret}))(t)
			c.known, c.until = &Metadata{TokenEndpoint: server, AuthMethods: tc.methods}, time.Now().Add(time.Hour)
			if _, err := c.Refresh(t.Context(), "r", nil); err != nil {
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
		c := must(New(Config{Server: server, ClientID: "edge", ClientSecret: "s"}))(t)
		c.known, c.until = &Metadata{TokenEndpoint: server}, time.Now().Add(time.Hour)
		if got, err := c.Refresh(t.Context(), "r", nil); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if reached {
		t.Error("a redirect was followed with a secret")
	}
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func queryOf(t *testing.T, address string) url.Values {
	t.Helper()
	return must(url.Parse(address))(t).Query()
}

// newServer serves on loopback until the test ends.
func newServer(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}
