package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestTheBrowserEndpointsBelongToOneBrowserAndOneUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StatelessPath)

	t.Run("a consent ticket in another browser", func(t *testing.T) {
		victim, attacker := newPerson(idp.Alice), newPerson(idp.Bob)
		consent, own := c.open(attacker), c.open(victim)
		form, _ := consent.FormWith("allow")
		fields := url.Values{"ticket": form.Fields["ticket"], "decision": {"allow"}}
		page, err := victim.Send(w.ctx, own, w.url("/oauth2/consent"), fields)
		if err != nil {
			t.Fatal(err)
		}
		wantRefusedPage(t, page)
	})
	t.Run("a consent posted by another site", func(t *testing.T) {
		victim := newPerson(idp.Alice)
		consent := c.open(victim)
		form, _ := consent.FormWith("allow")
		foreign := *consent
		foreign.URL = &url.URL{Scheme: "https", Host: "evil.example", Path: "/"}
		page, err := victim.Send(w.ctx, &foreign, w.url("/oauth2/consent"), url.Values{"ticket": form.Fields["ticket"], "decision": {"allow"}})
		if err != nil {
			t.Fatal(err)
		}
		wantRefusedPage(t, page)
	})
	t.Run("a consent ticket twice", func(t *testing.T) {
		p := newPerson(idp.Alice)
		consent := c.open(p)
		if page, err := p.walk(w.ctx, consent, atProviderLogin); err != nil || !atProviderLogin(page) {
			t.Fatalf("the first use did not lead to the login: %v", err)
		}
		form, _ := consent.FormWith("allow")
		page, err := p.Submit(w.ctx, form, "allow", nil)
		if err != nil {
			t.Fatal(err)
		}
		wantRefusedPage(t, page)
	})
	t.Run("an unreadable ticket", func(t *testing.T) {
		p := newPerson(idp.Alice)
		consent := c.open(p)
		for _, fields := range []url.Values{
			{}, {"ticket": {""}, "decision": {"allow"}}, {"ticket": {"x"}, "decision": {"allow"}},
			{"ticket": {strings.Repeat("x", 1<<20)}, "decision": {"allow"}}, {"ticket": {"x", "y"}, "decision": {"allow"}},
		} {
			page, err := p.Send(w.ctx, consent, w.url("/oauth2/consent"), fields)
			if err != nil {
				t.Fatal(err)
			}
			wantRefusedPage(t, page)
		}
	})
	t.Run("forms that are none", func(t *testing.T) {
		for _, path := range []string{"/oauth2/consent", "/oauth2/login"} {
			for _, contentType := range []string{"", "application/json", "text/plain", "multipart/form-data; boundary=x"} {
				a := c.do(http.MethodPost, path, http.Header{"Content-Type": {contentType}}, strings.NewReader("ticket=x&state=x&decision=allow"))
				if a.Status < 400 || a.Status > 499 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
					t.Errorf("%s as %q: %d %s", path, contentType, a.Status, a.Header.Get("Content-Type"))
				}
			}
			if a := c.do(http.MethodPut, path, nil, nil); a.Status != http.StatusMethodNotAllowed {
				t.Errorf("PUT %s: %d", path, a.Status)
			}
		}
	})
	t.Run("a login that nobody began", func(t *testing.T) {
		for _, query := range []string{"", "?state=x", "?state=x&state=y", "?state=" + strings.Repeat("x", 10<<10)} {
			page, err := newPerson(idp.Alice).Open(w.ctx, w.url("/oauth2/login"+query))
			if err != nil {
				t.Fatal(err)
			}
			wantRefusedPage(t, page)
		}
	})
	t.Run("a provider's address captured by an attacker", func(t *testing.T) {
		attacker, victim := newPerson(idp.Bob), newPerson(idp.Alice)
		login, err := attacker.walk(w.ctx, c.open(attacker), atProviderLogin)
		if err != nil {
			t.Fatal(err)
		}
		page, err := victim.Open(w.ctx, login.URL.String())
		if err != nil {
			t.Fatal(err)
		}
		if page, err = victim.walk(w.ctx, page, nil); err != nil {
			t.Fatal(err)
		}
		wantRefusedPage(t, page)
	})
	t.Run("a callback without a login", func(t *testing.T) {
		for _, query := range []string{"", "?code=x", "?state=x", "?code=x&state=x", "?error=access_denied&state=x", "?code=x&state=x&state=y"} {
			page, err := newPerson(idp.Alice).Open(w.ctx, w.url("/oauth2/callback"+query))
			if err != nil {
				t.Fatal(err)
			}
			wantRefusedPage(t, page)
		}
	})
}

// wantRefusedPage asserts a readable page with a client error, and no redirect.
func wantRefusedPage(t *testing.T, page *browser.Page) {
	t.Helper()
	if page.Status < 400 || page.Status > 499 {
		t.Errorf("status %d: %s", page.Status, page.Text)
	}
	wantReadablePage(t, page, page.Status)
}
