package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestALocalUserSignsIn(t *testing.T) {
	t.Parallel()
	w := newLocalWorld(t)
	client := w.mustConnect(upstream.StreamablePath, newLocalPerson(idp.Alice.Email, localPassword), mcpclient.Options{})
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
		t.Fatal(err)
	}
	if who.Email != idp.Alice.Email || who.User == "" || who.Authorization {
		t.Errorf("the server saw %+v", who)
	}
}

func TestAWrongPasswordIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newLocalWorld(t)
	c := w.newOAuthClient(upstream.StatelessPath)
	var texts []string
	for _, email := range []string{idp.Alice.Email, "nobody@example.com"} {
		p := newLocalPerson(email, "wrong-password")
		page, err := p.walk(w.ctx, c.open(p), atLocalLogin)
		if err != nil || !atLocalLogin(page) {
			t.Fatalf("no login page: %v", err)
		}
		form, _ := page.Form("password")
		refused, err := p.Submit(w.ctx, form, "", map[string]string{"email": email, "password": "wrong-password"})
		if err != nil {
			t.Fatal(err)
		}
		if refused.Landed || !atLocalLogin(refused) {
			t.Fatalf("a wrong password led to %s with status %d: %s", refused.URL.Path, refused.Status, refused.Text)
		}
		wantReadablePage(t, refused, refused.Status)
		if strings.Contains(refused.Body, "wrong-password") {
			t.Error("the page repeats the password")
		}
		texts = append(texts, strings.ReplaceAll(refused.Text, email, "?"))

		if email != idp.Alice.Email {
			continue
		}
		again, _ := refused.Form("password")
		landed, err := p.Submit(w.ctx, again, "", map[string]string{"email": email, "password": localPassword})
		if err != nil {
			t.Fatal(err)
		}
		if a := c.tokens(c.code(p, landed)); a.Status != http.StatusOK {
			t.Errorf("the right password afterwards was answered with %d", a.Status)
		}
	}
	if texts[0] != texts[1] {
		t.Errorf("the pages tell whether somebody exists:\n%s\n%s", texts[0], texts[1])
	}
}
