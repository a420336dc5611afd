package clients

import (
	"slices"
	"strings"
	"testing"
)

func TestRegistrableRedirects(t *testing.T) {
	for _, tc := range []struct {
		name, uri string
		want      RedirectKind
	}{
		{"https", "https://claude.ai/api/mcp/auth_callback", HTTPS},
		{"https with a port and a query", "https://a.example:8443/cb?tenant=1", HTTPS},
		{"https without a path", "https://a.example", HTTPS},
		{"https on an address with dots", "https://192.0.2.7/cb", HTTPS},
		{"localhost", "http://localhost/callback", Loopback},
		{"localhost with a port", "http://localhost:33418/callback", Loopback},
		{"IPv4 loopback", "http://127.0.0.1/", Loopback},
		{"IPv4 loopback without a path", "http://127.0.0.1:33418", Loopback},
		{"IPv6 loopback", "http://[::1]:7777/oauth/callback", Loopback},
		{"a known client's scheme", "cursor://anysphere.cursor-mcp/oauth/callback", PrivateScheme},
		{"a scheme with a hyphen", "vscode-insiders://publisher.extension/cb", PrivateScheme},
		{"a reverse domain name", "com.example.app:/oauth", PrivateScheme},
		{"a reverse domain name with an authority", "com.example.app://oauth/cb?x=1", PrivateScheme},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := parseRedirect(tc.uri, nil)
			if err != nil || u.kind != tc.want {
				t.Errorf("parseRedirect(%q) = %v, %v", tc.uri, u.kind, err)
			}
			// What was accepted once must be usable by the client that registered it.
			if c := (&Client{RedirectURIs: []string{tc.uri}}); !c.Redirect(tc.uri) {
				t.Errorf("%q cannot be used", tc.uri)
			}
		})
	}
}

func TestRefusedRedirects(t *testing.T) {
	for _, tc := range []struct{ name, uri string }{
		{"nothing", ""},
		{"a path", "/callback"},
		{"a scheme-relative reference", "//a.example/cb"},
		{"script", "javascript:alert(1)"},
		{"script with an authority", "javascript://a.example/%0aalert(1)"},
		{"script in other case", "JavaScript:alert(1)"},
		{"script behind a tab", "java\tscript:alert(1)"},
		{"script behind a space", " javascript:alert(1)"},
		{"data", "data:text/html,x"},
		{"vbscript", "vbscript:/x"},
		{"a file", "file:///etc/passwd"},
		{"a blob", "blob:https://a.example/x"},
		{"about", "about:blank"},
		{"view-source", "view-source:https://a.example/"},
		{"an Android intent", "intent://x/#Intent;end"},
		{"a scheme nobody knows", "myapp://cb"},
		{"a scheme with an empty label", "com..example:/cb"},
		{"a scheme that ends in a dot", "javascript.:/alert"},
		{"a private scheme without a path", "com.example.app:cb"},
		{"a private scheme alone", "cursor:"},
		{"a private scheme and a slash", "cursor:/"},
		{"a private scheme with userinfo", "cursor://a@b/cb"},
		{"http elsewhere", "http://a.example/cb"},
		{"http on a name that starts like loopback", "http://localhost.evil.example/cb"},
		{"http on an address that starts like loopback", "http://127.0.0.1.evil.example/"},
		{"http on another loopback address", "http://127.0.0.2/cb"},
		{"http on a number", "http://2130706433/cb"},
		{"http on every address", "http://0.0.0.0/cb"},
		{"http on loopback with a trailing dot", "http://localhost./cb"},
		{"http on loopback in upper case", "http://LOCALHOST/cb"},
		{"http with userinfo that looks like loopback", "http://localhost@evil.example/cb"},
		{"http with userinfo and a port", "http://localhost:80@evil.example/cb"},
		{"http with a backslash", `http://localhost\@evil.example/cb`},
		{"https without a dot", "https://intranet/cb"},
		{"https with one slash", "https:/a.example/cb"},
		{"https without a host", "https:///cb"},
		{"https with userinfo", "https://a.example@evil.example/cb"},
		{"https with a wildcard host", "https://*.a.example/cb"},
		{"https with a wildcard path", "https://a.example/*"},
		{"https with a fragment", "https://a.example/cb#x"},
		{"https with an empty fragment", "https://a.example/cb#"},
		{"a code of its own", "https://a.example/cb?code=mine"},
		{"an encoded state of its own", "https://a.example/cb?x=1&%73tate=y"},
		{"an issuer of its own", "cursor://a/cb?iss=https://evil.example"},
		{"https with a trailing dot", "https://a.example./cb"},
		{"https with an empty label", "https://a..example/cb"},
		{"https with an encoded host", "https://a%2eexample/cb"},
		{"https with an address in disguise", "https://0x7f.1/cb"},
		{"https with a short address", "https://127.1/cb"},
		{"https with non-ASCII", "https://exämple.example/cb"},
		{"https with a line break", "https://a.example/cb\r\nSet-Cookie: x"},
		{"https with a NUL", "https://a.example/\x00"},
		{"https with a quote", `https://a.example/"><script>`},
		{"https with broken encoding", "https://a.example/%zz"},
		{"https with an empty port", "https://a.example:/cb"},
		{"https with port zero", "https://a.example:0/cb"},
		{"https with a port too large", "https://a.example:65536/cb"},
		{"https with a port with zeros", "https://a.example:0443/cb"},
		{"https in upper case", "HTTPS://a.example/cb"},
		{"too long", "https://a.example/" + strings.Repeat("a", maxRedirectURI)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if u, err := parseRedirect(tc.uri, clientSchemes); err == nil {
				t.Errorf("parseRedirect(%q) = %+v", tc.uri, u)
			} else if tc.uri != "" && strings.Contains(err.Error(), tc.uri) {
				t.Errorf("%q repeats the URI", err)
			}
			// A client that was registered before a rule existed must not be sent there either.
			if c := (&Client{RedirectURIs: []string{tc.uri}}); c.Redirect(tc.uri) {
				t.Errorf("%q can be used", tc.uri)
			}
		})
	}
}

