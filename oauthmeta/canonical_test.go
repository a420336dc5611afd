package oauthmeta

import (
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for _, tc := range []struct{ name, uri, want string }{
		{"already canonical", "https://mcp.example.com/mcp", "https://mcp.example.com/mcp"},
		{"an origin", "https://mcp.example.com", "https://mcp.example.com"},
		{"the slash that URL parsers add to an origin", "https://mcp.example.com/", "https://mcp.example.com"},
		{"a trailing slash after a path", "https://mcp.example.com/mcp/", "https://mcp.example.com/mcp"},
		{"several trailing slashes stay", "https://mcp.example.com/mcp//", "https://mcp.example.com/mcp//"},
		{"upper case in scheme and host", "HTTPS://MCP.Example.COM/mcp", "https://mcp.example.com/mcp"},
		{"upper case in the path stays", "https://mcp.example.com/MCP", "https://mcp.example.com/MCP"},
		{"the default port of https", "https://mcp.example.com:443/mcp", "https://mcp.example.com/mcp"},
		{"the default port of http", "http://localhost:80/mcp", "http://localhost/mcp"},
		{"the default port of the other scheme stays", "http://localhost:443", "http://localhost:443"},
		{"another port stays", "https://mcp.example.com:8443", "https://mcp.example.com:8443"},
		{"an empty port", "https://mcp.example.com:/mcp", "https://mcp.example.com/mcp"},
		{"a port with leading zeros", "https://mcp.example.com:00443", "https://mcp.example.com"},
		{"IPv6", "http://[::1]:3000/mcp", "http://[::1]:3000/mcp"},
		{"IPv6 without a port", "http://[::1]/", "http://[::1]"},
		{"IPv6 written out", "https://[2001:DB8:0:0:0:0:0:1]:443/", "https://[2001:db8::1]"},
		{"percent-encoding is kept", "https://a.example/%6dcp%2F", "https://a.example/%6dcp%2F"},
		{"dot segments are kept", "https://a.example/a/../b", "https://a.example/a/../b"},
		{"a host without a dot", "https://mcp:8443/x", "https://mcp:8443/x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Canonical(tc.uri)
			if err != nil || got != tc.want {
				t.Errorf("Canonical(%q) = %q, %v; want %q", tc.uri, got, err, tc.want)
			}
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, tc := range []struct{ name, uri string }{
		{"nothing", ""},
		{"a host alone", "mcp.example.com"},
		{"a path alone", "/mcp"},
		{"a scheme-relative reference", "//mcp.example.com/mcp"},
		{"a fragment", "https://mcp.example.com#fragment"},
		{"an empty fragment", "https://mcp.example.com/#"},
		{"a query", "https://mcp.example.com/mcp?tenant=1"},
		{"userinfo", "https://user@mcp.example.com/mcp"},
		{"userinfo that looks like the host", "https://mcp.example.com:443@evil.example/"},
		{"another scheme", "ftp://mcp.example.com"},
		{"a script", "javascript://mcp.example.com/%0aalert(1)"},
		{"no authority", "https:///mcp"},
		{"one slash", "https:/mcp.example.com"},
		{"a space", "https://mcp.example.com/a b"},
		{"a line break", "https://mcp.example.com/a\r\nX: y"},
		{"a NUL", "https://mcp.example.com/\x00"},
		{"a backslash", `https://mcp.example.com\evil`},
		{"a quote", `https://mcp.example.com/"`},
		{"non-ASCII in the host", "https://müller.example/"},
		{"non-ASCII in the path", "https://mcp.example.com/é"},
		{"broken percent-encoding", "https://mcp.example.com/%zz"},
		{"cut percent-encoding", "https://mcp.example.com/%2"},
		{"percent-encoding in the host", "https://mcp%2eexample.com/"},
		{"a port that is none", "https://mcp.example.com:http/"},
		{"a signed port", "https://mcp.example.com:+443/"},
		{"port zero", "https://mcp.example.com:0/"},
		{"a port too large", "https://mcp.example.com:65536/"},
		{"IPv6 without brackets", "https://::1/"},
		{"an IPv6 zone", "https://[fe80::1%25eth0]/"},
		{"IPv4 in brackets", "https://[127.0.0.1]/"},
		{"an open bracket", "https://[::1/"},
		{"a trailing dot", "https://mcp.example.com./"},
		{"an empty label", "https://mcp..example.com/"},
		{"a wildcard", "https://*.example.com/"},
		{"too much", "https://mcp.example.com/" + strings.Repeat("a", maxResource)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Canonical(tc.uri)
			if err == nil || got != "" {
				t.Fatalf("Canonical(%q) = %q, %v; want an error", tc.uri, got, err)
			}
			if tc.uri != "" && strings.Contains(err.Error(), tc.uri) {
				t.Errorf("error %q repeats the identifier", err)
			}
			if MetadataURL(tc.uri) != "" {
				t.Errorf("MetadataURL(%q) is not empty", tc.uri)
			}
			if SameResource(tc.uri, tc.uri) {
				t.Errorf("%q counts as a resource", tc.uri)
			}
		})
	}
}

func TestSameResource(t *testing.T) {
	for _, tc := range []struct {
		name, a, b string
		want       bool
	}{
		{"an origin with and without its slash", "https://a.example", "https://a.example/", true},
		{"case of the host and default port", "https://A.example:443/mcp", "https://a.example/mcp/", true},
		{"another path", "https://a.example/mcp", "https://a.example/mcp2", false},
		{"case of the path", "https://a.example/mcp", "https://a.example/MCP", false},
		{"a path below", "https://a.example/mcp", "https://a.example/mcp/admin", false},
		{"another scheme", "https://a.example", "http://a.example", false},
		{"another port", "https://a.example", "https://a.example:8443", false},
		{"a longer host", "https://a.example", "https://a.example.evil.example", false},
		{"two slashes for one", "https://a.example/mcp", "https://a.example/mcp//", false},
		{"percent-encoded letters", "https://a.example/mcp", "https://a.example/%6dcp", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := SameResource(tc.a, tc.b); got != tc.want {
				t.Errorf("SameResource(%q, %q) = %v", tc.a, tc.b, got)
			}
			if got := SameResource(tc.b, tc.a); got != tc.want {
				t.Errorf("SameResource(%q, %q) = %v", tc.b, tc.a, got)
			}
		})
	}
}

