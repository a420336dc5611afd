package oauthmeta

import (
	"strings"
	"testing"
)

func TestWellKnownPositions(t *testing.T) {
	for name, doc := range map[string]Document{
		"oauth-protected-resource":   ProtectedResourceDocument,
		"oauth-authorization-server": AuthorizationServerDocument,
		"openid-configuration":       OpenIDDocument,
	} {
		for _, tc := range []struct{ position, path, base string }{
			{"root", "/.well-known/" + name, ""},
			{"root with a slash", "/.well-known/" + name + "/", ""},
			{"inserted", "/.well-known/" + name + "/github", "/github"},
			{"inserted with a slash", "/.well-known/" + name + "/github/", "/github"},
			{"inserted, two segments", "/.well-known/" + name + "/public/mcp", "/public/mcp"},
			{"appended", "/github/.well-known/" + name, "/github"},
			{"appended with a slash", "/github/.well-known/" + name + "/", "/github"},
			{"appended, two segments", "/public/mcp/.well-known/" + name, "/public/mcp"},
			{"appended to a look-alike", "/.well-knownx/.well-known/" + name, "/.well-knownx"},
		} {
			t.Run(name+" "+tc.position, func(t *testing.T) {
				gotDoc, base := WellKnown(tc.path)
				if gotDoc != doc || base != tc.base {
					t.Errorf("WellKnown(%q) = %v, %q; want %v, %q", tc.path, gotDoc, base, doc, tc.base)
				}
			})
		}
	}
}

func TestWellKnownOthers(t *testing.T) {
	for _, tc := range []struct {
		name, path string
		want       Document
	}{
		{"an ordinary path", "/mcp", NotWellKnown},
		{"the root", "/", NotWellKnown},
		{"nothing", "", NotWellKnown},
		{"a look-alike prefix", "/.well-known-x/oauth-protected-resource", NotWellKnown},
		{"a look-alike suffix", "/x.well-known/oauth-protected-resource", NotWellKnown},
		{"the segment without its dot", "/well-known/oauth-protected-resource", NotWellKnown},
		{"other case", "/.Well-Known/oauth-protected-resource", NotWellKnown},
		{"the bare segment", "/.well-known", OtherWellKnown},
		{"the bare segment with a slash", "/.well-known/", OtherWellKnown},
		{"somebody else's document", "/.well-known/change-password", OtherWellKnown},
		{"a longer name", "/.well-known/oauth-protected-resource2", OtherWellKnown},
		{"a name in other case", "/.well-known/OAuth-Protected-Resource", OtherWellKnown},
		{"both inserted and appended", "/a/.well-known/oauth-protected-resource/b", OtherWellKnown},
		{"nested", "/.well-known/oauth-protected-resource/.well-known/openid-configuration", OtherWellKnown},
		{"dot segments", "/.well-known/oauth-protected-resource/a/../b", OtherWellKnown},
		{"dot segments before", "/a/../.well-known/oauth-protected-resource", OtherWellKnown},
		{"an empty segment", "/.well-known/oauth-protected-resource//a", OtherWellKnown},
		{"two trailing slashes", "/.well-known/oauth-protected-resource//", OtherWellKnown},
		{"an empty segment before", "//.well-known/oauth-protected-resource", OtherWellKnown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, base := WellKnown(tc.path)
			if got != tc.want || base != "" {
				t.Errorf("WellKnown(%q) = %v, %q; want %v", tc.path, got, base, tc.want)
			}
		})
	}
}

func FuzzWellKnown(f *testing.F) {
	f.Add("/.well-known/oauth-protected-resource/public/mcp")
	f.Add("/github/.well-known/openid-configuration")
	f.Add("/.well-known//.well-known/oauth-protected-resource/")
	f.Fuzz(func(t *testing.T, path string) {
		doc, base := WellKnown(path)
		if doc == NotWellKnown {
			if strings.Contains(path+"/", "/.well-known/") {
				t.Fatalf("%q has a well-known segment", path)
			}
			return
		}
		if base != "" && (doc == OtherWellKnown || base[0] != '/' || strings.HasSuffix(base, "/") || strings.Contains(base, "//") || strings.Contains(base+"/", "/../")) {
			t.Fatalf("WellKnown(%q) = %v, %q", path, doc, base)
		}
	})
}
