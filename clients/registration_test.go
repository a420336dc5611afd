package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestRegisterEchoesTheRegistration(t *testing.T) {
	g := newRegistry(t, nil)
	for _, tc := range []struct {
		name, body string
		want       map[string]any
	}{
		{"a public client", `{
				"redirect_uris": ["cursor://anysphere.cursor-mcp/oauth/callback", "http://localhost:8787/callback", "https://www.cursor.example/agents/mcp/oauth/callback"],
				"client_name": "Cursor", "client_uri": "https://cursor.example", "grant_types": ["authorization_code", "refresh_token"],
				"response_types": ["code"], "token_endpoint_auth_method": "none", "application_type": "native"}`,
			map[string]any{
				"redirect_uris": []any{"cursor://anysphere.cursor-mcp/oauth/callback", "http://localhost:8787/callback", "https://www.cursor.example/agents/mcp/oauth/callback"},
				"client_name":   "Cursor", "client_uri": "https://cursor.example", "grant_types": []any{"authorization_code", "refresh_token"},
				"response_types": []any{"code"}, "token_endpoint_auth_method": "none",
			}},
		{"four redirect URIs, two of them hosted", `{
				"redirect_uris": ["https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"],
				"token_endpoint_auth_method": "none"}`,
			map[string]any{
				"redirect_uris": []any{"https://insiders.vscode.dev/redirect", "https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"},
				"grant_types":   []any{"authorization_code", "refresh_token"}, "response_types": []any{"code"}, "token_endpoint_auth_method": "none",
			}},
		{"members without a value are left out", `{"redirect_uris":["https://a.example/cb"],"client_name":null,"client_uri":null,"logo_uri":null,"contacts":null,"grant_types":null,"scope":null,"token_endpoint_auth_method":"none"}`,
			map[string]any{"redirect_uris": []any{"https://a.example/cb"}, "grant_types": []any{"authorization_code", "refresh_token"},
				"response_types": []any{"code"}, "token_endpoint_auth_method": "none"}},
		{"what does not exist here is dropped", `{"redirect_uris":["https://a.example/cb","https://a.example/cb"],"grant_types":["authorization_code","implicit","client_credentials"],
				"response_types":["code","token","id_token"],"token_endpoint_auth_method":"none","scope":"a b","contacts":["x@a.example"],"logo_uri":"https://a.example/l.png","unknown":{"deep":[1,{"x":null}]},
				"client_id":"chosen","client_secret":"chosen","client_uri":"javascript:alert(1)"}`,
			map[string]any{"redirect_uris": []any{"https://a.example/cb"}, "grant_types": []any{"authorization_code"},
				"response_types": []any{"code"}, "token_endpoint_auth_method": "none"}},
		{"grant types that do not exist at all count as none", `{"redirect_uris":["https://a.example/cb"],"grant_types":["implicit"],"token_endpoint_auth_method":"none"}`,
			map[string]any{"redirect_uris": []any{"https://a.example/cb"}, "grant_types": []any{"authorization_code", "refresh_token"},
				"response_types": []any{"code"}, "token_endpoint_auth_method": "none"}},
		{"a name is cleaned", `{"redirect_uris":["https://a.example/cb"],"client_name":" A\r\n\u202e B\u0000\u200b ","token_endpoint_auth_method":"none"}`,
			map[string]any{"redirect_uris": []any{"https://a.example/cb"}, "client_name": "A B", "grant_types": []any{"authorization_code", "refresh_token"},
				"response_types": []any{"code"}, "token_endpoint_auth_method": "none"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answer, _ := register(t, g, tc.body)
			got := members(t, answer)
			if id, _ := got["client_id"].(string); !strings.HasPrefix(id, "mcpid_") || len(id) >= maxClientID {
				t.Errorf("client_id %q", got["client_id"])
			}
			tc.want["client_id"], tc.want["client_id_issued_at"] = got["client_id"], float64(now.Unix())
			if a, b := fmt.Sprint(got), fmt.Sprint(tc.want); a != b {
				t.Errorf("got  %s\nwant %s", a, b)
			}
		})
	}
}