func TestMetadataURL(t *testing.T) {
	for _, tc := range []struct{ name, resource, want string }{
		{"an origin", "https://a.example", "https://a.example/.well-known/oauth-protected-resource"},
		{"an origin with a slash", "https://a.example/", "https://a.example/.well-known/oauth-protected-resource"},
		{"a path is inserted after", "https://a.example:8443/public/mcp", "https://a.example:8443/.well-known/oauth-protected-resource/public/mcp"},
		{"IPv6", "http://[::1]:3000/mcp", "http://[::1]:3000/.well-known/oauth-protected-resource/mcp"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := MetadataURL(tc.resource); got != tc.want {
				t.Errorf("MetadataURL(%q) = %q, want %q", tc.resource, got, tc.want)
			}
		})
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		"https://MCP.example.com:443/mcp/", "http://[::1]:3000//", "https://a.example//", "https://a:00443/%2F/",
		"https://[::ffff:1.2.3.4]/", "http://a:80@b/", "https://a.example/?#",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		once, err := Canonical(uri)
		if err != nil {
			return
		}
		twice, err := Canonical(once)
		if err != nil || twice != once {
			t.Fatalf("Canonical(%q) = %q, but Canonical of that is %q, %v", uri, once, twice, err)
		}
		if strings.ContainsAny(once, "#?@\\\" \r\n") {
			t.Fatalf("Canonical(%q) let %q through", uri, once)
		}
		// The document that a client finds at the metadata URL must be about the same resource.
		metadata := MetadataURL(uri)
		origin, path, found := strings.Cut(metadata, protectedResourceSuffix)
		if !found || origin+path != once {
			t.Fatalf("MetadataURL(%q) = %q does not lead back to %q", uri, metadata, once)
		}
	})
}
