package clients

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const docURL = "https://app.example/oauth/client.json"

const sampleKey = `{"kty":"EC","crv":"P-256","kid":"1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`

func docBody(extra string) string {
	return `{"client_id":"` + docURL + `","client_name":"App","redirect_uris":["http://localhost/callback","https://app.example/cb"]` + extra + `}`
}

func TestParseDocument(t *testing.T) {
	for _, tc := range []struct {
		name, extra, method string
		may                 bool // go without an assertion
	}{
		{"nothing said is public", ``, AuthNone, true},
		{"public", `,"token_endpoint_auth_method":"none"`, AuthNone, true},
		{"with a key set elsewhere", `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://app.example/jwks.json"`, AuthPrivateKeyJWT, false},
		{"with keys", `,"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[` + sampleKey + `]}`, AuthPrivateKeyJWT, false},
		{"with a preference and an alternative", `,"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["none","private_key_jwt"],"jwks_uri":"https://app.example/jwks.json"`, AuthPrivateKeyJWT, true},
		{"with a preference that cannot be met and an alternative", `,"token_endpoint_auth_method":"tls_client_auth","token_endpoint_auth_methods_supported":["none"]`, AuthNone, true},
		{"with a preference without keys and an alternative", `,"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["none"]`, AuthNone, true},
		{"with a broken key set and an alternative", `,"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_methods_supported":["none"],"jwks_uri":"http://app.example/"`, AuthNone, true},
		{"public by preference, with keys", `,"token_endpoint_auth_method":"none","token_endpoint_auth_methods_supported":["none","private_key_jwt"],"jwks_uri":"https://app.example/jwks.json"`, AuthNone, true},
		{"members that are null", `,"client_secret":null,"logo_uri":null,"jwks":null`, AuthNone, true},
		{"a secret method among the alternatives", `,"token_endpoint_auth_methods_supported":["client_secret_basic","none"]`, AuthNone, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Documents{}.parse(docURL, []byte(docBody(tc.extra)), clientSchemes, true)
			if err != nil {
				t.Fatal(err)
			}
			if c.ID != docURL || c.Label() != docURL || c.VerifiedHost() != "app.example" || c.Name != "App" || c.Source != MetadataDocument ||
				!c.MayRefresh() || !c.Redirect("http://localhost:4711/callback") || !c.Redirect("https://app.example/cb") {
				t.Errorf("%+v", c)
			}
			if c.AuthMethod != tc.method || c.mayOmitAssertion != tc.may {
				t.Errorf("method %s, without an assertion %v", c.AuthMethod, c.mayOmitAssertion)
			}
		})
	}
}

func TestParseDocumentRefuses(t *testing.T) {
	for _, tc := range []struct{ name, body, says string }{
		{"nothing", ``, "JSON"},
		{"a page", `<!doctype html>`, "JSON"},
		{"a list", `[]`, "object"},
		{"a member twice", docBody(`,"client_id":"` + docURL + `"`), "twice"},
		{"no client_id", `{"client_name":"App","redirect_uris":["https://app.example/cb"]}`, "client_id"},
		{"another client's document", strings.Replace(docBody(``), "app.example/oauth", "other.example/oauth", 1), "client_id"},
		{"client_id in other case", strings.Replace(docBody(``), "https://app.example/oauth", "https://APP.example/oauth", 1), "client_id"},
		{"client_id with a slash more", strings.Replace(docBody(``), "client.json", "client.json/", 1), "client_id"},
		{"client_id that is a list", strings.Replace(docBody(``), `"`+docURL+`"`, `["`+docURL+`"]`, 1), "client_id"},
		{"no client_name", `{"client_id":"` + docURL + `","redirect_uris":["https://app.example/cb"]}`, "client_name"},
		{"an invisible client_name", `{"client_id":"` + docURL + `","client_name":" \u200b ","redirect_uris":["https://app.example/cb"]}`, "client_name"},
		{"no redirect_uris", `{"client_id":"` + docURL + `","client_name":"App"}`, "redirect_uris"},
		{"redirect_uris that is a string", `{"client_id":"` + docURL + `","client_name":"App","redirect_uris":"https://app.example/cb"}`, "redirect_uris"},
		{"too many redirect_uris", `{"client_id":"` + docURL + `","client_name":"App","redirect_uris":["http://localhost/"` + strings.Repeat(`,"http://localhost/"`, 60) + `]}`, "redirect_uris"},
		{"only foreign redirect_uris", `{"client_id":"` + docURL + `","client_name":"App","redirect_uris":["https://evil.example/cb","https://app.example:8443/cb","https://x.app.example/cb"]}`, "origin"},
		{"only dangerous redirect_uris", `{"client_id":"` + docURL + `","client_name":"App","redirect_uris":["javascript:alert(1)","data:text/html,x"]}`, "redirect_uris"},
		{"a secret", docBody(`,"client_secret":"x"`), "secret"},
		{"the expiry of a secret", docBody(`,"client_secret_expires_at":0`), "secret"},
		{"a method with a secret", docBody(`,"token_endpoint_auth_method":"client_secret_basic"`), "secret"},
		{"another method with a secret", docBody(`,"token_endpoint_auth_method":"client_secret_jwt","token_endpoint_auth_methods_supported":["none"]`), "secret"},
		{"a method that is unknown", docBody(`,"token_endpoint_auth_method":"tls_client_auth"`), "method"},
		{"a method that is a list", docBody(`,"token_endpoint_auth_method":["none"]`), "token_endpoint_auth_method"},
		{"a key method without keys", docBody(`,"token_endpoint_auth_method":"private_key_jwt"`), "method"},
		{"a key method with no usable key", docBody(`,"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[]}`), "method"},
		{"keys twice", docBody(`,"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[` + sampleKey + `]},"jwks_uri":"https://app.example/j"`), "exclude"},
		{"a private key", docBody(`,"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[` + strings.Replace(sampleKey, `"x"`, `"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI","x"`, 1) + `]}`), "secret key"},
		{"a symmetric key", docBody(`,"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`), "secret key"},
		{"keys over plain http", docBody(`,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"http://app.example/j"`), "jwks_uri"},
		{"keys at an address", docBody(`,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://169.254.169.254/j"`), "jwks_uri"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Documents{}.parse(docURL, []byte(tc.body), clientSchemes, true)
			if c != nil || !errors.Is(err, errRefused) {
				t.Fatalf("%+v, %v", c, err)
			}
			if !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "example") {
				t.Errorf("%v; want it to say %q, and nothing from the document", err, tc.says)
			}
		})
	}
}

