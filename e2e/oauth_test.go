package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
)

// oauthClient speaks OAuth by hand, so that a test decides about every parameter.
type oauthClient struct {
	t        *testing.T
	ctx      context.Context
	base     string
	resource string
	id       string
	verifier string

	transport http.RoundTripper // nil is the default
	state     string
}

// answer is a response of a machine endpoint.
type answer struct {
	Status int         `json:"-"`
	Header http.Header `json:"-"`
	Body   []byte      `json:"-"`

	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	Error        string `json:"error"`
	ClientID     string `json:"client_id"`
}

// newOAuthClient registers a client for the resource at path.
func (w *world) newOAuthClient(path string) *oauthClient {
	w.t.Helper()
	return w.newOAuthClientAt(w.edge.URL(), path)
}

// newOAuthClientAt is newOAuthClient for another site of the edge.
func (w *world) newOAuthClientAt(base, path string) *oauthClient {
	w.t.Helper()
	c := &oauthClient{transport: w.transport, t: w.t, ctx: w.ctx, base: base, resource: base + path, verifier: oauth2.GenerateVerifier(), state: rand.Text()}
	a := c.post("/oauth2/register", "application/json", strings.NewReader(fmt.Sprintf(
		`{"client_name":"By hand","redirect_uris":[%q],"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"none"}`,
		mcpclient.RedirectURI)))
	if a.Status != http.StatusCreated || a.ClientID == "" {
		w.t.Fatalf("registering answered %d %s", a.Status, a.Body)
	}
	c.id = a.ClientID
	return c
}

// authorizeParams are the parameters of a correct authorization request.
func (c *oauthClient) authorizeParams() url.Values {
	return url.Values{
		"response_type": {"code"}, "client_id": {c.id}, "redirect_uri": {mcpclient.RedirectURI}, "state": {c.state},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(c.verifier)}, "code_challenge_method": {"S256"},
		"resource": {c.resource}, "scope": {"offline_access"},
	}
}

func (c *oauthClient) authorizeURL(q url.Values) string { return c.base + "/oauth2/auth?" + q.Encode() }

// open opens the authorization endpoint in p's browser.
func (c *oauthClient) open(p *person) *browser.Page {
	c.t.Helper()
	page, err := p.Open(c.ctx, c.authorizeURL(c.authorizeParams()))
	if err != nil {
		c.t.Fatal(err)
	}
	return page
}

// code continues from page until the code arrives.
func (c *oauthClient) code(p *person, page *browser.Page) string {
	c.t.Helper()
	page, err := p.walk(c.ctx, page, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if !page.Landed || page.URL.Query().Get("code") == "" {
		c.t.Fatalf("no code: at %s with status %d: %s", page.URL, page.Status, page.Text)
	}
	return page.URL.Query().Get("code")
}

func (c *oauthClient) tokenParams(code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {mcpclient.RedirectURI},
		"client_id": {c.id}, "code_verifier": {c.verifier}, "resource": {c.resource},
	}
}

// tokens exchanges code and fails the test without an access and a refresh token.
func (c *oauthClient) tokens(code string) answer {
	c.t.Helper()
	a := c.form("/oauth2/token", c.tokenParams(code))
	if a.Status != http.StatusOK || a.AccessToken == "" || a.RefreshToken == "" {
		c.t.Fatalf("the token endpoint answered %d %s", a.Status, a.Error)
	}
	return a
}

// signIn goes the whole way.
func (c *oauthClient) signIn(p *person) answer {
	c.t.Helper()
	return c.tokens(c.code(p, c.open(p)))
}

func (c *oauthClient) refresh(token string) answer {
	c.t.Helper()
	return c.form("/oauth2/token", c.refreshParams(token))
}

func (c *oauthClient) refreshParams(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {c.id}}
}

func (c *oauthClient) revoke(token string) answer {
	c.t.Helper()
	return c.form("/oauth2/revoke", url.Values{"token": {token}, "client_id": {c.id}})
}

func (c *oauthClient) form(path string, v url.Values) answer {
	c.t.Helper()
	return c.post(path, "application/x-www-form-urlencoded", strings.NewReader(v.Encode()))
}

func (c *oauthClient) post(path, contentType string, body io.Reader) answer {
	c.t.Helper()
	return c.do(http.MethodPost, path, http.Header{"Content-Type": {contentType}}, body)
}

// do may run beside the test's goroutine, so a request that fails is an error and answers zero.
func (c *oauthClient) do(method, path string, h http.Header, body io.Reader) answer {
	c.t.Helper()
	a, err := c.try(method, path, h, body)
	if err != nil {
		c.t.Errorf("%s %s: %v", method, path, err)
	}
	return a
}

// try is do for requests that may meet an edge that is just going down.
func (c *oauthClient) try(method, path string, h http.Header, body io.Reader) (a answer, err error) {
	req, err := http.NewRequestWithContext(c.ctx, method, c.base+path, body)
	if err != nil {
		return answer{}, err
	}
	for name, values := range h {
		req.Header[name] = values
	}
	client := http.Client{Transport: c.transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a = answer{Status: resp.StatusCode, Header: resp.Header}
	if a.Body, err = io.ReadAll(resp.Body); err != nil {
		return answer{}, err
	}
	_ = json.Unmarshal(a.Body, &a) // pages and challenges are no JSON
	return a, nil
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",` +
	`"capabilities":{},"clientInfo":{"name":"by hand","version":"1"}}}`

// mcp sends an initialize request to path with token as bearer; "" sends none.
func (c *oauthClient) mcp(path, token string, more ...http.Header) answer {
	c.t.Helper()
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	for _, m := range more {
		for name, values := range m {
			h[name] = values
		}
	}
	return c.do(http.MethodPost, path, h, strings.NewReader(initialize))
}

// wantRefused asserts that a resource refuses a token the way clients need to recover.
func (a answer) wantRefused(t *testing.T, what string) {
	t.Helper()
	challenge := a.Header.Get("WWW-Authenticate")
	if a.Status != http.StatusUnauthorized || !strings.HasPrefix(challenge, "Bearer ") ||
		!strings.Contains(challenge, `error="invalid_token"`) || !strings.Contains(challenge, "resource_metadata=") {
		t.Errorf("%s: status %d, WWW-Authenticate: %s; want 401 with invalid_token", what, a.Status, challenge)
	}
}

// wantOAuthError asserts an error of RFC 6749, section 5.2, or RFC 7591, section 3.2.2.
func (a answer) wantOAuthError(t *testing.T, what string, status int, code string) {
	t.Helper()
	if a.Status != status || a.Error != code {
		t.Errorf("%s: %d %q, want %d %q; body: %.200s", what, a.Status, a.Error, status, code, a.Body)
	}
	if ct := a.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		t.Errorf("%s: Content-Type %q, want JSON", what, ct)
	}
}
