package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// oauth4webapi checks every answer against the specifications and throws at the first that deviates.
func TestAStrictOAuthLibraryFindsNothingWrong(t *testing.T) {
	t.Parallel()
	npmPackages(t)
	w := newWorld(t)
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		t.Run(method, func(t *testing.T) {
			w := *w
			w.t = t
			type call struct {
				Status    int
				Challenge *struct {
					Scheme     string
					Parameters map[string]string
				}
			}
			var got struct {
				Issuer, Resource, Method, Scope, MixUp, WrongVerifier, AfterRevocation, Introspection, PushedRequests string

				Introspected map[string]any
				Rotated      bool
				Calls        []call
			}
			w.nodeClient(newPerson(idp.Alice), "oauth.mjs", map[string]any{
				"url": w.url(upstream.StreamablePath), "redirectURI": mcpclient.RedirectURI, "method": method,
			}, &got)
			for _, text := range []struct{ what, got, want string }{
				{"the issuer", got.Issuer, w.edge.URL()},
				{"the resource", got.Resource, w.url(upstream.StreamablePath)},
				{"the registered method", got.Method, method},
				{"the scope", got.Scope, "tools:read tools:write"},
				{"the error of a wrong verifier", got.WrongVerifier, "invalid_grant"},
				{"the error of a revoked refresh token", got.AfterRevocation, "invalid_grant"},
				{"the endpoint of pushed requests, which are not supported,", got.PushedRequests, ""},
			} {
				if text.got != text.want {
					t.Errorf("%s is %q, want %q", text.what, text.got, text.want)
				}
			}
			if !strings.Contains(got.MixUp, `"iss"`) {
				t.Errorf("an answer of another issuer was rejected with: %s", got.MixUp)
			}
			if !got.Rotated {
				t.Error("the refresh token was not rotated")
			}
			if got.Introspection != "" && method != "none" && got.Introspected["active"] != true {
				t.Errorf("introspection of a valid token answered %v", got.Introspected)
			}
			if len(got.Calls) != 3 || got.Calls[0].Status != http.StatusOK || got.Calls[1].Status != http.StatusOK {
				t.Fatalf("the calls were answered with %+v", got.Calls)
			}
			revoked := got.Calls[2]
			if revoked.Status != http.StatusUnauthorized || revoked.Challenge == nil || revoked.Challenge.Scheme != "bearer" ||
				revoked.Challenge.Parameters["error"] != "invalid_token" ||
				revoked.Challenge.Parameters["resource_metadata"] != w.edge.URL()+"/.well-known/oauth-protected-resource"+upstream.StreamablePath {
				t.Errorf("after the revocation: %+v", revoked)
			}
		})
	}
}
