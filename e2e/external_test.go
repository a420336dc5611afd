package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

const (
	ownClient       = "desktop"
	ownClientSecret = "desktop-client-secret-0815"
)

// newExternalWorld has the provider as authorization server; extra makes more lines about it.
func newExternalWorld(t *testing.T, opaque bool, extra ...func(*world) string) *world {
	t.Helper()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, line := range extra {
		lines = append(lines, line(w))
	}
	w.start(w.externalSite(lines))
	w.idp.AddResourceClient(ownClient, ownClientSecret, idp.Resource{
		Audience: []string{w.url(upstream.StreamablePath)}, Scopes: []string{"tools:read", "tools:write"}, Opaque: opaque,
	}, mcpclient.RedirectURI)
	return w
}

func (w *world) externalSite(extra []string) string {
	return fmt.Sprintf(`	mcp_auth {
		authorization_server %s {
			required_scopes tools:read
			%s
		}
		allow domain example.com
		resource %s {
			scopes tools:read tools:write
		}
		resource %s
	}
	reverse_proxy %s
`, w.idp.Issuer(), strings.Join(extra, "\n\t\t\t"), upstream.StreamablePath, upstream.StatelessPath, w.up.Addr())
}

// ask asks the provider about every token, instead of checking JWTs at the edge.
func ask(w *world) string {
	return fmt.Sprintf("introspection %s/oauth/introspect {\n\t\t\t\tclient_id edge\n\t\t\t\tclient_secret {env.OIDC_CLIENT_SECRET}\n\t\t\t}", w.idp.Issuer())
}

func (w *world) connectExternally(p *person) (*mcpclient.Client, error) {
	return mcpclient.Connect(w.ctx, w.url(upstream.StreamablePath), mcpclient.Options{
		SignIn: p.signIn, ClientID: ownClient, ClientSecret: ownClientSecret,
	})
}

// The client knows only the address of the resource. Everything else it learns from the edge and then
// from the authorization server.
func TestAClientBringsATokenOfAnotherAuthorizationServer(t *testing.T) {
	t.Parallel()
	w := newExternalWorld(t, false)
	client, err := w.connectExternally(newPerson(idp.Alice))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
		t.Fatal(err)
	}
	if want := (upstream.Identity{User: idp.Alice.Subject, Email: idp.Alice.Email, Groups: "engineering"}); who != want {
		t.Errorf("the server saw %+v, want %+v", who, want)
	}
	token := client.Token().AccessToken
	if strings.Count(token, ".") != 2 {
		t.Errorf("the access token is no JWT")
	}
	by := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL()}
	by.mcp(upstream.StatelessPath, token).wantRefused(t, "a token of another resource")
	by.mcp(upstream.StreamablePath, token[:len(token)-8]+"AAAAAAAA").wantRefused(t, "a token with another signature")
	idToken, err := w.idp.IDToken(idp.Alice, w.url(upstream.StreamablePath))
	if err != nil {
		t.Fatal(err)
	}
	if a := by.mcp(upstream.StreamablePath, idToken); a.Status == http.StatusOK {
		t.Error("an ID token was taken for an access token")
	}

	// What is known goes on while the provider is down.
	if err := w.idp.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
		t.Errorf("while the provider is down: %v", err)
	}
	if seen := w.up.Seen(); len(seen) == 0 {
		t.Error("nothing reached the server")
	} else {
		for _, s := range seen {
			if s.Header.Get("Authorization") != "" {
				t.Errorf("the token went on to the server: %s %s", s.Method, s.Path)
			}
		}
	}
	if log := w.edge.Logs().String(); strings.Contains(log, token) {
		t.Error("the log holds the token")
	}
}

func TestTheAllowRulesHoldForPeopleOfAnotherAuthorizationServer(t *testing.T) {
	t.Parallel()
	w := newExternalWorld(t, false)
	for _, u := range []idp.User{idp.Bob, idp.Mallory} {
		if client, err := w.connectExternally(newPerson(u)); err == nil {
			_ = client.Close()
			t.Errorf("%s was let in", u.Email)
		}
	}
	if seen := w.up.Seen(); len(seen) != 0 {
		t.Errorf("%d requests reached the server", len(seen))
	}
}

func TestASiteWithAnotherAuthorizationServerHasNoneItself(t *testing.T) {
	t.Parallel()
	w := newExternalWorld(t, false)
	by := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL()}
	a := by.do(http.MethodGet, "/.well-known/oauth-protected-resource"+upstream.StreamablePath, nil, nil)
	var document struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
	}
	if err := json.Unmarshal(a.Body, &document); err != nil || document.Resource != w.url(upstream.StreamablePath) ||
		len(document.Servers) != 1 || document.Servers[0] != w.idp.Issuer() {
		t.Errorf("the metadata say %s, %v", a.Body, err)
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		by.do(http.MethodGet, path, nil, nil).wantOAuthError(t, path, http.StatusNotFound, "not_found")
	}
}

func TestTheAuthorizationServerIsAskedAboutTokens(t *testing.T) {
	t.Parallel()
	for _, opaque := range []bool{true, false} {
		t.Run(fmt.Sprintf("opaque %t", opaque), func(t *testing.T) {
			t.Parallel()
			w := newExternalWorld(t, opaque, ask)
			client, err := w.connectExternally(newPerson(idp.Alice))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.Close() })
			var who upstream.Identity
			if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject || who.Email != idp.Alice.Email {
				t.Errorf("the server saw %+v, %v", who, err)
			}
			by := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL()}
			by.mcp(upstream.StreamablePath, "a-token-that-nobody-has-issued").wantRefused(t, "a token of nobody")
			token := client.Token().AccessToken
			by.mcp(upstream.StatelessPath, token).wantRefused(t, "a token of another resource")

			// An edge that has forgotten what it knew learns that the token was ended.
			w.idp.EndTokens(idp.Alice)
			w.edge.Restart()
			by.mcp(upstream.StreamablePath, token).wantRefused(t, "an ended token")

			if err := w.idp.Stop(); err != nil {
				t.Fatal(err)
			}
			a := by.mcp(upstream.StreamablePath, "another-token-that-nobody-has-issued")
			if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || strings.Contains(string(a.Body), "refused") {
				t.Errorf("while the provider is down: status %d, body %s", a.Status, a.Body)
			}
			if err := w.idp.Start(); err != nil {
				t.Fatal(err)
			}
			edge.Eventually(t, "the provider is asked again", 10*time.Second, func() bool {
				return by.mcp(upstream.StreamablePath, "another-token-that-nobody-has-issued").Status == http.StatusUnauthorized
			})
		})
	}
}
