package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// offline asks the provider for refresh tokens.
const offline = "scopes openid email profile offline_access"

// oidcBlock is a provider with further options.
func oidcBlock(p *idp.Provider, options ...string) string {
	return fmt.Sprintf("oidc %s {\n client_id edge\n client_secret {env.OIDC_CLIENT_SECRET}\n %s\n}",
		p.Issuer(), strings.Join(options, "\n "))
}

func newProvider(t *testing.T) *idp.Provider {
	t.Helper()
	p, err := idp.New(fmt.Sprintf("127.0.0.1:%d", edge.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })
	return p
}

// newSignInWorld has the providers of signIn, of which w.idp may be one.
func newSignInWorld(t *testing.T, signIn func(w *world) string, extra ...string) *world {
	t.Helper()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.start(w.site(signIn(w), extra))
	return w
}

func atChoice(p *browser.Page) bool { return strings.Contains(p.Text, "Choose how to sign in") }

// consented opens the authorization endpoint and allows the client.
func (c *oauthClient) consented(p *person) *browser.Page {
	c.t.Helper()
	page := c.open(p)
	form, ok := page.FormWith("allow")
	if !ok {
		c.t.Fatalf("no consent page at %s: %s", page.URL, page.Text)
	}
	page, err := p.Submit(c.ctx, form, "allow", nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return page
}

// press presses a button of page.
func (c *oauthClient) press(p *person, page *browser.Page, button string, values map[string]string) *browser.Page {
	c.t.Helper()
	form, ok := page.FormWith(button)
	if !ok {
		c.t.Fatalf("no button %q at %s: %s", button, page.URL, page.Text)
	}
	page, err := p.Submit(c.ctx, form, button, values)
	if err != nil {
		c.t.Fatal(err)
	}
	return page
}

func TestPeopleChooseBetweenProviders(t *testing.T) {
	t.Parallel()
	partner := newProvider(t)
	carol := idp.User{Subject: "sub-carol", Email: "carol@example.com", EmailVerified: true, Name: "Carol", Password: "carol-password-4711"}
	partner.AddUser(carol)
	w := newSignInWorld(t, func(w *world) string {
		return oidcBlock(w.idp, "name Company") + "\n" + oidcBlock(partner, "id partner", "name Partner", "domains partner.example")
	})
	partner.AddClient("edge", clientSecret, w.url("/oauth2/callback/partner"))
	c := w.newOAuthClient(upstream.StreamablePath)

	for _, tc := range []struct {
		button string
		user   idp.User
	}{{"oidc", idp.Alice}, {"partner", carol}} {
		p := newPerson(tc.user)
		page := c.consented(p)
		if !atChoice(page) {
			t.Fatalf("no choice at %s: %s", page.URL, page.Text)
		}
		wantReadablePage(t, page, http.StatusOK)
		tokens := c.tokens(c.code(p, c.press(p, page, tc.button, nil)))
		if a := c.mcp(upstream.StreamablePath, tokens.AccessToken); a.Status != http.StatusOK {
			t.Errorf("%s: the server answered %d", tc.user.Email, a.Status)
		}
	}
	if w.idp.Logins() != 1 || partner.Logins() != 1 {
		t.Errorf("%d and %d passwords were asked for", w.idp.Logins(), partner.Logins())
	}

	t.Run("by their e-mail address", func(t *testing.T) {
		p := newPerson(carol)
		q := c.authorizeParams()
		q.Set("login_hint", "carol@partner.example")
		page, err := p.Open(c.ctx, c.authorizeURL(q))
		if err != nil {
			t.Fatal(err)
		}
		if page = c.press(p, page, "allow", nil); !atProviderLogin(page) || page.URL.Host != strings.TrimPrefix(partner.Issuer(), "http://") {
			t.Errorf("at %s: %s", page.URL, page.Text)
		}
	})
	t.Run("and take the other if one is down", func(t *testing.T) {
		if err := w.idp.Stop(); err != nil {
			t.Fatal(err)
		}
		w.edge.Restart() // it has not read any metadata now
		p := newPerson(carol)
		page := c.consented(p)
		page = c.press(p, page, "oidc", nil)
		if !atChoice(page) || !strings.Contains(page.Text, "Company cannot be reached") {
			t.Fatalf("at %s: %s", page.URL, page.Text)
		}
		c.tokens(c.code(p, c.press(p, page, "partner", nil)))
	})
}

func TestALeaverLosesAccessAtTheNextRefresh(t *testing.T) {
	t.Parallel()
	w := newSignInWorld(t, func(w *world) string { return oidcBlock(w.idp, offline) }, "recheck_interval 1s")
	alice := newPerson(idp.Alice)
	c, other := w.newOAuthClient(upstream.StatelessPath), w.newOAuthClient(upstream.StreamablePath)
	tokens, others := c.signIn(alice), other.signIn(alice)
	if n := w.idp.Logins(); n != 1 {
		t.Fatalf("%d passwords were asked for", n)
	}
	// Both clients stem from one sign-in at a provider that takes each refresh token once.
	for i := range 3 {
		edge.Eventually(t, "the provider is asked again", 10*time.Second, func() bool {
			tokens, others = c.refresh(tokens.RefreshToken), other.refresh(others.RefreshToken)
			return tokens.Status != http.StatusOK || others.Status != http.StatusOK || w.idp.Renewals() > i
		})
		if tokens.Status != http.StatusOK || others.Status != http.StatusOK {
			t.Fatalf("refreshing answered %d %s and %d %s", tokens.Status, tokens.Error, others.Status, others.Error)
		}
	}

	w.idp.RemoveUser(idp.Alice)
	var refused answer
	token := tokens.RefreshToken
	edge.Eventually(t, "the account's end is noticed", 10*time.Second, func() bool {
		if refused = c.refresh(token); refused.Status == http.StatusOK {
			tokens, token = refused, refused.RefreshToken
			return false
		}
		return true
	})
	refused.wantOAuthError(t, "a leaver's refresh", http.StatusBadRequest, "invalid_grant")
	c.mcp(upstream.StatelessPath, tokens.AccessToken).wantRefused(t, "a leaver's access token")
	other.refresh(others.RefreshToken).wantOAuthError(t, "the other client's refresh", http.StatusBadRequest, "invalid_grant")
	other.mcp(upstream.StreamablePath, others.AccessToken).wantRefused(t, "the other client's access token")
	if page := c.open(alice); !strings.Contains(page.Text, "You will sign in next") {
		t.Errorf("the leaver's browser is still signed in: %s", page.Text)
	}
}

// A script's token is never refreshed, and no client of its owner need be connected.
func TestALeaversScriptLosesAccess(t *testing.T) {
	t.Parallel()
	w := newSignInWorld(t, func(w *world) string { return oidcBlock(w.idp, offline) }, "recheck_interval 1s")
	token := w.makeToken(newPerson(idp.Alice), upstream.StreamablePath)
	made := time.Now()
	c := w.newOAuthClient(upstream.StreamablePath)
	w.idp.RemoveUser(idp.Alice)
	edge.Eventually(t, "the provider's word is old", 5*time.Second, func() bool { return time.Since(made) > 1500*time.Millisecond })
	if a := c.mcp(upstream.StreamablePath, token); a.Status != http.StatusOK {
		t.Fatalf("requests wait for the provider, or the token is not good: %d", a.Status)
	}
	edge.Eventually(t, "the account's end is noticed", 10*time.Second, func() bool {
		return c.mcp(upstream.StreamablePath, token).Status == http.StatusUnauthorized
	})
	edge.Eventually(t, "it is recorded", 5*time.Second, func() bool { return len(w.edge.Logs().LinesWith("no longer vouches")) > 0 })
	w.edge.Stop()
	if lines := w.edge.Logs().LinesWith("no longer vouches"); len(lines) != 1 || !strings.Contains(lines[0], `"credential":"put-`) {
		t.Errorf("recorded %v", lines)
	}
}

func TestAProviderThatIsDownCostsNoClientItsTokens(t *testing.T) {
	t.Parallel()
	w := newSignInWorld(t, func(w *world) string { return oidcBlock(w.idp, offline) }, "recheck_interval 1s", "recheck_grace 4s")
	c := w.newOAuthClient(upstream.StatelessPath)
	tokens := c.signIn(newPerson(idp.Alice))
	if err := w.idp.Stop(); err != nil {
		t.Fatal(err)
	}
	good := tokens.RefreshToken
	served := 0
	var refused answer
	edge.Eventually(t, "the grace ends", 20*time.Second, func() bool {
		refused = c.refresh(good)
		if refused.Status == http.StatusOK {
			served, good, tokens = served+1, refused.RefreshToken, refused
		}
		return refused.Status != http.StatusOK
	})
	refused.wantOAuthError(t, "a refresh after the grace", http.StatusServiceUnavailable, "temporarily_unavailable")
	if served == 0 || refused.Header.Get("Retry-After") == "" {
		t.Errorf("%d refreshes were served; Retry-After %q", served, refused.Header.Get("Retry-After"))
	}
	if a := c.mcp(upstream.StatelessPath, tokens.AccessToken); a.Status != http.StatusOK {
		t.Errorf("a valid token was answered with %d", a.Status)
	}
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	edge.Eventually(t, "the provider is asked again", 20*time.Second, func() bool { return c.refresh(good).Status == http.StatusOK })
}

func TestSigningOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.idp.AllowLogoutReturn("edge", w.url("/oauth2/logout"))
	c := w.newOAuthClient(upstream.StatelessPath)
	alice := newPerson(idp.Alice)
	tokens := c.signIn(alice)

	page, err := alice.Open(w.ctx, w.url("/oauth2/logout"))
	if err != nil {
		t.Fatal(err)
	}
	wantReadablePage(t, page, http.StatusOK)
	form, ok := page.Form("ticket")
	if !ok || !strings.Contains(page.Text, idp.Alice.Email) {
		t.Fatalf("the page says: %s", page.Text)
	}
	// Another site that knows nothing of the ticket changes nothing.
	if _, err := alice.Send(w.ctx, page, w.url("/oauth2/logout"), nil); err != nil {
		t.Fatal(err)
	}
	if page, err = alice.Submit(w.ctx, form, "", nil); err != nil {
		t.Fatal(err)
	}
	if page.URL.String() != w.url("/oauth2/logout") || !strings.Contains(page.Text, "You are signed out") {
		t.Errorf("at %s with status %d: %s", page.URL, page.Status, page.Text)
	}
	if got := w.idp.Logouts(); len(got) != 1 || got[0] != idp.Alice.Subject {
		t.Errorf("signed out at the provider: %v", got)
	}
	if page := c.open(alice); !strings.Contains(page.Text, "You will sign in next") {
		t.Errorf("the browser is still signed in: %s", page.Text)
	}
	if a := c.mcp(upstream.StatelessPath, tokens.AccessToken); a.Status != http.StatusOK {
		t.Errorf("the application was disconnected: %d", a.Status)
	}
}

