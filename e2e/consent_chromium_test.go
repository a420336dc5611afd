package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/chromium"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// registerAs registers a public client by hand and returns the address of its authorization request.
func (w *world) registerAs(name, redirectURI string) (address string) {
	w.t.Helper()
	c := w.newOAuthClient(upstream.StreamablePath)
	a := c.post("/oauth2/register", "application/json", strings.NewReader(fmt.Sprintf(
		`{"client_name":%q,"redirect_uris":[%q],"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"none"}`, name, redirectURI)))
	if a.Status != http.StatusCreated {
		w.t.Fatalf("registering answered %d %s", a.Status, a.Body)
	}
	c.id = a.ClientID
	q := c.authorizeParams()
	q.Set("redirect_uri", redirectURI)
	return c.authorizeURL(q)
}

// press sends keys to whatever has the focus.
func press(t *testing.T, tab context.Context, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if err := chromedp.Do(tab, chromedp.KeyEvent(key)); err != nil {
			t.Fatalf("pressing a key: %v", err)
		}
	}
}

// focused is what a keyboard user would act upon now: the value or name of the element.
func focused(t *testing.T, tab context.Context) string {
	t.Helper()
	at, err := chromedp.Run(tab, chromedp.Evaluate[string](`(e => e.value || e.name || e.tagName)(document.activeElement)`))
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// tabTo moves the focus to the element of this name or value.
func tabTo(t *testing.T, tab context.Context, want string) {
	t.Helper()
	var passed []string
	for range 12 {
		press(t, tab, kb.Tab)
		at := focused(t, tab)
		if at == want {
			visible, err := chromedp.Run(tab, chromedp.Evaluate[bool](`(s => s.outlineStyle != "none" && parseFloat(s.outlineWidth) >= 2)(getComputedStyle(document.activeElement))`))
			if err != nil || !visible {
				t.Errorf("the focus on %s cannot be seen, %v", want, err)
			}
			return
		}
		passed = append(passed, at)
	}
	t.Fatalf("the keyboard does not reach %s; it passed %q", want, passed)
}

func TestConsentWithTheKeyboardOnly(t *testing.T) {
	t.Parallel()
	tab := chromium.Start(t)
	w := newLocalWorld(t)
	redirectURI, landed := loopbackReceiver(t)
	if err := chromedp.Do(tab, chromedp.Navigate(w.registerAs("Keyboard", redirectURI)), chromedp.WaitVisible(chromedp.CSS(`button[value="allow"]`))); err != nil {
		t.Fatal(err)
	}
	tabTo(t, tab, "deny") // comes first
	tabTo(t, tab, "allow")
	press(t, tab, kb.Enter)
	if err := chromedp.Do(tab, chromedp.WaitVisible(chromedp.CSS(`input[name="password"]`))); err != nil {
		t.Fatal(err)
	}
	if at := focused(t, tab); at != "email" {
		t.Errorf("the sign-in page begins at %s", at)
	}
	press(t, tab, idp.Alice.Email, kb.Tab, localPassword, kb.Enter)
	u, err := arrival(w.ctx, t, tab, landed)
	if err != nil || u.Query().Get("code") == "" {
		t.Errorf("arrived at %v, %v", u, err)
	}
}

func TestAHostileNameIsText(t *testing.T) {
	t.Parallel()
	tab := chromium.Start(t)
	w := newLocalWorld(t)
	for _, name := range []string{
		`<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`,
		`</title></style><svg/onload="document.title='owned'">`,
		"Claude” (verified by Anthropic) “\u202etxet desrever\u2066\u200b",
		strings.Repeat("W", 128),
	} {
		address := w.registerAs(name, "https://evil.example/callback")
		if err := chromedp.Do(tab, chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS(`button[value="allow"]`))); err != nil {
			t.Fatal(err)
		}
		for what, script := range map[string]string{
			"markup of the name is in the document": `document.querySelectorAll("main img, script, svg[onload]").length > 0`,
			"a script of the name ran":              `document.title.includes("owned")`,
			"the name makes the page scroll":        `document.documentElement.scrollWidth > document.documentElement.clientWidth`,
			"the host is not the largest text":      `(px => [...document.querySelectorAll("main *")].some(e => e.innerText && !e.querySelector(".host") && !e.closest(".host") && px(e) > px(document.querySelector(".host"))))(e => parseFloat(getComputedStyle(e).fontSize))`,
			"the host is not shown":                 `document.querySelector(".host").innerText != "evil.example"`,
		} {
			bad, err := chromedp.Run(tab, chromedp.Evaluate[bool](script))
			if err != nil || bad {
				t.Errorf("%.30s: %s, %v", name, what, err)
			}
		}
	}
}

// A browser does not leave the page when it opens an application, so a used-up form would stay.
func TestAnApplicationOnTheDeviceIsToldOfADenial(t *testing.T) {
	t.Parallel()
	tab := chromium.Start(t)
	w := newLocalWorld(t)
	err := chromedp.Do(tab,
		chromedp.Navigate(w.registerAs("Cursor", "cursor://anysphere.cursor-mcp/oauth/callback")),
		chromedp.Click(chromedp.CSS(`button[value="deny"]`)),
		chromedp.WaitVisible(chromedp.CSS(`a[href^="cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied"]`)),
	)
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnApplicationOnTheDeviceIsHandedItsCode(t *testing.T) {
	t.Parallel()
	const redirectURI = "cursor://anysphere.cursor-mcp/oauth/callback"
	tab := chromium.Start(t)
	w := newLocalWorld(t)
	if _, err := allowInChromium(tab, w.registerAs("Cursor", redirectURI)); err != nil {
		t.Fatal(err)
	}
	err := chromedp.Do(tab,
		chromedp.WaitVisible(chromedp.CSS(`input[name="password"]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name="email"]`), idp.Alice.Email),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), localPassword),
		chromedp.Click(chromedp.CSS(`main form button`)),
		chromedp.WaitVisible(chromedp.CSS(`a[href^="cursor:"]`)),
	)
	if err != nil {
		t.Fatal(err)
	}
	href, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.querySelector('a[href^="cursor:"]').href`))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(href)
	if err != nil || !strings.HasPrefix(href, redirectURI+"?") || u.Query().Get("code") == "" || u.Query().Get("iss") != w.edge.URL() {
		t.Errorf("the link leads to %s, %v", u.Redacted(), err)
	}
	// Opening the application leaves the page where it is, and the policy of the page lets it.
	violated, err := chromedp.Run(tab, chromedp.Evaluate[bool](`new Promise(done => {
		document.addEventListener("securitypolicyviolation", () => done(true));
		document.querySelector('a[href^="cursor:"]').click();
		setTimeout(() => done(false), 500);
	})`, chromedp.EvalAwaitPromise))
	if err != nil || violated {
		t.Errorf("the page's policy keeps the application from being opened: %v", err)
	}
	text, err := chromedp.Run(tab, chromedp.Text(chromedp.CSS("main")))
	if err != nil || !strings.Contains(text, "Cursor") || strings.Contains(text, u.Query().Get("code")) {
		t.Errorf("the page says %q, %v", text, err)
	}
}
