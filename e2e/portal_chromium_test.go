package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/chromium"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// ownPage is a person in Chromium, at the page of their own.
type ownPage struct {
	t    *testing.T
	w    *world
	tab  context.Context
	path string
}

func newOwnPage(t *testing.T, w *world, path string) *ownPage {
	t.Helper()
	return &ownPage{t: t, w: w, tab: chromium.Start(t), path: path}
}

// do fails the test with what the page says when an action does.
func (p *ownPage) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.tab, actions...); err != nil {
		p.t.Fatalf("%v; the page says: %s", err, p.text())
	}
}

func (p *ownPage) text() string {
	text, _ := chromedp.Run(p.tab, chromedp.Text(chromedp.CSS("body")))
	return text
}

// open opens the page or one below it.
func (p *ownPage) open(below string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.w.url(p.path+below)), chromedp.WaitVisible(chromedp.CSS("main h1")))
}

// says waits for a text on the page.
func (p *ownPage) says(want string) {
	p.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(p.text(), want) {
		if time.Now().After(deadline) {
			p.t.Fatalf("the page does not say %q but: %s", want, p.text())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// signIn signs alice in from the page that is shown to everybody.
func (p *ownPage) signIn() {
	p.t.Helper()
	p.open("")
	p.says("See which applications are connected")
	p.do(
		chromedp.Click(chromedp.CSS(`main form button`)),
		chromedp.WaitVisible(chromedp.CSS(`input[name="username"]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name="username"]`), idp.Alice.Email),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), idp.Alice.Password),
		chromedp.Click(chromedp.CSS(`button[name="signin"]`)),
		chromedp.WaitVisible(chromedp.CSS(`nav.tabs`)),
	)
}

// connect connects a client of that name, which takes its code on loopback.
func (p *ownPage) connect(name, path string) (*oauthClient, answer) {
	p.t.Helper()
	redirectURI, landed := loopbackReceiver(p.t)
	c := p.w.newOAuthClient(path)
	registered := c.post("/oauth2/register", "application/json", strings.NewReader(fmt.Sprintf(
		`{"client_name":%q,"redirect_uris":[%q],"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"none"}`, name, redirectURI)))
	if c.id = registered.ClientID; registered.Status != http.StatusCreated {
		p.t.Fatalf("registering answered %d %s", registered.Status, registered.Body)
	}
	q := c.authorizeParams()
	q.Set("redirect_uri", redirectURI)
	if _, err := allowInChromium(p.tab, c.authorizeURL(q)); err != nil {
		p.t.Fatal(err)
	}
	u, err := arrival(p.w.ctx, p.t, p.tab, landed)
	if err != nil {
		p.t.Fatal(err)
	}
	params := c.tokenParams(u.Query().Get("code"))
	params.Set("redirect_uri", redirectURI)
	tokens := c.form("/oauth2/token", params)
	if tokens.Status != http.StatusOK || tokens.RefreshToken == "" {
		p.t.Fatalf("the token endpoint answered %d %s", tokens.Status, tokens.Error)
	}
	return c, tokens
}

// reach moves the focus with the keyboard to the control that is called name, and sees that it shows.
func (p *ownPage) reach(name string) {
	p.t.Helper()
	var passed []string
	for range 60 {
		press(p.t, p.tab, kb.Tab)
		at, err := chromedp.Run(p.tab, chromedp.Evaluate[string](
			`(e => ((e.labels && e.labels[0] || e).innerText || e.textContent || e.tagName).replace(/\s+/g, " ").trim())(document.activeElement)`))
		if err != nil {
			p.t.Fatal(err)
		}
		if at == name {
			visible, err := chromedp.Run(p.tab, chromedp.Evaluate[bool](
				`(s => s.outlineStyle != "none" && parseFloat(s.outlineWidth) >= 2)(getComputedStyle(document.activeElement))`))
			if err != nil || !visible {
				p.t.Errorf("the focus on %s cannot be seen, %v", name, err)
			}
			return
		}
		passed = append(passed, at)
	}
	p.t.Fatalf("the keyboard does not reach %q; it passed %q", name, passed)
}

func TestAPersonDisconnectsOneOfTwoApplications(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false, "portal /my")
	p := newOwnPage(t, w.world, "/my")
	p.signIn()
	p.says("No application is connected")

	_, first := p.connect("First client", "/tools/mcp")
	second, kept := p.connect("Second client", "/tools/mcp")
	stream := w.open(nil, http.MethodGet, first.AccessToken)
	up := w.raw.Next(t)
	up.Write("data: 1\n\n")
	stream.expect("data: 1")
	other := w.open(nil, http.MethodGet, kept.AccessToken)
	otherUp := w.raw.Next(t)
	otherUp.Write("data: 1\n\n")
	other.expect("data: 1")

	p.open("")
	for _, want := range []string{"First client", "Second client", "It registered itself", w.url("/tools"), "127.0.0.1", idp.Alice.Email, "This browser", "Recent sign-ins"} {
		p.says(want)
	}
	p.reach("Disconnect First client")
	press(t, p.tab, kb.Enter)
	stream.expectEnd(2*time.Second, true)
	gone(t, up)
	p.says("The application is disconnected")
	if text := p.text(); strings.Contains(text, "First client") || !strings.Contains(text, "Second client") {
		t.Errorf("the page says: %s", text)
	}
	otherUp.Write("data: 2\n\n")
	other.expect("data: 2")
	second.mcp("/tools/mcp", first.AccessToken).wantRefused(t, "the token of the application that is disconnected")
	kept = second.refresh(kept.RefreshToken)
	if a := second.mcp("/tools/mcp", kept.AccessToken); a.Status != http.StatusOK {
		t.Errorf("the other application: status %d", a.Status)
	}

	// Everywhere, with the keyboard: nothing is done before the person has opened the choice.
	p.open("")
	p.reach("Sign out everywhere")
	press(t, p.tab, kb.Enter)
	p.reach("Disconnect all applications too")
	press(t, p.tab, " ")
	p.reach("Sign out everywhere")
	press(t, p.tab, kb.Enter)
	p.says("You are signed out everywhere")
	other.expectEnd(2*time.Second, true)
	second.refresh(kept.RefreshToken).wantOAuthError(t, "refreshing after all ended", http.StatusBadRequest, "invalid_grant")
	p.open("")
	p.says("See which applications are connected")
}

func TestAPersonMakesATokenAndRevokesIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newOwnPage(t, w, "/oauth2/my")
	p.signIn()
	p.do(chromedp.Click(chromedp.CSS(`nav.tabs a[href="/oauth2/my/tokens"]`)))
	p.says("You have made none")
	p.reach("Name")
	press(t, p.tab, "nightly report")
	p.reach("Tools " + w.url(upstream.StreamablePath))
	press(t, p.tab, " ")
	p.reach("tools:read at Tools")
	press(t, p.tab, " ")
	p.reach("Make the token")
	press(t, p.tab, kb.Enter)
	p.says("Copy it now")
	token, err := chromedp.Run(p.tab, chromedp.Text(chromedp.CSS("#token")))
	if err != nil || !strings.HasPrefix(token, "mcput_") {
		t.Fatalf("the page shows %.8q, %v", token, err)
	}

	script := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL()}
	if a := script.mcp(upstream.StreamablePath, token); a.Status != http.StatusOK {
		t.Fatalf("a script with the token: status %d %s", a.Status, a.Body)
	}
	seen := w.up.Seen()
	if last := seen[len(seen)-1].Header; last.Get("X-Forwarded-User") != idp.Alice.Subject || last.Get("Authorization") != "" {
		t.Errorf("the server saw %v", last)
	}
	if a := script.mcp(upstream.StatelessPath, token); a.Status != http.StatusUnauthorized {
		t.Errorf("at another resource: status %d", a.Status)
	}
	for _, endpoint := range []string{"/oauth2/token", "/oauth2/introspect"} {
		if a := script.form(endpoint, url.Values{"token": {token}, "refresh_token": {token}, "grant_type": {"refresh_token"}}); a.Status < 400 {
			t.Errorf("%s took it: %d", endpoint, a.Status)
		}
	}

	p.reach("I have copied it")
	press(t, p.tab, kb.Enter)
	p.says("nightly report")
	if strings.Contains(p.text(), token) {
		t.Error("the token is shown again")
	}
	p.reach("Revoke nightly report")
	press(t, p.tab, kb.Enter)
	p.says("The token is revoked")
	script.mcp(upstream.StreamablePath, token).wantRefused(t, "the token after it was revoked")
}

func TestOwnPagesOnPhonesAndDesktopsLightAndDark(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false, "portal /my")
	p := newOwnPage(t, w.world, "/my")
	p.signIn()
	p.connect("A client with a name that is long enough to take two lines on every phone", "/tools/mcp")
	for i := range 3 {
		p.connect(fmt.Sprint("Client ", i, strings.Repeat("W", 60)), "/tools/mcp")
	}
	for _, screen := range []struct {
		name          string
		width, height int64
	}{{"phone", 360, 740}, {"desktop", 1440, 900}} {
		for _, scheme := range []string{"light", "dark"} {
			for _, below := range []string{"", "/tokens"} {
				t.Run(screen.name+", "+scheme+below, func(t *testing.T) {
					p.t = t
					p.do(chromedp.EmulateViewport(screen.width, screen.height, chromedp.EmulateMobile), prefer(scheme))
					p.open(below)
					for what, script := range map[string]string{
						"the page scrolls sideways":                       fmt.Sprintf(`document.documentElement.scrollWidth > %d || innerWidth != %d`, screen.width, screen.width),
						"something is cut off":                            `[...document.querySelectorAll("main *")].some(e => { if (e.closest(".unseen, thead")) return false; const r = e.getBoundingClientRect(); return r.width > 1 && (r.left < 0 || r.right > innerWidth + 1); })`,
						"a control is too small to hit (WCAG 2.2, 2.5.8)": `[...document.querySelectorAll("main button, main summary, main .check label, nav a")].some(e => { const r = e.getBoundingClientRect(); return r.width > 0 && (r.width < 24 || r.height < 24); })`,
						"texts lie on each other":                         `(r => r("main h1").bottom > r("main .lead").top + 1)(s => document.querySelector(s).getBoundingClientRect())`,
					} {
						bad, err := chromedp.Run(p.tab, chromedp.Evaluate[bool](script))
						if err != nil || bad {
							t.Errorf("%s, %v", what, err)
						}
					}
					grey, err := chromedp.Run(p.tab, chromedp.Evaluate[[]float64](strings.Replace(brightness, ".host", "h1", 1)))
					if err != nil || len(grey) != 2 || (grey[0] < 128) != (scheme == "dark") || (grey[1] < 128) == (scheme == "dark") {
						t.Errorf("brightness behind and of the heading is %v, %v", grey, err)
					}
				})
			}
		}
	}
}
