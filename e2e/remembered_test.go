package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// webRedirect is where a client that runs on a website takes its codes.
const webRedirect = "https://client.example/callback"

// newWebClient registers a client of a website, with a secret.
func (w *world) newWebClient(path string) (c *oauthClient, secret string) {
	w.t.Helper()
	c = w.newOAuthClient(path)
	var registered struct {
		Secret string `json:"client_secret"`
	}
	a := c.post("/oauth2/register", "application/json", strings.NewReader(fmt.Sprintf(
		`{"client_name":"On the web","redirect_uris":[%q],"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"client_secret_basic"}`,
		webRedirect)))
	if err := a.decode(&registered); err != nil || a.Status != http.StatusCreated || registered.Secret == "" {
		w.t.Fatalf("registering answered %d %s, %v", a.Status, a.Body, err)
	}
	c.id = a.ClientID
	return c, registered.Secret
}

func newWebPerson(u idp.User) *person {
	p := newPerson(u)
	p.Browser = browser.New(webRedirect)
	return p
}

// openWith opens the authorization endpoint with some parameters replaced.
func (c *oauthClient) openWith(p *person, change url.Values) *browser.Page {
	c.t.Helper()
	q := c.authorizeParams()
	for name, values := range change {
		q[name] = values
	}
	page, err := p.Open(c.ctx, c.authorizeURL(q))
	if err != nil {
		c.t.Fatal(err)
	}
	return page
}

func with(pairs ...string) url.Values {
	v := url.Values{"redirect_uri": {webRedirect}}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

func TestConsentIsRememberedForAWebsiteAndNotForAProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := newWebPerson(idp.Alice)
	web, _ := w.newWebClient(upstream.StreamablePath)

	if page := web.openWith(alice, with("prompt", "none")); !page.Landed || page.URL.Query().Get("error") != "login_required" {
		t.Errorf("nobody is signed in: the browser is at %s", page.URL)
	}
	page := web.openWith(alice, with("scope", "tools:read"))
	if !atConsent(page) {
		t.Fatalf("the first time: the browser is at %s", page.URL)
	}
	if code := web.code(alice, page); code == "" {
		t.Fatal("no code")
	}
	// The consent was given before anybody was signed in; it counts for who then did.
	for what, q := range map[string]url.Values{
		"again": with("scope", "tools:read"), "silently": with("scope", "tools:read", "prompt", "none"),
	} {
		page = web.openWith(alice, q)
		if !page.Landed || page.URL.Query().Get("code") == "" || page.URL.Query().Get("state") != web.state {
			t.Errorf("%s: the browser is at %s: %s", what, page.URL, page.Text)
		}
	}
	for what, q := range map[string]url.Values{
		"a wider scope": with("scope", "tools:read tools:write"), "the page is asked for": with("scope", "tools:read", "prompt", "consent"),
		"a new sign-in": with("scope", "tools:read", "prompt", "login"), "another resource": with("scope", "tools:read", "resource", w.url(upstream.SSEPath)),
	} {
		if page = web.openWith(alice, q); !atConsent(page) {
			t.Errorf("%s: no consent page but %s", what, page.URL)
		}
	}
	if page = web.openWith(alice, with("scope", "tools:write", "prompt", "none")); page.URL.Query().Get("error") != "consent_required" {
		t.Errorf("a wider scope silently: the browser is at %s", page.URL)
	}

	// The same name again, as an impostor would register it, is another client.
	impostor, _ := w.newWebClient(upstream.StreamablePath)
	if page = impostor.openWith(alice, with("scope", "tools:read")); !atConsent(page) {
		t.Errorf("another client of the same name got past the consent page: %s", page.URL)
	}

	before := w.idp.Logins()
	if page = web.openWith(alice, with("scope", "tools:read", "prompt", "login")); !atConsent(page) {
		t.Fatalf("prompt=login: the browser is at %s", page.URL)
	}
	if web.code(alice, page); w.idp.Logins() != before+1 {
		t.Error("prompt=login did not lead to a new sign-in at the provider")
	}

	bob := newPerson(idp.Alice)
	program := w.newOAuthClient(upstream.StreamablePath)
	program.signIn(bob)
	if page = program.open(bob); !atConsent(page) {
		t.Errorf("a program on the device got past the consent page: %s", page.URL)
	}
}
