package e2e

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

const agentSecret = "9c2f7b1e4d6a48c0b3e5f7a9d1c3e5f7"

// newEnterpriseWorld accepts assertions of its identity provider from the client "agent", which the
// provider knows as "agent-at-idp".
func newEnterpriseWorld(t *testing.T) *world {
	t.Helper()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.start(w.oidcSite(
		"client agent {\nname Agent\nsecret "+agentSecret+"\ngrant_types jwt_bearer\n}",
		"id_jag "+w.idp.Issuer()+" {\nclient agent-at-idp agent\n}",
	))
	return w
}

func TestAnEnterpriseClientConnectsWithoutASecondSignIn(t *testing.T) {
	t.Parallel()
	w := newEnterpriseWorld(t)
	handler, err := extauth.NewEnterpriseHandler(&extauth.EnterpriseHandlerConfig{
		IdPIssuerURL:     w.idp.Issuer(),
		IdPCredentials:   &oauthex.ClientCredentials{ClientID: "agent-at-idp"},
		MCPAuthServerURL: w.edge.URL(),
		MCPResourceURI:   w.url(upstream.StreamablePath),
		MCPCredentials:   &oauthex.ClientCredentials{ClientID: "agent", ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: agentSecret}},
		MCPScopes:        []string{"tools:read"},
		IDTokenFetcher: func(context.Context) (*oauth2.Token, error) {
			idToken, err := w.idp.IDToken(idp.Alice, "agent-at-idp")
			return (&oauth2.Token{AccessToken: "unused"}).WithExtra(map[string]any{"id_token": idToken}), err
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
	want := upstream.Identity{User: idp.Alice.Subject, Email: idp.Alice.Email, Groups: "engineering"}
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who != want {
		t.Errorf("the server saw %+v, %v, want %+v", who, err, want)
	}
	if w.idp.Logins() != 0 {
		t.Error("somebody had to sign in")
	}
}

func TestAssertionsThatAreNotForThisServerAreRefused(t *testing.T) {
	t.Parallel()
	w := newEnterpriseWorld(t)
	c := w.newOAuthClient(upstream.StreamablePath)
	bring := func(u idp.User, changes map[string]any) answer {
		t.Helper()
		assertion, err := w.idp.Assertion(u, w.edge.URL(), c.resource, "agent-at-idp", changes)
		if err != nil {
			t.Fatal(err)
		}
		return c.form("/oauth2/token", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "client_id": {"agent"}, "client_secret": {agentSecret}, "assertion": {assertion},
		})
	}
	once := map[string]any{"jti": "once"}
	if a := bring(idp.Alice, once); a.Status != http.StatusOK || a.RefreshToken != "" {
		t.Fatalf("a good one: %d %s", a.Status, a.Body)
	}
	for _, tc := range []struct {
		name    string
		user    idp.User
		changes map[string]any
	}{
		{"a second time", idp.Alice, once},
		{"for another authorization server", idp.Alice, map[string]any{"aud": "https://other.example"}},
		{"for another client", idp.Alice, map[string]any{"client_id": "agent"}},
		{"that needs proof of possession", idp.Alice, map[string]any{"cnf": map[string]string{"jkt": "x"}}},
		{"for somebody of another domain", idp.Bob, nil},
		{"for an address that is not verified", idp.Mallory, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bring(tc.user, tc.changes).wantOAuthError(t, tc.name, http.StatusBadRequest, "invalid_grant")
		})
	}
	idToken, err := w.idp.IDToken(idp.Alice, "edge")
	if err != nil {
		t.Fatal(err)
	}
	c.form("/oauth2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "client_id": {"agent"}, "client_secret": {agentSecret}, "assertion": {idToken},
	}).wantOAuthError(t, "an ID token in its place", http.StatusBadRequest, "invalid_grant")
}
