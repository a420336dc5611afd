package mcpauth

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
)

const facadeBlock = "facade {\nclient_id edge\nclient_secret {env.FACADE_SECRET}\n}\n"

// newFacadeHandler has a facade before idp; more are further lines of the mcp_auth block.
func newFacadeHandler(t *testing.T, idp *testIDP, more string) *Handler {
	t.Helper()
	t.Setenv("FACADE_SECRET", "only-for-this-test")
	return newModeHandler(t, "issuer "+testIssuer+"\nauthorization_server "+idp.URL+" {\nrequired_scopes mcp:use\n"+facadeBlock+"}\nallow domain example.com\n"+more)
}

func document(t *testing.T, h *Handler, path string) map[string]any {
	t.Helper()
	r, _ := request("GET", testIssuer+path, nil)
	w := httptest.NewRecorder()
	if err := h.ServeHTTP(w, r, new(upstream)); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%s: status %d, %v", path, w.Code, err)
	}
	var document map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	return document
}

func TestTheMetadataOfAFacadeNameTheSite(t *testing.T) {
	h := newFacadeHandler(t, newTestIDP(t), "resource /github/*\nresource /linear {\nscopes linear:read\n}\n")
	for path, scope := range map[string]string{"/github": "mcp:use", "/linear": "linear:read"} {
		d := document(t, h, "/.well-known/oauth-protected-resource"+path)
		servers, _ := d["authorization_servers"].([]any)
		scopes, _ := d["scopes_supported"].([]any)
		if len(servers) != 1 || servers[0] != testIssuer || len(scopes) != 1 || scopes[0] != scope {
			t.Errorf("%s: %v", path, d)
		}
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		d := document(t, h, path)
		if d["issuer"] != testIssuer || d["registration_endpoint"] != testIssuer+authserver.RegisterPath || d["introspection_endpoint"] != nil {
			t.Errorf("%s: %v", path, d)
		}
	}
}

func TestWhoseTokensAFacadeTakes(t *testing.T) {
	idp := newTestIDP(t)
	h := newFacadeHandler(t, idp, "resource /github/*\nresource /linear\n")
	if err := h.runtime.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	sealed := h.token(t, testIssuer+"/github", nil)
	good, ended := idp.token(t, nil), idp.token(t, map[string]any{"jti": "ended"})
	if err := h.runtime.revocations.Revoke(t.Context(), h.fixed.vault.TokenID(ended), time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, path, token string
		status            int
	}{
		{"one of the provider", "/github", good, 204},
		{"one for another resource", "/linear", good, 401},
		{"one that was ended here before its time", "/github", ended, 401},
		{"one of somebody who is not let in", "/github", idp.token(t, map[string]any{"email": "eve@evil.example"}), 403},
		{"one without the scope that is needed", "/github", idp.token(t, map[string]any{"scope": "profile"}), 403},
		{"one that was sealed here, from before it was a facade", "/github", sealed, 401},
		{"none", "/github", "", 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := bearer(tc.token)
			if tc.token == "" {
				header = nil
			}
			r, _ := request("POST", testIssuer+tc.path, header)
			status, _, got := serve(t, h, r)
			if status != tc.status || (got != nil) != (tc.status == 204) {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			if got != nil && got.Header.Get("Authorization") != "" {
				t.Error("the token went on to the upstream")
			}
		})
	}
	t.Run("one that is ended at one tenant, at another", func(t *testing.T) {
		other := newFacadeHandler(t, idp, "resource /github/*\n")
		other.runtime = h.runtime
		other.Issuer = "https://other.example.com"
		var err error
		if other.fixed, err = other.newSite(other.Issuer); err != nil {
			t.Fatal(err)
		}
		token := idp.token(t, map[string]any{"aud": []string{testIssuer + "/github", other.Issuer + "/github"}})
		if err := h.runtime.revocations.Revoke(t.Context(), h.fixed.vault.TokenID(token), time.Hour); err != nil {
			t.Fatal(err)
		}
		for h, want := range map[*Handler]int{h: 401, other: 204} {
			r, _ := request("POST", h.Issuer+"/github", bearer(token))
			if status, _, _ := serve(t, h, r); status != want {
				t.Errorf("%s: status %d, want %d", h.Issuer, status, want)
			}
		}
	})
}

