package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

const (
	clientSecret  = "oidc-client-secret-0815"
	localPassword = "local-password-4711"
)

func TestMain(m *testing.M) {
	code := m.Run()
	edge.RemoveBinary()
	os.Exit(code)
}

// world is one edge with an identity provider and an MCP server of its own.
type world struct {
	t    *testing.T
	ctx  context.Context
	idp  *idp.Provider
	up   *upstream.Server
	edge *edge.Edge

	transport http.RoundTripper // of clients by hand; nil is the default
}

// newWorld starts everything; extra are more lines of the mcp_auth block.
func newWorld(t *testing.T, extra ...string) *world {
	t.Helper()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.start(w.oidcSite(extra...))
	return w
}

// newLocalWorld has a local user instead of an identity provider.
func newLocalWorld(t *testing.T, extra ...string) *world {
	t.Helper()
	w := prepareWorld(t)
	w.start(w.localSite(extra...))
	return w
}

func prepareWorld(t *testing.T) *world {
	t.Helper()
	edge.Binary(t) // before the test's time starts to run
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, up: upstream.Start(t)}
	p, err := idp.New(fmt.Sprintf("127.0.0.1:%d", edge.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })
	w.idp = p
	return w
}

func (w *world) start(site string) {
	w.t.Helper()
	w.startAs(edge.Config{Site: site})
}

func (w *world) startAs(c edge.Config) {
	w.t.Helper()
	env := map[string]string{"OIDC_CLIENT_SECRET": clientSecret}
	maps.Copy(env, c.Env)
	c.Env = env
	w.edge = edge.Start(w.t, c)
	w.idp.AddClient("edge", clientSecret, w.url("/oauth2/callback"))
}

func (w *world) oidcSite(extra ...string) string {
	return w.site(fmt.Sprintf(`oidc %s {
			client_id edge
			client_secret {env.OIDC_CLIENT_SECRET}
		}`, w.idp.Issuer()), extra)
}

func (w *world) localSite(extra ...string) string {
	w.t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(localPassword), bcrypt.DefaultCost)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.site(fmt.Sprintf("local {\n\t\t\tuser %s `%s`\n\t\t}", idp.Alice.Email, hash), extra)
}

func (w *world) site(signIn string, extra []string) string {
	return fmt.Sprintf(`	mcp_auth {
		%s
		allow domain example.com
		resource %s {
			name "Tools"
			scopes tools:read tools:write
		}
		resource %s
		resource %s %s
		%s
	}
	reverse_proxy %s
`, signIn, upstream.StreamablePath, upstream.StatelessPath, upstream.SSEPath, upstream.MessagePath,
		strings.Join(extra, "\n\t\t"), w.up.Addr())
}

func (w *world) url(path string) string { return w.edge.URL() + path }

// person is somebody at a browser who knows a user name and a password.
type person struct {
	*browser.Browser
	email, password string
	decision        string // the button pressed on the consent page
	seen            []*browser.Page
}

func newPerson(u idp.User) *person {
	return &person{Browser: browser.New(mcpclient.RedirectURI), email: u.Email, password: u.Password, decision: "allow"}
}

func newLocalPerson(email, password string) *person {
	return &person{Browser: browser.New(mcpclient.RedirectURI), email: email, password: password, decision: "allow"}
}

// signIn is the person as an mcpclient.SignIn.
func (p *person) signIn(ctx context.Context, address string) (*url.URL, error) {
	page, err := p.Open(ctx, address)
	if err != nil {
		return nil, err
	}
	if page, err = p.walk(ctx, page, nil); err != nil {
		return nil, err
	}
	if !page.Landed {
		return nil, fmt.Errorf("the browser was left at %s with status %d: %s", page.URL, page.Status, page.Text)
	}
	return page.URL, nil
}

// walk answers each page as asked, until the browser has left for the client, sees a page that
// asks for nothing, or until says to stop.
func (p *person) walk(ctx context.Context, page *browser.Page, until func(*browser.Page) bool) (*browser.Page, error) {
	for range 10 {
		p.seen = append(p.seen, page)
		if page.Landed || (until != nil && until(page)) {
			return page, nil
		}
		form, button, values := p.answer(page)
		if form == nil {
			return page, nil
		}
		var err error
		if page, err = p.Submit(ctx, form, button, values); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the pages go round in circles, last at %s: %s", page.URL, page.Text)
}

func (p *person) answer(page *browser.Page) (form *browser.Form, button string, values map[string]string) {
	if f, ok := page.FormWith(p.decision); ok {
		return f, p.decision, nil
	}
	if f, ok := page.Form("username"); ok {
		return f, "", map[string]string{"username": p.email, "password": p.password}
	}
	if f, ok := page.Form("password"); ok && page.Status == 200 {
		return f, "", map[string]string{"email": p.email, "password": p.password}
	}
	return nil, "", nil
}

func atConsent(p *browser.Page) bool       { _, ok := p.FormWith("allow"); return ok }
func atProviderLogin(p *browser.Page) bool { _, ok := p.Form("username"); return ok }
func atLocalLogin(p *browser.Page) bool    { _, ok := p.Form("email"); return ok }

// mustConnect connects the SDK's client to path with the help of p.
func (w *world) mustConnect(path string, p *person, o mcpclient.Options) *mcpclient.Client {
	w.t.Helper()
	o.SignIn = p.signIn
	client, err := mcpclient.Connect(w.ctx, w.url(path), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = client.Close() })
	return client
}

// replaceOnce changes one place of a configuration and fails the test when it is not there.
func replaceOnce(t *testing.T, s, old, new string) string {
	t.Helper()
	if strings.Count(s, old) != 1 {
		t.Fatalf("%q is not in the text exactly once", old)
	}
	return strings.Replace(s, old, new, 1)
}
