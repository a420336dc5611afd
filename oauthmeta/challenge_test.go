package oauthmeta

import (
	"regexp"
	"strings"
	"testing"
)

func TestChallenge(t *testing.T) {
	const metadata = "https://a.example/.well-known/oauth-protected-resource/mcp"
	for _, tc := range []struct {
		name string
		c    Challenge
		want string
	}{
		{"no token", Challenge{ResourceMetadata: metadata, Scope: "files:read"},
			`Bearer resource_metadata="` + metadata + `", scope="files:read"`},
		{"all parameters in order", Challenge{ResourceMetadata: metadata, Scope: "a b", Error: "insufficient_scope", ErrorDescription: "more scopes are needed"},
			`Bearer error="insufficient_scope", error_description="more scopes are needed", resource_metadata="` + metadata + `", scope="a b"`},
		{"nothing to say still has a parameter", Challenge{}, `Bearer realm="mcp"`},
		{"a scope that would end its quotes", Challenge{Scope: `a" , error="x b`}, `Bearer scope=", b"`},
		{"a scope with a line break", Challenge{Scope: "a\r\nSet-Cookie:x b"}, `Bearer scope="b"`},
		{"a scope with a backslash", Challenge{Scope: `a\ b`}, `Bearer scope="b"`},
		{"only broken scopes", Challenge{Scope: "\" \x00"}, `Bearer realm="mcp"`},
		{"scopes with spaces around", Challenge{Scope: "  a   b "}, `Bearer scope="a b"`},
		{"a resource that would end its quotes", Challenge{ResourceMetadata: `https://a.example/", scope="admin`, Scope: "a"}, `Bearer scope="a"`},
		{"a resource with a line break", Challenge{ResourceMetadata: "https://a.example/\n", Scope: "a"}, `Bearer scope="a"`},
		{"a resource with a space", Challenge{ResourceMetadata: "https://a.example/ x", Scope: "a"}, `Bearer scope="a"`},
		{"a description with quotes and umlauts", Challenge{ErrorDescription: "the \"tökén\"\r\n is bad"}, `Bearer error_description="the tkn is bad"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.c.String(); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// A challenge is a scheme and quoted parameters without quotes, backslashes or controls inside.
var challengeGrammar = regexp.MustCompile(`^Bearer [a-z_]+="[ !#-\[\]-~]*"(, [a-z_]+="[ !#-\[\]-~]*")*$`)

func FuzzChallenge(f *testing.F) {
	f.Add("https://a.example/x", "a b", "invalid_token", "the token is bad")
	f.Add(`x"`, `a" b\`, "e\r\n", "\xff\x00\"")
	f.Fuzz(func(t *testing.T, metadata, scope, code, description string) {
		got := Challenge{ResourceMetadata: metadata, Scope: scope, Error: code, ErrorDescription: description}.String()
		if !challengeGrammar.MatchString(got) {
			t.Fatalf("not a challenge: %q", got)
		}
		for _, name := range []string{"error", "error_description", "resource_metadata", "scope"} {
			if strings.Count(got, " "+name+`="`) > 1 {
				t.Fatalf("%s twice in %q", name, got)
			}
		}
	})
}