func TestDocumentRedirectsAreFiltered(t *testing.T) {
	body := []byte(`{"client_id":"` + docURL + `","client_name":"App","redirect_uris":["https://other.example/cb","https://APP.example:443/cb","http://127.0.0.1/","javascript:alert(1)","unheard-of://x/y","cursor://x/y"]}`)
	for foreign, want := range map[bool][]string{
		false: {"https://APP.example:443/cb", "http://127.0.0.1/", "cursor://x/y"},
		true:  {"https://other.example/cb", "https://APP.example:443/cb", "http://127.0.0.1/", "cursor://x/y"},
	} {
		c, err := Documents{ForeignRedirects: foreign}.parse(docURL, body, clientSchemes, true)
		if err != nil || !slices.Equal(c.RedirectURIs, want) {
			t.Errorf("foreign %v: %+v, %v", foreign, c, err)
		}
	}
}

// Without a place to remember assertions, replays could not be refused, so keys are not used at all.
func TestDocumentWithoutSupportForAssertions(t *testing.T) {
	keys := `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://app.example/jwks.json"`
	if c, err := (Documents{}).parse(docURL, []byte(docBody(keys)), nil, false); err == nil {
		t.Errorf("accepted as %s", c.AuthMethod)
	}
	c, err := Documents{}.parse(docURL, []byte(docBody(keys+`,"token_endpoint_auth_methods_supported":["none"]`)), nil, false)
	if err != nil || c.AuthMethod != AuthNone || c.keys.usable() {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestDocumentURLs(t *testing.T) {
	for _, tc := range []struct {
		name, url string
		ok        bool
	}{
		{"a document", docURL, true},
		{"the root path", "https://app.example/", true},
		{"encoded characters", "https://app.example/a%20b", true},
		{"no path", "https://app.example", false},
		{"plain http", "http://app.example/c", false},
		{"https in capitals", "HTTPS://app.example/c", false},
		{"a host in capitals", "https://App.example/c", false},
		{"a fragment", docURL + "#x", false},
		{"a query", docURL + "?x=1", false},
		{"an empty query", docURL + "?", false},
		{"userinfo", "https://user@app.example/c", false},
		{"userinfo that looks like the host", "https://claude.ai@evil.example/c", false},
		{"a dot segment", "https://app.example/a/../c", false},
		{"a single dot segment", "https://app.example/./c", false},
		{"a dot segment at the end", "https://app.example/a/..", false},
		{"an encoded dot segment", "https://app.example/a/%2e%2E/c", false},
		{"a half encoded dot segment", "https://app.example/a/.%2e/c", false},
		{"a port", "https://app.example:8443/c", false},
		{"the usual port", "https://app.example:443/c", false},
		{"an address", "https://8.8.8.8/c", false},
		{"a private address", "https://10.0.0.1/c", false},
		{"an IPv6 address", "https://[2606:4700::1111]/c", false},
		{"localhost", "https://localhost/c", false},
		{"a host without a dot", "https://metadata/c", false},
		{"a trailing dot", "https://app.example./c", false},
		{"a number", "https://2130706433/c", false},
		{"an address in hexadecimal", "https://0x7f.0.0.1/c", false},
		{"a backslash", `https://app.example\@evil.example/c`, false},
		{"a line break", "https://app.example/c\n", false},
		{"non-ASCII", "https://äpp.example/c", false},
		{"too long", "https://app.example/" + strings.Repeat("c", maxDocumentURL), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if u, err := (Documents{}).parseURL(tc.url); (err == nil) != tc.ok {
				t.Errorf("parseURL(%q) = %+v, %v", tc.url, u, err)
			}
		})
	}
	if _, err := (Documents{AnyPort: true}).parseURL("https://app.example:8443/c"); err != nil {
		t.Errorf("another port, configured: %v", err)
	}
	if _, err := (Documents{AllowLoopback: true}).parseURL("https://127.0.0.1:8443/c"); err != nil {
		t.Errorf("loopback, configured: %v", err)
	}
	if _, err := (Documents{AllowLoopback: true, AnyPort: true}).parseURL("https://10.0.0.1/c"); err == nil {
		t.Error("the switch for loopback opens private addresses")
	}
}

func TestDocumentTrust(t *testing.T) {
	for _, tc := range []struct {
		name        string
		allow, deny []string
		host        string
		want        bool
	}{
		{"no policy", nil, nil, "a.example", true},
		{"allowed", []string{"a.example"}, nil, "a.example", true},
		{"not allowed", []string{"a.example"}, nil, "b.example", false},
		{"a longer host", []string{"a.example"}, nil, "a.example.evil.example", false},
		{"a host with a prefix", []string{"a.example"}, nil, "evila.example", false},
		{"below an allowed host", []string{"a.example"}, nil, "x.a.example", false},
		{"below a wildcard", []string{"*.a.example"}, nil, "x.a.example", true},
		{"two below a wildcard", []string{"*.a.example"}, nil, "y.x.a.example", true},
		{"the wildcard's own host", []string{"*.a.example"}, nil, "a.example", false},
		{"beside a wildcard", []string{"*.a.example"}, nil, "xa.example", false},
		{"denied", nil, []string{"a.example"}, "a.example", false},
		{"denied though allowed", []string{"*.a.example"}, []string{"x.a.example"}, "x.a.example", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := (Documents{AllowHosts: tc.allow, DenyHosts: tc.deny}).trusts(tc.host); got != tc.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestCheckDocuments(t *testing.T) {
	for _, tc := range []struct {
		name string
		d    Documents
		ok   bool
	}{
		{"nothing", Documents{}, true},
		{"hosts", Documents{AllowHosts: []string{"a.example", "*.b.example"}, DenyHosts: []string{"c.b.example"}}, true},
		{"a URL", Documents{AllowHosts: []string{"https://a.example"}}, false},
		{"a bare wildcard", Documents{AllowHosts: []string{"*"}}, false},
		{"a wildcard in between", Documents{AllowHosts: []string{"a.*.example"}}, false},
		{"a host in capitals", Documents{DenyHosts: []string{"A.example"}}, false},
		{"a pinned document", Documents{Pinned: map[string][]byte{docURL: []byte(docBody(``))}}, true},
		{"a pinned document of another URL", Documents{Pinned: map[string][]byte{docURL + "x": []byte(docBody(``))}}, false},
		{"a pinned file that is none", Documents{Pinned: map[string][]byte{docURL: []byte(`<html>`)}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.d.Check(); (err == nil) != tc.ok {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzParseDocument(f *testing.F) {
	for _, extra := range []string{
		``, `,"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[` + sampleKey + `]}`,
		`,"token_endpoint_auth_methods_supported":["none",null]`, `,"jwks":{"keys":[{"kty":"oct"}]},"client_uri":1`,
	} {
		f.Add([]byte(docBody(extra)))
	}
	f.Add([]byte(fmt.Sprintf(`{"client_id":%q,"client_name":"\u202e","redirect_uris":["https://app.example:443"]}`, docURL)))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := Documents{}.parse(docURL, body, clientSchemes, true)
		if err != nil {
			if c != nil || !errors.Is(err, errRefused) {
				t.Fatalf("%v, %v", c, err)
			}
			return
		}
		if c.ID != docURL || c.Name == "" || len(c.RedirectURIs) == 0 || c.AuthMethod != AuthNone && c.AuthMethod != AuthPrivateKeyJWT {
			t.Fatalf("%+v", c)
		}
		if c.AuthMethod == AuthPrivateKeyJWT && !c.keys.usable() {
			t.Fatalf("nobody could authenticate as %+v", c)
		}
		for _, uri := range c.RedirectURIs {
			host, kind := RedirectHost(uri)
			if !c.Redirect(uri) || kind == HTTPS && host != "app.example" && host != "app.example:443" {
				t.Fatalf("redirect URI %q", uri)
			}
		}
	})
}
