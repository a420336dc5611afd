package mcpauth

import (
	"strings"
	"testing"
)

func newTestResources(t *testing.T, configured ...*Resource) *resourceSet {
	t.Helper()
	set, err := newResourceSet(testIssuer, configured)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestFindResource(t *testing.T) {
	whole := newTestResources(t)
	parts := newTestResources(t, &Resource{Paths: []string{"/github/*"}}, &Resource{Paths: []string{"/linear/sse", "/linear/messages"}})
	for _, tc := range []struct{ name, indicator, whole, parts string }{
		{"the issuer", testIssuer, "", "none"},
		{"the issuer with a slash", testIssuer + "/", "", "none"},
		{"the issuer in capitals", "HTTPS://MCP.EXAMPLE.COM", "", "none"},
		{"the issuer with its port", testIssuer + ":443", "", "none"},
		{"a resource", testIssuer + "/github", "", "/github"},
		{"a resource with a slash", testIssuer + "/github/", "", "/github"},
		{"a place in a resource", testIssuer + "/github/mcp", "", "/github"},
		{"another path of a resource", testIssuer + "/linear/messages", "", "/linear/sse"},
		{"what lies around a resource", testIssuer + "/linear", "", "none"},
		{"a sibling with the same beginning", testIssuer + "/githubber", "", "none"},
		{"another port", testIssuer + ":8443/github", "none", "none"},
		{"plain http", "http://mcp.example.com/github", "none", "none"},
		{"a host that begins like ours", testIssuer + ".evil.example/github", "none", "none"},
		{"a host that ends like ours", "https://evil-mcp.example.com/github", "none", "none"},
		{"userinfo that looks like our host", "https://mcp.example.com@evil.example/github", "none", "none"},
		{"userinfo before our host", "https://evil@mcp.example.com/github", "none", "none"},
		{"a fragment", testIssuer + "/github#x", "none", "none"},
		{"a query", testIssuer + "/github?x", "none", "none"},
		{"a path alone", "/github", "none", "none"},
		{"nothing", "", "none", "none"},
		{"white space", " " + testIssuer + "/github", "none", "none"},
		{"not ASCII", testIssuer + "/gïthub", "none", "none"},
		{"endless", testIssuer + "/github/" + strings.Repeat("a", 1<<20), "none", "none"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, set := range map[string]*resourceSet{tc.whole: whole, tc.parts: parts} {
				want := testIssuer + name
				got := set.Find(tc.indicator)
				switch {
				case got == nil && name != "none":
					t.Errorf("found nothing, want %s", want)
				case got != nil && got.URI != want:
					t.Errorf("found %s, want %s", got.URI, want)
				}
			}
		})
	}
}

func TestDefaultResource(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  *resourceSet
		want string
	}{
		{"of a whole site", newTestResources(t), testIssuer},
		{"that is the only one", newTestResources(t, &Resource{Paths: []string{"/mcp"}}), testIssuer + "/mcp"},
		{"of several is a guess", newTestResources(t, &Resource{Paths: []string{"/a"}}, &Resource{Paths: []string{"/b"}}), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.set.Default()
			if got == nil && tc.want != "" || got != nil && got.URI != tc.want {
				t.Errorf("got %v, want %q", got, tc.want)
			}
			if all := tc.set.All(); len(all) != len(tc.set.all) {
				t.Errorf("%d resources listed of %d", len(all), len(tc.set.all))
			}
		})
	}
}

func TestResourcesThatCannotBe(t *testing.T) {
	for _, tc := range []struct {
		name      string
		resources []*Resource
		says      string
	}{
		{"without a path", []*Resource{{}}, "without a path"},
		{"the same twice", []*Resource{{Paths: []string{"/a"}}, {Paths: []string{"/a/*"}}}, "overlap"},
		{"the same in another case", []*Resource{{Paths: []string{"/a"}}, {Paths: []string{"/A"}}}, "overlap"},
		{"one in another", []*Resource{{Paths: []string{"/a"}}, {Paths: []string{"/a/b"}}}, "overlap"},
		{"one around another", []*Resource{{Paths: []string{"/a/b"}}, {Paths: []string{"/a"}}}, "overlap"},
		{"the whole site and a part", []*Resource{{Paths: []string{"/*"}}, {Paths: []string{"/a"}}}, "overlap"},
		{"a relative path", []*Resource{{Paths: []string{"a"}}}, `starts with "/"`},
		{"a URL", []*Resource{{Paths: []string{"https://mcp.example.com/a"}}}, `starts with "/"`},
		{"a wildcard within", []*Resource{{Paths: []string{"/a*"}}}, "plain segments"},
		{"a dot segment", []*Resource{{Paths: []string{"/a/../b"}}}, "plain segments"},
		{"an encoded character", []*Resource{{Paths: []string{"/a%62"}}}, "plain segments"},
		{"a well-known path", []*Resource{{Paths: []string{"/.well-known/a"}}}, "answers below"},
		{"a path of the endpoints", []*Resource{{Paths: []string{"/OAuth2/token"}}}, "answers below"},
		{"a scope with a blank", []*Resource{{Paths: []string{"/a"}, Scopes: []string{"a b"}}}, "not a scope"},
		{"a scope with a quote", []*Resource{{Paths: []string{"/a"}, Scopes: []string{`a"`}}}, "not a scope"},
		{"an empty scope", []*Resource{{Paths: []string{"/a"}, Scopes: []string{""}}}, "not a scope"},
		{"offline_access as a scope", []*Resource{{Paths: []string{"/a"}, Scopes: []string{"offline_access"}}}, "offline_access"},
		{"an empty allow-list", []*Resource{{Paths: []string{"/a"}, Allow: new(Allow)}}, "no allow rule"},
		{"everybody and somebody", []*Resource{{Paths: []string{"/a"}, Allow: &Allow{Any: true, Groups: []string{"g"}}}}, "allow any"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var err error
			for _, r := range tc.resources {
				if err = r.load(); err != nil {
					break
				}
			}
			if err == nil {
				_, err = newResourceSet(testIssuer, tc.resources)
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want it to say %q", err, tc.says)
			}
		})
	}
}