func TestSigningInAtGitHub(t *testing.T) {
	t.Parallel()
	hub := startGitHub(t)
	w := newSignInWorld(t, func(*world) string {
		return fmt.Sprintf("github {\n client_id edge\n client_secret {env.OIDC_CLIENT_SECRET}\n organizations acme\n enterprise_url %s\n}", hub.URL)
	}, "allow group acme/platform", "recheck_interval 1s")
	alice := newPerson(idp.Alice)
	client := w.mustConnect(upstream.StreamablePath, alice, mcpclient.Options{})
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
		t.Fatal(err)
	}
	if want := (upstream.Identity{User: "583231", Email: "ann@elsewhere.example", Groups: "acme,acme/platform"}); who != want {
		t.Errorf("the server saw %+v, want %+v", who, want)
	}
	if !strings.HasPrefix(hub.challenge(), "S256 ") {
		t.Errorf("PKCE: %q", hub.challenge())
	}

	c := w.newOAuthClient(upstream.StatelessPath)
	tokens := c.signIn(alice)
	hub.leave()
	edge.Eventually(t, "leaving the organization is noticed", 10*time.Second, func() bool {
		if a := c.refresh(tokens.RefreshToken); a.Status == http.StatusOK {
			tokens = a
			return false
		}
		return true
	})
	c.mcp(upstream.StatelessPath, tokens.AccessToken).wantRefused(t, "a leaver's access token")
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
