package e2e

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

const nightlySecret = "5b1e0c7d9a3f48e2b6d4c8a0f1e2d3c4"

var nightly = "client nightly {\nname \"Nightly job\"\nsecret " + nightlySecret +
	"\ngrant_types client_credentials\nscopes tools:read\nresource " + upstream.StreamablePath + "\n}"

func TestAProgramConnectsInItsOwnName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nightly)
	handler, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
		Credentials: &oauthex.ClientCredentials{
			ClientID: "nightly", ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: nightlySecret},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client, err := mcpclient.Connect(w.ctx, w.url(upstream.StreamablePath), mcpclient.Options{OAuth: handler})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who != (upstream.Identity{User: "client:nightly"}) {
		t.Errorf("the server saw %+v, %v", who, err)
	}
	if w.idp.Logins() != 0 {
		t.Error("somebody had to sign in")
	}
	if _, err := mcpclient.Connect(w.ctx, w.url(upstream.StatelessPath), mcpclient.Options{OAuth: handler}); err == nil {
		t.Error("it connected to a resource that it may not use")
	}
}

func TestAProgramLosesItsAccessWithItsEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nightly)
	c := w.newOAuthClient(upstream.StreamablePath)
	got := c.form("/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"nightly"}, "client_secret": {nightlySecret}, "resource": {c.resource},
	})
	if got.Status != http.StatusOK || got.AccessToken == "" || got.RefreshToken != "" {
		t.Fatalf("the token endpoint answered %d %s", got.Status, got.Error)
	}
	if a := c.mcp(upstream.StreamablePath, got.AccessToken); a.Status != http.StatusOK {
		t.Errorf("with the entry: status %d", a.Status)
	}
	w.edge.Reload(w.oidcSite())
	if a := c.mcp(upstream.StreamablePath, got.AccessToken); a.Status != http.StatusForbidden {
		t.Errorf("without the entry: status %d, want 403", a.Status)
	}
}
