package e2e

import (
	"io/fs"
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
	for _, p := range []*person{alice, byHand, refused, minting} {
		collectPageSecrets(secrets, p.seen)
		for _, cookie := range p.Cookies(w.edge.URL()) {
			secrets["the cookie "+cookie.Name] = cookie.Value
		}
	}
	for i, s := range w.idp.Issued() {
		secrets["a code or token of the provider "+string(rune('a'+i))] = s
	}
	w.edge.Stop()

	named := false
	for _, e := range w.edge.Logs().Access() {
		named = named || (e.Request.URI == upstream.StreamablePath && e.UserID == idp.Alice.Subject)
	}
	if !named {
		t.Errorf("no line of the access log for %s has user_id %s", upstream.StreamablePath, idp.Alice.Subject)
	}
	log := w.edge.Logs().String() + w.auditFile()
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
