package e2e

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestTheLogNamesPeopleAndHoldsNoSecret(t *testing.T) {
	t.Parallel()
	w := newAuditedWorld(t)
	secrets := map[string]string{"the client secret": clientSecret, "a password": idp.Alice.Password, "a service token": ciToken}

	alice := newPerson(idp.Alice)
	client := w.mustConnect(upstream.StreamablePath, alice, mcpclient.Options{})
	if err := client.Call(w.ctx, "whoami", nil, new(upstream.Identity)); err != nil {
		t.Fatal(err)
	}
	secrets["the SDK client's access token"] = client.Token().AccessToken
	secrets["the SDK client's refresh token"] = client.Token().RefreshToken

	c := w.newOAuthClient(upstream.StatelessPath)
	byHand := newPerson(idp.Alice)
	code := c.code(byHand, c.open(byHand))
	tokens := c.tokens(code)
	secrets["a code"], secrets["a code verifier"] = code, c.verifier
	secrets["an access token"], secrets["a refresh token"] = tokens.AccessToken, tokens.RefreshToken
	renewed := c.refresh(tokens.RefreshToken)
	secrets["a renewed access token"], secrets["a renewed refresh token"] = renewed.AccessToken, renewed.RefreshToken
	c.mcp(upstream.StatelessPath, tokens.RefreshToken)                   // a refusal
	c.refresh(tokens.AccessToken)                                        // another
	c.form("/oauth2/token", c.tokenParams(code))                         // a replay
	c.revoke(renewed.RefreshToken)                                       // and the end
	refused := newPerson(idp.Mallory)                                    // somebody who may not come in
	if _, err := refused.walk(w.ctx, c.open(refused), nil); err != nil { // leaves traces too
		t.Fatal(err)
	}
	secrets["a state of the client"] = c.state
	minting := newPerson(idp.Alice)
	secrets["a token of a person"] = w.makeToken(minting, upstream.StreamablePath)
	for _, bearer := range []string{ciToken, secrets["a token of a person"]} {
		c.mcp(upstream.StreamablePath, bearer)
		c.mcp(upstream.StatelessPath, bearer) // where it is not good
	}
	other := w.newOAuthClient(upstream.StreamablePath)
	connected := other.signIn(minting)
	secrets["the token of an application"], secrets["its refresh token"] = connected.AccessToken, connected.RefreshToken
	home := w.ownPage(minting, "")
	form, ok := home.FormWith("sign_out_everywhere")
	if !ok {
		t.Fatalf("no way to sign out at %s", home.URL)
	}
	secrets["a ticket of a person's page"] = form.Fields.Get("ticket")
	secrets["a session that ended"] = sessionCookie(minting, w.edge.URL())
	w.pressed(minting, home, "sign_out_everywhere", url.Values{"apps": {"yes"}, "tokens": {"yes"}})
	c.mcp(upstream.StreamablePath, secrets["a token of a person"]) // which is revoked
	w.useOtherSecrets(c, secrets)
	for _, p := range []*person{alice, byHand, refused, minting} {
		collectPageSecrets(secrets, p.seen)
		for _, cookie := range p.Cookies(w.edge.URL()) {
			secrets["the cookie "+cookie.Name] = cookie.Value
		}
	}
	for i, s := range w.idp.Issued() {
		secrets["a code or token of the provider "+string(rune('a'+i))] = s
	}
	shown := w.shown()
	w.edge.Stop()

	named := false
	for _, e := range w.edge.Logs().Access() {
		named = named || (e.Request.URI == upstream.StreamablePath && e.UserID == idp.Alice.Subject)
	}
	if !named {
		t.Errorf("no line of the access log for %s has user_id %s", upstream.StreamablePath, idp.Alice.Subject)
	}
	log := w.edge.Logs().String() + w.auditFile() + shown
	for what, secret := range secrets {
		if len(secret) < 8 {
			t.Errorf("%s is %q: nothing to look for", what, secret)
			continue
		}
		for _, form := range []string{secret, url.QueryEscape(secret)} {
			if i := strings.Index(log, form); i >= 0 {
				line := log[strings.LastIndexByte(log[:i], '\n')+1:]
				line, _, _ = strings.Cut(line, "\n")
				t.Errorf("%s is in the log: %.600s", what, line)
				break
			}
		}
	}
	wantStoreSealed(t, filepath.Join(w.edge.Dir(), "storage"), secrets)
}

