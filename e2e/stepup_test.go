package e2e

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// newScopedWorld requires one of two scopes, which a third includes.
func newScopedWorld(t *testing.T) *world {
	t.Helper()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.start(strings.Replace(w.oidcSite(), "scopes tools:read tools:write", `scopes tools:read tools:write tools:admin
			required_scope tools:write
			challenge_scope tools:write
			implies tools:admin tools:write
			implies tools:write tools:read`, 1))
	return w
}

// tokenFor goes the whole way with scope.
func (c *oauthClient) tokenFor(p *person, scope string) answer {
	c.t.Helper()
	q := c.authorizeParams()
	q.Set("scope", scope)
	page, err := p.Open(c.ctx, c.authorizeURL(q))
	if err != nil {
		c.t.Fatal(err)
	}
	return c.tokens(c.code(p, page))
}

func TestATokenWithTooLittleScopeIsSteppedUp(t *testing.T) {
	t.Parallel()
	w := newScopedWorld(t)
	c := w.newOAuthClient(upstream.StreamablePath)
	alice := newPerson(idp.Alice)

	if challenge := c.mcp(upstream.StreamablePath, "").Header.Get("WWW-Authenticate"); !strings.Contains(challenge, `scope="tools:write"`) {
		t.Errorf("without a token the challenge is %s", challenge)
	}
	narrow := c.tokenFor(alice, "tools:read")
	a := c.mcp(upstream.StreamablePath, narrow.AccessToken)
	challenge := a.Header.Get("WWW-Authenticate")
	if a.Status != http.StatusForbidden {
		t.Fatalf("a token for tools:read: status %d, %s", a.Status, challenge)
	}
	for _, want := range []string{`Bearer error="insufficient_scope"`, `scope="tools:write"`, `error_description="`,
		`resource_metadata="` + w.edge.URL() + `/.well-known/oauth-protected-resource/mcp"`} {
		if !strings.Contains(challenge, want) {
			t.Errorf("the challenge %s lacks %s", challenge, want)
		}
	}
	if n := len(w.up.Seen()); n != 0 {
		t.Errorf("%d requests reached the server", n)
	}
	if a = c.mcp(upstream.StreamablePath, c.tokenFor(alice, "tools:write").AccessToken); a.Status != http.StatusOK {
		t.Errorf("after asking for what the challenge names: status %d", a.Status)
	}
	if a = c.mcp(upstream.StreamablePath, c.tokenFor(alice, "tools:admin").AccessToken); a.Status != http.StatusOK {
		t.Errorf("with a scope that includes it: status %d", a.Status)
	}
	if page := alice.seen[len(alice.seen)-2]; !strings.Contains(page.Text, "tools:admin includes tools:read") {
		t.Errorf("the consent page does not tell what tools:admin includes: %s", page.Text)
	}
	if a = c.form("/oauth2/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {narrow.RefreshToken}, "client_id": {c.id}, "scope": {"tools:write"}}); a.Error != "invalid_scope" {
		t.Errorf("widening by refresh: %d %s", a.Status, a.Error)
	}
}

func TestARealClientStepsUpByItself(t *testing.T) {
	t.Parallel()
	w := newScopedWorld(t)
	alice := newPerson(idp.Alice)
	narrow := w.newOAuthClient(upstream.StreamablePath).tokenFor(alice, "tools:read")
	asked := ""
	client, err := mcpclient.Connect(w.ctx, w.url(upstream.StreamablePath), mcpclient.Options{
		Token: &oauth2.Token{AccessToken: narrow.AccessToken, TokenType: "Bearer"},
		SignIn: func(ctx context.Context, address string) (*url.URL, error) {
			u, err := url.Parse(address)
			if err != nil {
				return nil, err
			}
			asked = u.Query().Get("scope")
			return alice.signIn(ctx, address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject {
		t.Errorf("whoami: %+v, %v", who, err)
	}
	if client.SignIns() != 1 || !strings.Contains(asked, "tools:write") {
		t.Errorf("%d authorizations, the last for %q", client.SignIns(), asked)
	}
}
