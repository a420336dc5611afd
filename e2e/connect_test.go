package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
)

const forgeSecret = "forge-client-secret-2342"

// newForgeWorld has a server whose accounts people connect at an authorization server of its own, which
// the server asks about each token.
func newForgeWorld(t *testing.T) (*world, *keyedServer, *idp.Provider) {
	t.Helper()
	forge, err := idp.New(fmt.Sprintf("127.0.0.1:%d", edge.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := forge.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = forge.Stop() })
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(forgeSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	w, keyed := newKeyedWorld(t, fmt.Sprintf(`credentials oauth %s {
				client_id edge-at-forge
				client_secret {file.%s}
				scopes openid offline_access
			}`, forge.Issuer(), secret))
	forge.AddClient("edge-at-forge", forgeSecret, w.url("/oauth2/connect/keyed/callback"))
	keyed.accept(func(authorization string) bool { return tokenIsGood(w.ctx, forge.Issuer(), authorization) })
	return w, keyed, forge
}

// connectAccount goes through the forge's pages, as far as until.
func (w *world) connectAccount(p *person, until func(*browser.Page) bool) *browser.Page {
	w.t.Helper()
	page, err := p.walk(w.ctx, w.press(p, w.credentialsPage(p), "connect", nil), until)
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

func TestAnAccountIsConnectedRefreshedAndDisconnected(t *testing.T) {
	t.Parallel()
	w, keyed, forge := newForgeWorld(t)
	alice := newPerson(idp.Alice)
	token := w.newOAuthClient(keyedPath).signIn(alice).AccessToken
	if _, err := w.connectWith(token); err == nil || !strings.Contains(err.Error(), "Connect it at "+w.url(credentialsPath)) {
		t.Fatalf("before connecting: %v", err)
	}
	page := w.connectAccount(alice, nil)
	wantReadablePage(t, page, http.StatusOK)
	if !strings.Contains(page.Text, "Your account is connected") || page.URL.Path != credentialsPath {
		t.Fatalf("after connecting: %s %s", page.URL, page.Text)
	}
	client, err := w.connectWith(token)
	if err != nil {
		t.Fatal(err)
	}
	call := func() string {
		t.Helper()
		var got fingerprint
		if err := client.Call(w.ctx, "fingerprint", nil, &got); err != nil {
			t.Fatal(err)
		}
		return got.SHA256
	}
	first := call()
	secret := accessToken(t, forge, first)

	// The forge ends the access token; the call that finds out goes through nevertheless.
	form := url.Values{"token": {secret}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, forge.Issuer()+"/revoke", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("edge-at-forge", forgeSecret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("revoking at the forge: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	if keyed.refusals() != 0 {
		t.Errorf("refused %d times before", keyed.refusals())
	}
	second := call()
	if second == first || keyed.refusals() != 1 {
		t.Errorf("the same token again: %t; refused %d times", second == first, keyed.refusals())
	}
	renewed := accessToken(t, forge, second)

	page = w.press(alice, w.credentialsPage(alice), "disconnect", nil)
	if !strings.Contains(page.Text, "Not connected") {
		t.Errorf("after disconnecting: %s", page.Text)
	}
	if tokenIsGood(w.ctx, forge.Issuer(), "Bearer "+renewed) {
		t.Error("the token is good at the forge after disconnecting")
	}
	if err := client.Call(w.ctx, "fingerprint", nil, new(fingerprint)); err == nil || !strings.Contains(err.Error(), w.url(credentialsPath)) {
		t.Errorf("after disconnecting: %v", err)
	}

	w.edge.Stop()
	secrets := map[string]string{"the client secret": forgeSecret, "an access token": secret, "a renewed one": renewed}
	collectPageSecrets(secrets, alice.seen)
	for _, s := range forge.Issued() {
		secrets["a code or token of the forge "+s[:4]] = s
	}
	wantNotLogged(t, w, secrets)
	wantStoreSealed(t, filepath.Join(w.edge.Dir(), "storage"), secrets)
}

// accessToken finds the token with a fingerprint among those that the forge has issued.
func accessToken(t *testing.T, forge *idp.Provider, want string) string {
	t.Helper()
	issued := forge.Issued()
	i := slices.IndexFunc(issued, func(token string) bool { return fingerprintOf("Bearer "+token) == want })
	if i < 0 {
		t.Fatal("the server got a token that the forge has not issued")
	}
	return issued[i]
}

// The answer for one person, opened by another, must connect nobody's account.
func TestAConnectionIsFinishedByWhoBeganItOnly(t *testing.T) {
	t.Parallel()
	w, _, _ := newForgeWorld(t)
	alice, eve := newPerson(idp.Alice), newPerson(carol)
	w.newOAuthClient(keyedPath).signIn(alice)
	w.newOAuthClient(keyedPath).signIn(eve)

	// Alice's browser stops at the callback: whoever gets that address to open is the question.
	stopped := *alice
	login := w.connectAccount(&stopped, atProviderLogin)
	form, _ := login.Form("username")
	alice.StopAt(w.url("/oauth2/connect/keyed/callback"))
	back, err := alice.Submit(w.ctx, form, "", map[string]string{"username": idp.Alice.Email, "password": idp.Alice.Password})
	if err != nil || !back.Landed {
		t.Fatalf("the browser is not on its way back: %v, %v", back, err)
	}
	alice.StopAt("")
	callback := back.URL.String()

	stranger := newPerson(idp.Alice)
	w.newOAuthClient(keyedPath).signIn(stranger) // the same person at another browser
	for who, p := range map[string]*person{"another person": eve, "another browser": stranger, "nobody": newPerson(idp.Alice)} {
		page, err := p.Open(w.ctx, callback)
		if err != nil {
			t.Fatal(err)
		}
		if page.Status < 400 || page.Landed {
			t.Errorf("%s: %d %s", who, page.Status, page.Text)
		}
	}
	if page := w.credentialsPage(eve); !strings.Contains(page.Text, "Not connected") {
		t.Errorf("alice's account was planted: %s", page.Text)
	}
	page, err := alice.Open(w.ctx, callback)
	if err != nil {
		t.Fatal(err)
	}
	if page.Status != http.StatusOK || !strings.Contains(page.Text, "Your account is connected") {
		t.Errorf("who began it: %d %s", page.Status, page.Text)
	}
}
