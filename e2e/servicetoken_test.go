package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

const ciToken = "ci-token-0123456789abcdefghijklmnopqrstuvwxyz"

const tokenOption = "token ci {\n\t\t\tvalue {env.CI_TOKEN}\n\t\t\tresource " + upstream.StreamablePath + "\n\t\t}"

func TestAProgramUsesAServiceTokenBesidePeopleWhoSignIn(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.startAs(edge.Config{Site: w.oidcSite(tokenOption), Env: map[string]string{"CI_TOKEN": ciToken}})
	header := http.Header{"Authorization": {"Bearer " + ciToken}}
	client := w.mustConnect(upstream.StreamablePath, newPerson(idp.Alice), mcpclient.Options{Header: header})
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
		t.Fatal(err)
	}
	if who != (upstream.Identity{User: "token:ci"}) || client.SignIns() != 0 {
		t.Errorf("the server saw %+v, after %d sign-ins", who, client.SignIns())
	}
	person := w.mustConnect(upstream.StreamablePath, newPerson(idp.Alice), mcpclient.Options{})
	if err := person.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject {
		t.Errorf("for a person the server saw %+v, %v", who, err)
	}

	by := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL()}
	by.mcp(upstream.StatelessPath, ciToken).wantRefused(t, "a service token at another resource")
	for _, s := range w.up.Seen() {
		if strings.Contains(strings.Join(s.Header.Values("Authorization"), ""), ciToken) {
			t.Fatal("the token went on to the server")
		}
	}
	log := w.edge.Logs().String()
	if strings.Contains(log, ciToken) {
		t.Error("the log holds the token")
	}
	if !strings.Contains(log, `"user_id":"token:ci"`) {
		t.Error("the access log does not name the token")
	}
}

func TestServiceTokensAlone(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	site := w.gatedSite("token ci {\n\t\t\tvalue {env.CI_TOKEN}\n\t\t}")
	w.startAs(edge.Config{Site: site, Env: map[string]string{"CI_TOKEN": ciToken}})
	by := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL()}
	if a := by.mcp(upstream.StatelessPath, ciToken); a.Status != http.StatusOK {
		t.Errorf("with the token: status %d", a.Status)
	}
	for what, token := range map[string]string{"no token": "", "another token": ciToken + "x"} {
		a := by.mcp(upstream.StatelessPath, token)
		challenge := a.Header.Get("WWW-Authenticate")
		if a.Status != http.StatusUnauthorized || !strings.HasPrefix(challenge, `Bearer realm="`) || strings.Contains(challenge, "resource_metadata") {
			t.Errorf("%s: status %d, challenge %s", what, a.Status, challenge)
		}
	}
	for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server", "/oauth2/token"} {
		by.do(http.MethodGet, path, nil, nil).wantOAuthError(t, path, http.StatusNotFound, "not_found")
	}
}
