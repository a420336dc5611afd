package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

const facadeSecret = "facade-client-secret-0815"

var comments = regexp.MustCompile(`(?m)^\s*#.*\n`)

// newFacadeWorld has examples/facade.Caddyfile before a provider that issues JWTs for audience, which is a
// path of the edge, to the one client that it knows. more are further lines of the mcp_auth block.
func newFacadeWorld(t *testing.T, audience string, more ...string) *world {
	t.Helper()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "examples", "facade.Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	site := comments.ReplaceAllString(string(text), "")
	for old, new := range map[string]string{
		"mcp.example.com {\n":                      "",
		"\t\tissuer https://mcp.example.com\n":     "",
		"https://login.example.com":                w.idp.Issuer(),
		"resource /tools/* {":                      "resource " + upstream.StreamablePath + " {",
		"reverse_proxy /tools/* localhost:3000\n}": fmt.Sprintf("reverse_proxy %s", w.up.Addr()),
		"allow domain example.com":                 "allow domain example.com\n" + strings.Join(more, "\n"),
	} {
		site = replaceOnce(t, site, old, new)
	}
	w.startAs(edge.Config{Site: site, Env: map[string]string{"FACADE_CLIENT_SECRET": facadeSecret}})
	w.idp.AddResourceClient("mcp-edge", facadeSecret, idp.Resource{
		Audience: []string{w.url(audience)}, Scopes: []string{"tools:read", "tools:write"},
	}, w.url("/oauth2/callback"))
	return w
}

// claimsOf reads a JWT.
func claimsOf(t *testing.T, token string) (claims struct {
	Issuer string `json:"iss"`
	Scope  string `json:"scope"`
	JTI    string `json:"jti"`
}) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("an access token is no JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// toProvider allows a client and returns where the browser is sent then, without going there.
func (c *oauthClient) toProvider(w *world, p *person) *url.URL {
	c.t.Helper()
	page := c.open(p)
	form, ok := page.FormWith("allow")
	if !ok {
		c.t.Fatalf("no consent page at %s: %s", page.URL, page.Text)
	}
	p.StopAt(w.idp.Issuer() + "/authorize")
	defer p.StopAt(mcpclient.RedirectURI)
	page, err := p.Submit(c.ctx, form, "allow", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return page.URL
}

// consents counts the consent pages that somebody has seen.
func consents(pages []*browser.Page) (n int) {
	for _, page := range pages {
		if atConsent(page) {
			n++
		}
	}
	return n
}
