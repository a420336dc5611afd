package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

const upstreamSecret = "an-upstream-secret-of-40-characters-4711"

func (a answer) decode(into any) error { return json.Unmarshal(a.Body, into) }

// introspect asks about token as the holder of id and secret.
func (c *oauthClient) introspect(id, secret, token string) (int, map[string]any) {
	c.t.Helper()
	r := http.Request{Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
	if secret != "" {
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	form := url.Values{"token": {token}}
	if secret == "" {
		form.Set("client_id", id)
	}
	a := c.do(http.MethodPost, "/oauth2/introspect", r.Header, strings.NewReader(form.Encode()))
	var members map[string]any
	if err := a.decode(&members); err != nil {
		c.t.Fatalf("introspection answered %d %s", a.Status, a.Body)
	}
	return a.Status, members
}

func TestClientsAndUpstreamsIntrospectTheirTokens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(upstreamSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t,
		"introspection_client mcp-server {\nsecret {file."+file+"}\nresource /mcp\n}",
		"introspection_client other-server {\nsecret {file."+file+"}\nresource /stateless\n}")
	public := w.newOAuthClient(upstream.StreamablePath)
	alice := newWebPerson(idp.Alice)
	web, secret := w.newWebClient(upstream.StreamablePath)
	code := web.code(alice, web.openWith(alice, with("scope", "tools:read")))
	form := web.tokenParams(code)
	form.Set("redirect_uri", webRedirect)
	form.Set("client_secret", secret)
	tokens := web.form("/oauth2/token", form)
	if tokens.AccessToken == "" {
		t.Fatalf("no token: %d %s", tokens.Status, tokens.Body)
	}

	for id, password := range map[string]string{web.id: secret, "mcp-server": upstreamSecret} {
		status, got := web.introspect(id, password, tokens.AccessToken)
		if status != http.StatusOK || got["active"] != true || got["sub"] != idp.Alice.Subject || got["username"] != idp.Alice.Email ||
			got["scope"] != "tools:read" || got["aud"] != w.url("/mcp") || got["iss"] != w.edge.URL() || got["token_type"] != "Bearer" {
			t.Errorf("%.20s is told %d %v", id, status, got)
		}
	}
	if _, got := web.introspect("other-server", upstreamSecret, tokens.AccessToken); got["active"] != false || len(got) != 1 {
		t.Errorf("the server of another resource is told %v", got)
	}
	if _, got := web.introspect("mcp-server", upstreamSecret, tokens.RefreshToken); got["active"] != false || len(got) != 1 {
		t.Errorf("a server is told about a refresh token: %v", got)
	}
	if status, got := web.introspect(public.id, "", tokens.AccessToken); status != http.StatusUnauthorized || got["error"] != "invalid_client" {
		t.Errorf("a public client is told %d %v", status, got)
	}
	revocation := url.Values{"token": {tokens.RefreshToken}, "client_id": {web.id}, "client_secret": {secret}}
	if a := web.form("/oauth2/revoke", revocation); a.Status != http.StatusOK {
		t.Fatalf("revoking answered %d %s", a.Status, a.Body)
	}
	if _, got := web.introspect("mcp-server", upstreamSecret, tokens.AccessToken); got["active"] != false || len(got) != 1 {
		t.Errorf("after revocation the server is told %v", got)
	}
}

func TestTheUpstreamVerifiesWhoCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "identity_assertion")
	client := w.mustConnect(upstream.StreamablePath, newPerson(idp.Alice), mcpclient.Options{
		Header: http.Header{"X-Mcp-Identity": {"forged"}, "x-mcp-identity": {"forged"}, "X_Mcp_Identity": {"forged"}},
	})
	for range 5 {
		if err := client.Call(w.ctx, "whoami", nil, nil); err != nil {
			t.Fatal(err)
		}
	}

	c := w.newOAuthClient(upstream.StreamablePath)
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if a := c.do(http.MethodGet, "/.well-known/oauth-authorization-server", nil, nil); a.decode(&metadata) != nil || metadata.JWKSURI == "" {
		t.Fatalf("metadata: %s", a.Body)
	}
	var keys jose.JSONWebKeySet
	if a := c.do(http.MethodGet, strings.TrimPrefix(metadata.JWKSURI, metadata.Issuer), nil, nil); a.decode(&keys) != nil || len(keys.Keys) == 0 {
		t.Fatalf("keys: %d %s", a.Status, a.Body)
	}
	different := make(map[string]bool)
	for _, seen := range w.up.Seen() {
		if len(seen.Header["X-Mcp-Identity"]) != 1 || seen.Header["X_Mcp_Identity"] != nil {
			t.Fatalf("%s arrived with %q", seen.Method, seen.Header["X-Mcp-Identity"])
		}
		text := seen.Header.Get("X-Mcp-Identity")
		different[text] = true
		token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		found := keys.Key(token.Headers[0].KeyID)
		if len(found) != 1 {
			t.Fatalf("no key %q", token.Headers[0].KeyID)
		}
		var standard jwt.Claims
		var ours struct {
			Email string   `json:"email"`
			Group []string `json:"groups"`
			Name  string   `json:"client_name"`
		}
		if err := token.Claims(found[0].Key, &standard, &ours); err != nil {
			t.Fatal(err)
		}
		err = standard.Validate(jwt.Expected{Issuer: metadata.Issuer, AnyAudience: jwt.Audience{w.url("/mcp")}, Subject: idp.Alice.Subject, Time: time.Now()})
		if err != nil || ours.Email != idp.Alice.Email || len(ours.Group) != 1 || ours.Name != "End-to-end client" {
			t.Errorf("claims %+v %+v, %v", standard, ours, err)
		}
	}
	if n := len(w.up.Seen()); n < 6 || len(different) > 2 {
		t.Errorf("%d assertions for %d requests", len(different), n)
	}
}