func TestRedirectMatching(t *testing.T) {
	for _, tc := range []struct {
		name, registered, presented string
		want                        bool
	}{
		{"the same", "https://a.example/cb", "https://a.example/cb", true},
		{"a port on loopback that had none", "http://localhost/callback", "http://localhost:33418/callback", true},
		{"another port on loopback", "http://127.0.0.1:33418/", "http://127.0.0.1:5000/", true},
		{"no port on loopback that had one", "http://127.0.0.1:33418/", "http://127.0.0.1/", true},
		{"another port on IPv6 loopback", "http://[::1]/cb", "http://[::1]:5000/cb", true},
		{"another port with the same query", "http://localhost/cb?a=1", "http://localhost:1/cb?a=1", true},
		{"another loopback host", "http://localhost/cb", "http://127.0.0.1/cb", false},
		{"another path on loopback", "http://localhost/cb", "http://localhost:5000/cb2", false},
		{"a longer path on loopback", "http://localhost/cb", "http://localhost:5000/cb/evil", false},
		{"a slash more on loopback", "http://localhost/cb", "http://localhost:5000/cb/", false},
		{"no path on loopback", "http://127.0.0.1/", "http://127.0.0.1:33418", false},
		{"a query on loopback", "http://localhost/cb", "http://localhost:5000/cb?x=1", false},
		{"another query on loopback", "http://localhost/cb?a=1", "http://localhost:5000/cb?a=2", false},
		{"dot segments on loopback", "http://localhost/cb", "http://localhost:5000/x/../cb", false},
		{"percent-encoding on loopback", "http://localhost/cb", "http://localhost:5000/%63b", false},
		{"https on loopback", "http://localhost/cb", "https://localhost/cb", false},
		{"https on a loopback address", "http://127.0.0.1/cb", "https://127.0.0.1/cb", false},
		{"userinfo on loopback", "http://localhost/cb", "http://localhost:1@evil.example/cb", false},
		{"a host behind loopback", "http://localhost/cb", "http://localhost.evil.example/cb", false},
		{"a bad port on loopback", "http://localhost/cb", "http://localhost:99999/cb", false},
		{"a port elsewhere", "https://a.example/cb", "https://a.example:8443/cb", false},
		{"the default port written out", "https://a.example/cb", "https://a.example:443/cb", false},
		{"case of the host", "https://a.example/cb", "https://A.example/cb", false},
		{"case of the path", "https://a.example/cb", "https://a.example/CB", false},
		{"a path below", "https://a.example/cb", "https://a.example/cb/x", false},
		{"a parameter more", "https://a.example/cb", "https://a.example/cb?x=1", false},
		{"userinfo that looks like the host", "https://a.example/cb", "https://a.example@evil.example/cb", false},
		{"a host below", "https://a.example/cb", "https://x.a.example/cb", false},
		{"a fragment", "https://a.example/cb", "https://a.example/cb#", false},
		{"the host of a private scheme", "cursor://a/cb", "cursor://b/cb", false},
		{"a port of a private scheme", "cursor://a/cb", "cursor://a:1/cb", false},
		{"nothing", "https://a.example/cb", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &Client{RedirectURIs: []string{"https://other.example/", tc.registered}}
			if got := c.Redirect(tc.presented); got != tc.want {
				t.Errorf("registered %q, presented %q: %v", tc.registered, tc.presented, got)
			}
		})
	}
}

