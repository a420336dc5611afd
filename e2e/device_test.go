package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/chromium"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

const deviceGrantType = "urn:ietf:params:oauth:grant-type:device_code"

// device is a program without a browser, as golang.org/x/oauth2 makes one.
type device struct {
	w      *world
	config oauth2.Config
	ctx    context.Context
	auth   *oauth2.DeviceAuthResponse
}

// newDevice registers a client that has no redirect URI, finds the endpoints in the metadata and asks
// for a code.
func (w *world) newDevice() *device {
	w.t.Helper()
	c := w.newOAuthClient(upstream.StreamablePath)
	registered := c.post("/oauth2/register", "application/json",
		strings.NewReader(`{"client_name":"Terminal","grant_types":["`+deviceGrantType+`","refresh_token"],"token_endpoint_auth_method":"none"}`))
	if registered.Status != http.StatusCreated {
		w.t.Fatalf("registering answered %d %s", registered.Status, registered.Body)
	}
	var metadata struct {
		Token  string   `json:"token_endpoint"`
		Device string   `json:"device_authorization_endpoint"`
		Grants []string `json:"grant_types_supported"`
	}
	if err := json.Unmarshal(c.do(http.MethodGet, "/.well-known/oauth-authorization-server", nil, nil).Body, &metadata); err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(strings.Join(metadata.Grants, " "), deviceGrantType) {
		w.t.Errorf("the metadata does not announce the grant type: %v", metadata.Grants)
	}
	d := &device{w: w, ctx: w.ctx, config: oauth2.Config{
		ClientID: registered.ClientID,
		Endpoint: oauth2.Endpoint{TokenURL: metadata.Token, DeviceAuthURL: metadata.Device, AuthStyle: oauth2.AuthStyleInParams},
		Scopes:   []string{"tools:read"},
	}}
	var err error
	if d.auth, err = d.config.DeviceAuth(d.ctx, oauth2.SetAuthURLParam("resource", c.resource)); err != nil {
		w.t.Fatal(err)
	}
	return d
}

// wait polls, as the library does it, until there is an answer.
func (d *device) wait() (*oauth2.Token, error) { return d.config.DeviceAccessToken(d.ctx, d.auth) }

// enter opens the verification page and types the code.
func (p *person) enter(d *device, address string, values map[string]string) *browser.Page {
	d.w.t.Helper()
	page, err := p.Open(d.ctx, address)
	if err != nil {
		d.w.t.Fatal(err)
	}
	wantReadablePage(d.w.t, page, http.StatusOK)
	form, ok := page.Form("user_code")
	if !ok {
		d.w.t.Fatalf("no form for the code at %s: %s", page.URL, page.Text)
	}
	if page, err = p.Submit(d.ctx, form, "", values); err != nil {
		d.w.t.Fatal(err)
	}
	return page
}

func TestADeviceWithoutABrowserIsConnectedFromAnotherOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newDevice()
	alice := newPerson(idp.Alice)
	typed := strings.ToLower(strings.ReplaceAll(d.auth.UserCode, "-", ""))
	consent := alice.enter(d, d.auth.VerificationURI, map[string]string{"user_code": typed})
	for _, want := range []string{"Terminal", "another device", d.auth.UserCode, "tools:read", "somebody sent you"} {
		if !strings.Contains(consent.Text, want) {
			t.Errorf("the consent page does not say %q: %s", want, consent.Text)
		}
	}
	last, err := alice.walk(w.ctx, consent, nil)
	if err != nil || last.Status != http.StatusOK || !strings.Contains(last.Text, "return to your device") {
		t.Fatalf("the last page: %v, %+v", err, last)
	}
	token, err := d.wait()
	if err != nil {
		t.Fatal(err)
	}
	if token.RefreshToken == "" {
		t.Error("no refresh token")
	}
	client := w.mustConnect(upstream.StreamablePath, alice, mcpclient.Options{Token: token})
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.Email != idp.Alice.Email || client.SignIns() != 0 {
		t.Errorf("whoami answered %+v, %v after %d sign-ins", who, err, client.SignIns())
	}
}

func TestADeviceIsToldOfADenial(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newDevice()
	alice := newPerson(idp.Alice)
	alice.decision = "deny"
	consent := alice.enter(d, d.auth.VerificationURIComplete, nil)
	if last, err := alice.walk(w.ctx, consent, nil); err != nil || !strings.Contains(last.Text, "no access") {
		t.Fatalf("the last page: %v, %+v", err, last)
	}
	if _, err := d.wait(); err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("the device was told %v", err)
	}
	if w.idp.Logins() != 0 {
		t.Error("a denial led on to the sign-in")
	}
}

func TestARealBrowserConnectsADevice(t *testing.T) {
	t.Parallel()
	tab := chromium.Start(t)
	w := newWorld(t)
	d := w.newDevice()
	err := chromedp.Do(tab,
		chromedp.Navigate(d.auth.VerificationURIComplete),
		chromedp.Click(chromedp.CSS(`main form button`)),
		chromedp.WaitVisible(chromedp.CSS(`button[value="allow"]`)),
		chromedp.Click(chromedp.CSS(`button[value="allow"]`)),
		chromedp.WaitVisible(chromedp.CSS(`input[name="username"]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name="username"]`), idp.Alice.Email),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), idp.Alice.Password),
		chromedp.Click(chromedp.CSS(`button[name="signin"]`)),
	)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := d.wait(); err != nil || token.AccessToken == "" {
		t.Errorf("the device got %v", err)
	}
	text, err := chromedp.Run(tab, chromedp.Text(chromedp.CSS("main")))
	if err != nil || !strings.Contains(text, "return to your device") {
		t.Errorf("the last page says %q, %v", text, err)
	}
}

func TestNothingOfADeviceCodeIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.newDevice()
	alice := newPerson(idp.Alice)
	alice.enter(d, d.auth.VerificationURIComplete, nil)
	a := w.newOAuthClient(upstream.StreamablePath).form("/oauth2/token", url.Values{
		"grant_type": {deviceGrantType}, "client_id": {d.config.ClientID}, "device_code": {d.auth.DeviceCode},
	})
	if a.Error != "authorization_pending" {
		t.Fatalf("polling answered %d %s", a.Status, a.Error)
	}
	for _, secret := range []string{d.auth.DeviceCode, d.auth.UserCode} {
		if strings.Contains(w.edge.Logs().String(), secret) {
			t.Errorf("the log contains %s...", secret[:4])
		}
	}
}
