package mcpauth

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// fetch asks the handler for a document, as it is spelled in the address bar.
func fetch(t *testing.T, h *Handler, target string) (rec *httptest.ResponseRecorder, passed bool) {
	t.Helper()
	r, _ := request("GET", target, nil)
	rec = httptest.NewRecorder()
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		passed = true
		return nil
	})
	if err := h.ServeHTTP(rec, r, next); err != nil {
		var failed caddyhttp.HandlerError
		if !errors.As(err, &failed) {
			t.Fatal(err)
		}
		rec.Code = failed.StatusCode
	}
	return rec, passed
}

func TestMetadataAtEveryPosition(t *testing.T) {
	whole := newTestHandler(t)
	one := newTestHandler(t, &Resource{Paths: []string{"/mcp"}, Name: "Tools", Scopes: []string{"tools:read"}})
	parts := newTestHandler(t, &Resource{Paths: []string{"/github/*"}, Scopes: []string{"github:read"}}, &Resource{Paths: []string{"/linear"}})
	const (
		resource = "/.well-known/oauth-protected-resource"
		server   = "/.well-known/oauth-authorization-server"
		openID   = "/.well-known/openid-configuration"
		passedOn = "passed on"
		missing  = "404"
	)
	for _, tc := range []struct {
		name, path          string
		whole, one, several string // the resource or issuer told, below the issuer; missing, passedOn or "401"
	}{
		{"the root", resource, "", "/mcp", ""},
		{"the root with a slash", resource + "/", "", "/mcp", ""},
		{"below the issuer, inserted", resource + "/mcp", "/mcp", "/mcp", missing},
		{"below a resource, inserted", resource + "/github/v1", "/github/v1", missing, "/github/v1"},
		{"a resource, appended", "/github" + resource, "/github", passedOn, "/github"},
		{"another resource", resource + "/linear", "/linear", missing, "/linear"},
		{"no resource", resource + "/githubber", "/githubber", missing, missing},
		{"what needs an escape", resource + "/github/a%20b", "/github/a%20b", missing, "/github/a%20b"},
		{"what would end a string", resource + "/github/a%22b", "/github/a%22b", missing, "/github/a%22b"},
		{"what is not ASCII", resource + "/github/%C3%A9", "/github/%C3%A9", missing, "/github/%C3%A9"},
		{"what is no text", resource + "/github/%FF", "/github/%FF", missing, "/github/%FF"},
		{"a line break", resource + "/github/%0A", "/github/%0A", missing, "/github/%0A"},
		{"a dot segment", resource + "/github/../linear", missing, missing, missing},
		{"a doubled slash", resource + "//github", missing, missing, missing},
		{"the server at the root", server, "", "", ""},
		{"the server for a resource", server + "/github", "", missing, ""},
		{"the server appended", "/github" + server, "", passedOn, ""},
		{"the alias at the root", openID, "", "", ""},
		{"the alias inserted", openID + "/linear", "", missing, ""},
		{"the alias appended", "/linear" + openID, "", passedOn, ""},
		{"a probe", "/.well-known/oauth-client", missing, missing, missing},
		{"another probe", "/.well-known/openid-federation", missing, missing, missing},
		{"somebody else's document", "/.well-known/change-password", missing, passedOn, passedOn},
		{"somebody else's document within a resource", "/github/.well-known/change-password", missing, passedOn, missing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for mode, h := range map[string]*Handler{"whole site": whole, "one resource": one, "several": parts} {
				want := map[string]string{"whole site": tc.whole, "one resource": tc.one, "several": tc.several}[mode]
				rec, passed := fetch(t, h, testIssuer+tc.path)
				if passed != (want == passedOn) {
					t.Errorf("%s: passed on: %t", mode, passed)
				}
				if want == passedOn {
					continue
				}
				var document struct {
					Resource, Issuer string
					Servers          []string `json:"authorization_servers"`
					Error            string
				}
				if err := json.Unmarshal(rec.Body.Bytes(), &document); err != nil {
					t.Fatalf("%s: status %d with a body that is not JSON: %v", mode, rec.Code, err)
				}
				if want == missing {
					if rec.Code != 404 || document.Error == "" {
						t.Errorf("%s: status %d: %s", mode, rec.Code, rec.Body)
					}
					continue
				}
				told := document.Resource
				if told == "" {
					told = document.Issuer
				}
				if rec.Code != 200 || told != testIssuer+want {
					t.Errorf("%s: status %d, told %q, want %q", mode, rec.Code, told, testIssuer+want)
				}
				if document.Issuer == "" && (len(document.Servers) != 1 || document.Servers[0] != testIssuer) {
					t.Errorf("%s: authorization_servers %q", mode, document.Servers)
				}
			}
		})
	}
}

// A document must not depend on who asks: shared caches may keep it.
func TestMetadataDoesNotFollowTheRequest(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/mcp"}})
	for _, path := range []string{
		"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp",
		"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration",
	} {
		plain, _ := fetch(t, h, testIssuer+path)
		r, _ := request("GET", "https://evil.example"+path+"?issuer=https://evil.example", http.Header{
			"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Prefix": {"/evil"},
			"Forwarded": {"host=evil.example;proto=http"}, "X-Original-Url": {"/evil"}, "Origin": {"https://evil.example"},
		})
		rec := httptest.NewRecorder()
		if err := h.ServeHTTP(rec, r, nil); err != nil {
			t.Fatal(err)
		}
		if rec.Body.String() != plain.Body.String() || strings.Contains(rec.Body.String(), "evil") {
			t.Errorf("%s: %s", path, rec.Body)
		}
	}
}

func TestMetadataSaysWhatIsServed(t *testing.T) {
	h := newTestHandler(t, &Resource{Paths: []string{"/mcp"}, Name: "Tools", Scopes: []string{"tools:read"}})
	var document map[string]any
	rec, _ := fetch(t, h, testIssuer+"/.well-known/oauth-authorization-server")
	if err := json.Unmarshal(rec.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	for name, value := range document {
		if value == nil {
			t.Errorf("%s is null, which clients refuse", name)
		}
		endpoint, found := strings.CutSuffix(name, "_endpoint")
		if !found {
			continue
		}
		path, ours := strings.CutPrefix(value.(string), testIssuer)
		if !ours || h.fixed.auth.Endpoint(path) == nil {
			t.Errorf("there is no %s endpoint at %v", endpoint, value)
		}
	}
	if cache := rec.Header().Get("Cache-Control"); !strings.Contains(cache, "max-age=300") {
		t.Errorf("Cache-Control %q", cache)
	}
}

// RFC 8414, section 2: the algorithms must be published for every endpoint that takes signed assertions.
func TestMetadataNamesTheAlgorithmsOfAssertions(t *testing.T) {
	h := newTestHandler(t)
	var document map[string]any
	rec, _ := fetch(t, h, testIssuer+"/.well-known/oauth-authorization-server")
	if err := json.Unmarshal(rec.Body.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range []string{"token", "revocation", "introspection"} {
		methods, _ := document[endpoint+"_endpoint_auth_methods_supported"].([]any)
		algorithms, _ := document[endpoint+"_endpoint_auth_signing_alg_values_supported"].([]any)
		if !slices.Contains(methods, any("private_key_jwt")) || !slices.Contains(algorithms, any("ES256")) || slices.Contains(algorithms, any("none")) {
			t.Errorf("the %s endpoint takes %v, signed with %v", endpoint, methods, algorithms)
		}
	}
}