// A callback carries the provider's code, and a request of a client may end in a redirect with ours.
func TestTheCallbackOfAFacadeIsNotLogged(t *testing.T) {
	h := newFacadeHandler(t, newTestIDP(t), "")
	r, _ := request("GET", testIssuer+authserver.CallbackPath+"?code=secret&state=x", nil)
	status, _, _ := serve(t, h, r)
	if skipped, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool); status != http.StatusBadRequest || !skipped {
		t.Errorf("status %d, left out of the log: %t", status, skipped)
	}
}

func TestValidateFacade(t *testing.T) {
	t.Setenv("FACADE_SECRET", "only-for-this-test-0123456789abcdef")
	t.Setenv("API_SECRET", "only-for-this-test-0123456789abcdef")
	server := func(facade string) string {
		return "issuer https://mcp.example.com\nauthorization_server https://login.example.com {\n" + facade + "}\nallow any\n"
	}
	for _, tc := range []struct{ name, block, want string }{
		{"as in the examples", server(facadeBlock), ""},
		{"a public client", server("facade {\nclient_id edge\n}\n"), ""},
		{"with a callback of its own", server("facade {\nclient_id edge\nredirect_url https://mcp.example.com/oauth2/callback/company\n}\n"), ""},
		{"with resources and networks", server(facadeBlock) + "resource /a\nallow_network 10.0.0.0/8\n", ""},

		{"an audience of its own", server("audience api\n" + facadeBlock), ""},
		{"an audience of its own for one resource", server("audience api\n"+facadeBlock) + "resource /a\n", ""},

		{"one audience for several resources", server("audience api\n"+facadeBlock) + "resource /a\nresource /b\n", "a site of its own"},
		{"no audience for several resources", server("required_scopes mcp\nallow_missing_audience\n"+facadeBlock) + "resource /a\nresource /b\n", "a site of its own"},
		{"a secret whose variable is not set", server("facade {\nclient_id edge\nclient_secret {env.TEST_UNSET}\n}\n"), "env.TEST_UNSET"},
		{"an id whose variable is not set", server("facade {\nclient_id {env.TEST_UNSET}\n}\n"), "env.TEST_UNSET"},
		{"a callback elsewhere", server("facade {\nclient_id edge\nredirect_url https://other.example.com/oauth2/callback\n}\n"), "not on this site"},
		{"a callback without the site", strings.TrimPrefix(server("facade {\nclient_id edge\nredirect_url https://mcp.example.com/oauth2/callback\n}\n"), "issuer https://mcp.example.com\n"), `add "issuer`},
		{"without rules", strings.TrimSuffix(server(facadeBlock), "allow any\n"), "no allow rule"},
		{"beside a provider", server(facadeBlock) + "oidc https://idp.example.com {\nclient_id edge\n}\n", "keep one of the two"},
		{"with introspection here", server(facadeBlock) + "introspection_client api {\nsecret {env.API_SECRET}\n}\n", "let the MCP server ask there"},
		{"with clients in their own name", server(facadeBlock) + "client ci {\nsecret {env.API_SECRET}\ngrant_types client_credentials\nresource /\n}\n", "client_credentials"},
		{"with credentials of people", server(facadeBlock) + "resource /a {\ncredentials\n}\n", "sign in on this site"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := validate(t, ":8080 {\nmcp_auth {\n"+tc.block+"}\n}\n")
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestAFacadeIsInherited(t *testing.T) {
	h := newFacadeHandler(t, newTestIDP(t), "")
	inherits, replaces := new(Options), &Options{providers: newTestHandler(t).providers}
	inherits.inherit(&h.Options)
	replaces.inherit(&h.Options)
	if inherits.facade != h.facade || replaces.facade != nil || len(replaces.external) != 0 {
		t.Errorf("inherited %v, and beside providers %v", inherits.facade, replaces.facade)
	}
	if !slices.Equal(h.facade.required, []string{"mcp:use"}) {
		t.Errorf("required are %v", h.facade.required)
	}
}