// useOtherSecrets uses those that clients and upstreams have, well and badly, and adds them to secrets.
func (w *world) useOtherSecrets(c *oauthClient, secrets map[string]string) {
	w.t.Helper()
	secrets["the secret of a machine"], secrets["the secret of an MCP server"] = nightlySecret, upstreamSecret
	machine := url.Values{"grant_type": {"client_credentials"}, "client_id": {"nightly"}, "client_secret": {nightlySecret}, "resource": {w.url(upstream.StreamablePath)}}
	got := c.form("/oauth2/token", machine)
	if got.Status != http.StatusOK {
		w.t.Fatalf("the machine was answered %d %s", got.Status, got.Body)
	}
	secrets["the token of a machine"] = got.AccessToken
	c.mcp(upstream.StreamablePath, got.AccessToken)
	if status, _ := c.introspect("mcp-server", upstreamSecret, got.AccessToken); status != http.StatusOK {
		w.t.Fatalf("introspection was answered %d", status)
	}
	secrets["a wrong secret"] = "a-wrong-secret-0123456789abcdefghijklm"
	machine.Set("client_secret", secrets["a wrong secret"])
	c.form("/oauth2/token", machine)
	c.introspect("mcp-server", secrets["a wrong secret"], secrets["a wrong secret"])

	registered := c.post("/oauth2/register", "application/json", strings.NewReader(
		`{"client_name":"Confidential","redirect_uris":["https://client.example/cb"],"token_endpoint_auth_method":"client_secret_basic"}`))
	var client struct {
		Secret string `json:"client_secret"`
	}
	if err := registered.decode(&client); err != nil || client.Secret == "" {
		w.t.Fatalf("registering answered %d %s", registered.Status, registered.Body)
	}
	secrets["the secret of a client that registered itself"] = client.Secret
	secrets["a made-up refresh token"] = "mcprt_made-up-0123456789abcdefghijklm"
	c.form("/oauth2/token", url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {secrets["a made-up refresh token"]}, "client_id": {registered.ClientID}, "client_secret": {client.Secret},
	})
	secrets["a made-up code"], secrets["a made-up verifier"] = "mcpac_made-up-0123456789abcdefghijklm", "made-up-verifier-0123456789-0123456789-0123456789"
	c.form("/oauth2/token", url.Values{
		"grant_type": {"authorization_code"}, "code": {secrets["a made-up code"]}, "code_verifier": {secrets["a made-up verifier"]}, "client_id": {c.id},
	})
	secrets["a token in the wrong place"] = "mcpat_made-up-0123456789abcdefghijklm"
	c.revoke(secrets["a token in the wrong place"])
	c.mcp(upstream.StreamablePath, secrets["a token in the wrong place"])
	device := c.form("/oauth2/device_authorization", url.Values{"client_id": {c.id}})
	var codes struct {
		Device string `json:"device_code"`
		User   string `json:"user_code"`
	}
	if err := device.decode(&codes); err == nil && codes.Device != "" {
		secrets["a device code"], secrets["a user code"] = codes.Device, codes.User
	}
}

// shown is all that an operator's tools get to see of the configuration and of what is counted.
func (w *world) shown() string {
	w.t.Helper()
	admin := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(w.edge.Dir(), "admin.sock"))
	}}}
	defer admin.CloseIdleConnections()
	var all strings.Builder
	for _, path := range []string{"/config/", "/metrics"} {
		resp, err := admin.Get("http://localhost" + path)
		if err != nil {
			w.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "mcp_auth") {
			w.t.Fatalf("%s answered %d, %v", path, resp.StatusCode, err)
		}
		all.Write(body)
	}
	saved, err := os.ReadFile(filepath.Join(w.edge.Dir(), "config", "caddy", "autosave.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	return all.String() + string(saved)
}

// sessionCookie is the cookie of a signed-in person.
func sessionCookie(p *person, address string) string {
	for _, c := range p.Cookies(address) {
		if strings.HasSuffix(c.Name, "mcp_auth_session") {
			return c.Value
		}
	}
	return ""
}

// collectPageSecrets adds the hidden fields of the edge's pages and what was in the query.
func collectPageSecrets(secrets map[string]string, pages []*browser.Page) {
	for _, p := range pages {
		if f, ok := p.Form("ticket"); ok {
			secrets["the ticket of "+p.URL.Path] = f.Fields.Get("ticket")
		}
		if p.Landed {
			secrets["a code in a redirect"] = p.URL.Query().Get("code")
		}
		for name, field := range map[string]string{"code": "a code in an address", "state": "a state in an address"} {
			if v := p.URL.Query().Get(name); len(v) > 8 {
				secrets[field] = v
			}
		}
	}
	for what, s := range secrets {
		if s == "" {
			delete(secrets, what)
		}
	}
}

// wantStoreSealed asserts that whoever reads the storage directory learns neither a secret nor an
// address.
func wantStoreSealed(t *testing.T, dir string, secrets map[string]string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for what, secret := range secrets {
			if strings.Contains(string(content), secret) || strings.Contains(path, secret) {
				t.Errorf("%s is readable in the store: %s", what, path)
			}
		}
		for _, readable := range []string{idp.Alice.Email, idp.Alice.Subject, idp.Alice.Name} {
			if strings.Contains(string(content), readable) || strings.Contains(path, readable) {
				t.Errorf("%s is readable in the store: %s", readable, path)
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("reading the store: %d files, %v", files, err)
	}
}
