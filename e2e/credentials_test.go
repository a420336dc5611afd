package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
)

const (
	keyedPath       = "/keyed/mcp"
	credentialsPath = "/oauth2/my/credentials"
)

// carol is a second person of the company.
var carol = idp.User{
	Subject: "sub-carol", Email: "carol@example.com", EmailVerified: true, Name: "Carol Example", Password: "carol-password-4711",
}

// newKeyedWorld has a server behind /keyed/ that wants a credential of each person. lines are those of
// the resource.
func newKeyedWorld(t *testing.T, lines string) (*world, *keyedServer) {
	t.Helper()
	w := prepareWorld(t)
	w.idp.AddUser(carol)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	keyed := startKeyed(t)
	// In one handle block of several, as people write it; the resource's path is cut off on the way.
	w.start(w.oidcSite("resource /keyed {\n\t\t\tname \"Keyed tools\"\n\t\t\t"+lines+"\n\t\t}") +
		"\thandle_path /keyed/* {\n\t\treverse_proxy " + keyed.addr + "\n\t}\n\thandle_path /other/* {\n\t\trespond other\n\t}\n")
	return w, keyed
}

// credentialsPage opens the page in p's browser.
func (w *world) credentialsPage(p *person) *browser.Page {
	w.t.Helper()
	page, err := p.Open(w.ctx, w.url(credentialsPath))
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

// press presses a button of the page, and fills its form in.
func (w *world) press(p *person, page *browser.Page, button string, values map[string]string) *browser.Page {
	w.t.Helper()
	form, ok := page.FormWith(button)
	if !ok {
		w.t.Fatalf("no button %q on %s: %s", button, page.URL, page.Text)
	}
	page, err := p.Submit(w.ctx, form, button, values)
	if err != nil {
		w.t.Fatal(err)
	}
	return page
}

// connectWith connects the SDK's client with a token that somebody has already.
func (w *world) connectWith(accessToken string) (*mcpclient.Client, error) {
	w.t.Helper()
	client, err := mcpclient.Connect(w.ctx, w.url(keyedPath), mcpclient.Options{
		Token: &oauth2.Token{AccessToken: accessToken, TokenType: "Bearer", Expiry: time.Now().Add(time.Hour)},
	})
	if err == nil {
		w.t.Cleanup(func() { _ = client.Close() })
	}
	return client, err
}

func TestTwoPeoplesCredentialsAreNeverCrossed(t *testing.T) {
	t.Parallel()
	w, keyed := newKeyedWorld(t, "credentials {\n\t\t\t\thint \"Create one at https://keyed.example/tokens\"\n\t\t\t}")
	secrets := map[string]string{}
	type caller struct {
		who    *person
		secret string
		token  string
		client *mcpclient.Client
	}
	callers := []*caller{{who: newPerson(idp.Alice), secret: "keyed-token-of-alice-1f0c"}, {who: newPerson(carol), secret: "keyed-token-of-carol-9b7d"}}
	for _, c := range callers {
		if page := w.credentialsPage(c.who); strings.Contains(page.Text, "Keyed tools") {
			t.Fatalf("before signing in: %d %s", page.Status, page.Text)
		}
		c.token = w.newOAuthClient(keyedPath).signIn(c.who).AccessToken
		// The SDK shows the person what to do.
		if _, err := w.connectWith(c.token); err == nil || !strings.Contains(err.Error(), w.url(credentialsPath)) {
			t.Fatalf("without a credential: %v", err)
		}
		page := w.credentialsPage(c.who)
		wantReadablePage(t, page, http.StatusOK)
		for _, want := range []string{"Keyed tools", "Nothing stored", "https://keyed.example/tokens", c.who.email} {
			if !strings.Contains(page.Text, want) {
				t.Errorf("the page lacks %q: %s", want, page.Text)
			}
		}
		collectPageSecrets(secrets, []*browser.Page{page})
		page = w.press(c.who, page, "store", map[string]string{"credential": c.secret})
		if page.Status != http.StatusOK || !strings.Contains(page.Text, "The token is stored") || strings.Contains(page.Body, c.secret) {
			t.Fatalf("after storing: %d %s", page.Status, page.Text)
		}
		var err error
		if c.client, err = w.connectWith(c.token); err != nil {
			t.Fatal(err)
		}
		secrets["the credential of "+c.who.email] = c.secret
	}
	if len(keyed.headers()) == 0 || keyed.refusals() != 0 {
		t.Errorf("%d requests arrived, %d were refused", len(keyed.headers()), keyed.refusals())
	}

	const calls = 250 // of each, all at once
	limit := make(chan struct{}, 64)
	var all sync.WaitGroup
	for n := range calls {
		for _, c := range callers {
			limit <- struct{}{}
			all.Go(func() {
				defer func() { <-limit }()
				var got fingerprint
				err := c.client.Call(w.ctx, "fingerprint", map[string]any{"call": n}, &got)
				if want := (fingerprint{fingerprintOf("Bearer " + c.secret), n}); err != nil || got != want {
					t.Errorf("%s, call %d: %+v, %v", c.who.email, n, got, err)
				}
			})
		}
	}
	all.Wait()
	for _, h := range keyed.headers() {
		if a := h["Authorization"]; len(a) != 1 || a[0] != "Bearer "+callers[0].secret && a[0] != "Bearer "+callers[1].secret {
			t.Fatalf("the server got Authorization %q", a)
		}
	}

	// What one of them takes back is theirs alone, and back at once.
	w.press(callers[0].who, w.credentialsPage(callers[0].who), "remove", nil)
	var got fingerprint
	if err := callers[0].client.Call(w.ctx, "fingerprint", nil, &got); err == nil || !strings.Contains(err.Error(), w.url(credentialsPath)) {
		t.Errorf("after removing: %+v, %v", got, err)
	}
	if err := callers[1].client.Call(w.ctx, "fingerprint", nil, &got); err != nil || got.SHA256 != fingerprintOf("Bearer "+callers[1].secret) {
		t.Errorf("the other one: %+v, %v", got, err)
	}
	w.edge.Stop()
	wantNotLogged(t, w, secrets)
	wantStoreSealed(t, filepath.Join(w.edge.Dir(), "storage"), secrets)
	log := w.edge.Logs().String()
	for _, event := range []string{"upstream token stored", "upstream token removed"} {
		if !strings.Contains(log, event) {
			t.Errorf("%q is not in the audit log", event)
		}
	}
}

func wantNotLogged(t *testing.T, w *world, secrets map[string]string) {
	t.Helper()
	log := w.edge.Logs().String()
	for what, secret := range secrets {
		if len(secret) < 8 || strings.Contains(log, secret) || strings.Contains(log, url.QueryEscape(secret)) {
			t.Errorf("%s is in the log, or too short to look for", what)
		}
	}
}

// A credential goes to the server of its resource; where that server sends a client, it does not go along.
func TestACredentialFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	w, keyed := newKeyedWorld(t, "credentials")
	var mu sync.Mutex
	var elsewhere []http.Header
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, r.Header.Clone())
	}))
	t.Cleanup(other.Close)
	away := httptest.NewServer(keyed.guard(http.RedirectHandler(other.URL+"/mcp", http.StatusTemporaryRedirect)))
	t.Cleanup(away.Close)
	w.edge.Reload(strings.Replace(w.oidcSite("resource /keyed {\n\t\t\tcredentials\n\t\t}")+
		"\thandle_path /keyed/* {\n\t\treverse_proxy ADDR\n\t}\n", "ADDR", strings.TrimPrefix(away.URL, "http://"), 1))

	alice := newPerson(idp.Alice)
	c := w.newOAuthClient(keyedPath)
	token := c.signIn(alice).AccessToken
	w.press(alice, w.credentialsPage(alice), "store", map[string]string{"credential": "keyed-token-of-alice-1f0c"})
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.url(keyedPath), strings.NewReader(initialize))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		if strings.Contains(strings.Join(values, " "), "keyed-token") {
			t.Errorf("the client got %s: %q", name, values)
		}
	}
	if seen := keyed.headers(); len(seen) != 1 || seen[0].Get("Authorization") != "Bearer keyed-token-of-alice-1f0c" {
		t.Errorf("the server got %v", seen)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(elsewhere) != 0 {
		t.Errorf("the edge followed a redirect with %v", elsewhere)
	}
}

// tokenIsGood asks an authorization server about a token.
func tokenIsGood(ctx context.Context, issuer, authorization string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/userinfo", nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", authorization)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