func members(t testing.TB, answer any) map[string]any {
	t.Helper()
	body, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRegisterGivesASecretOnlyToConfidentialClients(t *testing.T) {
	g := newRegistry(t, nil)
	for method, want := range map[string]string{
		`"token_endpoint_auth_method":"none",`:                "",
		`"token_endpoint_auth_method":"client_secret_basic",`: AuthSecretBasic,
		`"token_endpoint_auth_method":"client_secret_post",`:  AuthSecretPost,
		``: AuthSecretBasic, // RFC 7591, section 2: the default
	} {
		answer, _ := register(t, g, `{`+method+`"redirect_uris":["http://localhost/cb"]}`)
		m := members(t, answer)
		secret, _ := m["client_secret"].(string)
		expires, hasExpiry := m["client_secret_expires_at"]
		if (secret != "") != (want != "") || hasExpiry != (want != "") || hasExpiry && expires != float64(0) {
			t.Errorf("%s: %v", method, m)
		}
		if want != "" && (m["token_endpoint_auth_method"] != want || len(secret) < 32) {
			t.Errorf("%s: %v", method, m)
		}
	}
}

func TestRegisterRefuses(t *testing.T) {
	g := newRegistry(t, nil)
	const redirect, meta = "invalid_redirect_uri", "invalid_client_metadata"
	long := `"https://a.example/` + strings.Repeat("a", 800) + `"`
	for _, tc := range []struct{ name, body, code, says string }{
		{"nothing", ``, meta, "JSON"},
		{"no JSON", `redirect_uris=x`, meta, "JSON"},
		{"an array", `[]`, meta, "object"},
		{"null", `null`, meta, "object"},
		{"a string", `"x"`, meta, "object"},
		{"something after it", `{"redirect_uris":["https://a.example/cb"]} {}`, meta, "after"},
		{"a cut body", `{"redirect_uris":["https://a.example/cb"]`, meta, "JSON"},
		{"a member twice", `{"redirect_uris":["https://a.example/cb"],"redirect_uris":["https://b.example/cb"]}`, meta, "twice"},
		{"a member twice, once escaped", `{"redirect_uris":["https://a.example/cb"],"redirect\u005furis":["https://b.example/cb"]}`, meta, "twice"},
		{"a member twice, further down", `{"redirect_uris":["https://a.example/cb"],"jwks":{"keys":[],"keys":[]}}`, meta, "twice"},
		{"deep nesting", `{"redirect_uris":["https://a.example/cb"],"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, meta, "deep"},
		{"invalid UTF-8", "{\"redirect_uris\":[\"https://a.example/cb\"],\"client_name\":\"\xff\"}", meta, "UTF-8"},
		{"too large", `{"redirect_uris":["https://a.example/cb"],"x":"` + strings.Repeat("x", maxRegistration) + `"}`, meta, "large"},
		{"no redirect URIs", `{"client_name":"A"}`, redirect, "missing"},
		{"redirect URIs in other case", `{"Redirect_URIs":["https://a.example/cb"]}`, redirect, "missing"},
		{"empty redirect URIs", `{"redirect_uris":[]}`, redirect, "missing"},
		{"redirect URIs that are null", `{"redirect_uris":null}`, redirect, "missing"},
		{"one redirect URI that is null", `{"redirect_uris":[null]}`, meta, "redirect_uris"},
		{"a redirect URI that is no list", `{"redirect_uris":"https://a.example/cb"}`, meta, "redirect_uris"},
		{"a redirect URI that is a number", `{"redirect_uris":[1]}`, meta, "redirect_uris"},
		{"one bad redirect URI among good ones", `{"redirect_uris":["https://a.example/cb","javascript:alert(1)"]}`, redirect, "redirect_uris[1]"},
		{"eleven redirect URIs", `{"redirect_uris":["https://a.example/cb"` + strings.Repeat(`,"https://a.example/cb"`, 10) + `]}`, redirect, "10"},
		{"a redirect URI too long", `{"redirect_uris":["https://a.example/` + strings.Repeat("a", 1100) + `"]}`, redirect, "longer"},
		{"an id that would be too long", `{"redirect_uris":[` + long + `]}`, meta, "shorter redirect_uris"},
		{"a name that is a number", `{"redirect_uris":["https://a.example/cb"],"client_name":1}`, meta, "client_name"},
		{"a name too long", `{"redirect_uris":["https://a.example/cb"],"client_name":"` + strings.Repeat("n", 200) + `"}`, meta, "client_name"},
		{"a home page that is a list", `{"redirect_uris":["https://a.example/cb"],"client_uri":[]}`, meta, "client_uri"},
		{"grant types that are a string", `{"redirect_uris":["https://a.example/cb"],"grant_types":"authorization_code"}`, meta, "grant_types"},
		{"response types that are a string", `{"redirect_uris":["https://a.example/cb"],"response_types":"code"}`, meta, "response_types"},
		{"an authentication method that is a list", `{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":["none"]}`, meta, "token_endpoint_auth_method"},
		{"an authentication method that does not exist here", `{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"tls_client_auth"}`, meta, "token_endpoint_auth_method"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			answer, c, err := g.Register([]byte(tc.body))
			var refused *MetadataError
			if !errors.As(err, &refused) || answer != nil || c != nil {
				t.Fatalf("%v, %v, %v", answer, c, err)
			}
			if refused.Code != tc.code || !strings.Contains(refused.Description, tc.says) {
				t.Errorf("%v; want %s with %q", refused, tc.code, tc.says)
			}
			if strings.Contains(refused.Description, "example") || strings.Contains(refused.Description, "alert") {
				t.Errorf("%q repeats what was sent", refused.Description)
			}
		})
	}
}

func TestRegisterSwitchedOff(t *testing.T) {
	g := newRegistry(t, func(c *Config) { c.DynamicRegistration = false })
	var refused *MetadataError
	if _, _, err := g.Register([]byte(`{"redirect_uris":["https://a.example/cb"]}`)); !errors.As(err, &refused) {
		t.Errorf("%v", err)
	}
}

// The home page is dropped before a registration is refused for its length.
// A client id holds its registration and does not end, so whoever registered in time would otherwise stay.
func TestListingHostsCountsForThoseWhoRegisteredBefore(t *testing.T) {
	open := newRegistry(t, nil)
	listed := newRegistry(t, func(c *Config) { c.RegistrationHosts = []string{"good.example", "localhost"} })
	for _, tc := range []struct {
		name, body string
		known      bool
	}{
		{"at a listed host", `{"redirect_uris":["https://good.example/cb"]}`, true},
		{"on loopback", `{"redirect_uris":["http://127.0.0.1/cb"]}`, true},
		{"at another host", `{"redirect_uris":["https://evil.example/cb"]}`, false},
		{"at another host beside a listed one", `{"redirect_uris":["https://good.example/cb","https://evil.example/cb"]}`, false},
		{"in an app", `{"redirect_uris":["cursor://callback/x"]}`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, client := register(t, open, tc.body)
			_, err := listed.Lookup(t.Context(), client.ID)
			if (err == nil) != tc.known || err != nil && !errors.Is(err, ErrUnknown) {
				t.Errorf("%v; known: want %v", err, tc.known)
			}
		})
	}
	_, device := register(t, open, `{"redirect_uris":["https://good.example/cb"],"grant_types":["authorization_code","`+GrantDeviceCode+`"]}`)
	if again, err := listed.Lookup(t.Context(), device.ID); err != nil || again.May(GrantDeviceCode) || !again.May(GrantCode) {
		t.Errorf("a client of the device grant: %+v, %v", again, err)
	}
}

func TestRegisterDropsTheHomePageFirst(t *testing.T) {
	g := newRegistry(t, nil)
	answer, c := register(t, g, `{"redirect_uris":["https://a.example/`+strings.Repeat("a", 550)+`"],"client_uri":"https://a.example/`+strings.Repeat("u", 200)+`"}`)
	if answer.ClientURI != "" || c.URI != "" {
		t.Errorf("the home page was kept: %q", answer.ClientURI)
	}
	if len(answer.ClientID) >= maxClientID {
		t.Errorf("the id has %d characters", len(answer.ClientID))
	}
}

func TestRegistrationLimitedToHosts(t *testing.T) {
	listed := []string{"a.example", "*.b.example", "localhost", "cursor:"}
	limited := newRegistry(t, func(c *Config) { c.RegistrationHosts = listed })
	for uris, accepted := range map[string]bool{
		`"https://a.example/cb"`:                           true,
		`"https://A.example/cb"`:                           true,
		`"https://x.b.example/cb"`:                         true,
		`"http://127.0.0.1/cb","http://[::1]/cb"`:          true,
		`"cursor://anysphere.cursor-mcp/cb"`:               true,
		`"https://b.example/cb"`:                           false,
		`"https://xb.example/cb"`:                          false,
		`"https://a.example.evil.example/cb"`:              false,
		`"https://evil.example/a.example"`:                 false,
		`"vscode://x/cb"`:                                  false,
		`"https://a.example/cb","https://evil.example/cb"`: false,
		`"https://localhost.evil.example/cb"`:              false,
		`"https://a.example:8443/cb"`:                      true,
	} {
		body := []byte(`{"redirect_uris":[` + uris + `]}`)
		_, _, err := limited.Register(body)
		var refused *MetadataError
		if (err == nil) != accepted || err != nil && (!errors.As(err, &refused) || refused.Code != "invalid_redirect_uri") {
			t.Errorf("%s: %v", uris, err)
		}
		// Whoever registered before the limit was set is judged by it as well.
		before, _ := register(t, newRegistry(t, nil), string(body))
		if c, err := limited.Lookup(context.Background(), before.ClientID); (err == nil) != accepted || err != nil && !errors.Is(err, ErrUnknown) {
			t.Errorf("%s, registered before: %+v, %v", uris, c, err)
		}
	}
	device, _ := register(t, newRegistry(t, nil), `{"grant_types":["authorization_code","`+GrantDeviceCode+`"],"redirect_uris":["https://a.example/cb"]}`)
	if c, err := limited.Lookup(context.Background(), device.ClientID); err != nil || c.May(GrantDeviceCode) {
		t.Errorf("may be answered at a device: %+v, %v", c, err)
	}
}

func TestCheckRegistrationHosts(t *testing.T) {
	for host, ok := range map[string]bool{
		"a.example": true, "*.a.example": true, "localhost": true, "cursor:": true, "com.example.app:": true, "192.0.2.1": true,
		"https://a.example": false, "a.example/cb": false, "A.example": false, "a.example:443": false, "": false, "*": false,
		"127.0.0.1": false, "[::1]": false, "*.localhost": false, "javascript:": false, "cursor": false, "cursor://": false,
	} {
		if err := CheckRegistrationHost(host); (err == nil) != ok {
			t.Errorf("%q: %v", host, err)
		}
	}
}

func TestRegistrationsAreDistinct(t *testing.T) {
	g := newRegistry(t, nil)
	a, _ := register(t, g, `{"redirect_uris":["https://a.example/cb"]}`)
	b, _ := register(t, g, `{"redirect_uris":["https://a.example/cb"]}`)
	if a.ClientID == b.ClientID || a.ClientSecret == b.ClientSecret {
		t.Error("two clients share an id or a secret")
	}
}

func FuzzRegister(f *testing.F) {
	for _, seed := range []string{
		`{"redirect_uris":["cursor://x/cb","http://localhost/cb"],"client_name":"A","token_endpoint_auth_method":"none"}`,
		`{"redirect_uris":["https://a.example/cb"],"grant_types":["refresh_token",null],"client_uri":"https://a.example"}`,
		`{"redirect_uris":["https://a.example/cb"],"x":[[[[[[[[[]]]]]]]]],"redirect_uris":null}`,
		"{\"redirect_uris\":[\"https://a.example/\\ud800\"]}",
	} {
		f.Add([]byte(seed))
	}
	g := newRegistry(f, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		answer, c, err := g.Register(body)
		if err != nil {
			var refused *MetadataError
			if !errors.As(err, &refused) {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		out, err := json.Marshal(answer)
		if err != nil || strings.Contains(string(out), ":null") {
			t.Fatalf("%v, %s", err, out)
		}
		again, err := g.Lookup(t.Context(), c.ID)
		if err != nil {
			t.Fatalf("registered, but %v", err)
		}
		for _, uri := range c.RedirectURIs {
			if !again.Redirect(uri) {
				t.Fatalf("registered %q, but it cannot be used", uri)
			}
		}
	})
}