func TestConfiguredSchemes(t *testing.T) {
	allowed := newSchemes([]string{"myapp", "javascript"})
	if _, err := parseRedirect("myapp://cb", allowed); err != nil {
		t.Errorf("a configured scheme is refused: %v", err)
	}
	if _, err := parseRedirect("javascript://cb/", allowed); err == nil {
		t.Error("a configuration can allow javascript")
	}
	for scheme, ok := range map[string]bool{"myapp": true, "com.example": true, "javascript": false, "http": false, "": false, "my app": false, "myapp:": false, "1app": false, "MyApp": false} {
		if err := CheckScheme(scheme); (err == nil) != ok {
			t.Errorf("CheckScheme(%q) = %v", scheme, err)
		}
	}
}

func TestRedirectHost(t *testing.T) {
	for _, tc := range []struct {
		uri, host string
		kind      RedirectKind
	}{
		{"https://Claude.ai/api/cb?x=1", "claude.ai", HTTPS},
		{"https://a.example:8443/cb", "a.example:8443", HTTPS},
		{"https://a.example?x=/y", "a.example", HTTPS},
		{"http://localhost:33418/cb", "localhost:33418", Loopback},
		{"http://[::1]:7777/cb", "[::1]:7777", Loopback},
		{"cursor://anysphere.cursor-mcp/oauth/callback", "cursor://anysphere.cursor-mcp", PrivateScheme},
		{"com.example.app:/oauth", "com.example.app:", PrivateScheme},
		{"myapp://configured/cb", "myapp://configured", PrivateScheme},
		{"javascript:alert(1)", "", RedirectRefused},
		{"https://a.example@evil.example/", "", RedirectRefused},
		{"", "", RedirectRefused},
	} {
		t.Run(tc.uri, func(t *testing.T) {
			if host, kind := RedirectHost(tc.uri); host != tc.host || kind != tc.kind {
				t.Errorf("RedirectHost(%q) = %q, %v", tc.uri, host, kind)
			}
		})
	}
}

func FuzzRedirectMatching(f *testing.F) {
	f.Add("http://localhost/cb", "http://localhost:33418/cb")
	f.Add("http://[::1]:1/?a", "http://[::1]/?a")
	f.Add("http://localhost/", "http://localhost:80@evil.example/")
	f.Add("javascript:1", "javascript:1")
	f.Add("https://a.b/cb", "https://a.b:443/cb")
	f.Fuzz(func(t *testing.T, registered, presented string) {
		if !(&Client{RedirectURIs: []string{registered}}).Redirect(presented) {
			return
		}
		u, err := parseRedirect(presented, nil)
		if err != nil {
			t.Fatalf("%q is accepted against the rules: %v", presented, err)
		}
		scheme, _, _ := strings.Cut(presented, ":")
		if slices.Contains(refusedSchemes, scheme) && u.kind == PrivateScheme {
			t.Fatalf("the scheme of %q is accepted", presented)
		}
		if registered == presented {
			return
		}
		// What differs may be the port on loopback, nothing else: put the presented port into the
		// registered text, and both must be the same bytes.
		for _, host := range []string{"localhost", "127.0.0.1", "[::1]"} {
			a, okA := withoutPort(registered, host)
			b, okB := withoutPort(presented, host)
			if okA && okB && a == b {
				return
			}
		}
		t.Fatalf("%q matches %q", presented, registered)
	})
}

// withoutPort removes the port of an http URI on host without the parser under test.
func withoutPort(uri, host string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, "http://"+host)
	if !ok {
		return "", false
	}
	if after, ok := strings.CutPrefix(rest, ":"); ok {
		rest = strings.TrimLeft(after, "0123456789")
	}
	return rest, rest == "" || rest[0] == '/' || rest[0] == '?'
}
