package sseproxy

import (
	"net/url"
	"strings"
	"testing"
)

func TestHeaderValue(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"plain text", "Alice B. <a@b.example>", "Alice B. <a@b.example>"},
		{"another alphabet", "Zoë 界", "Zo%C3%AB %E7%95%8C"},
		{"a percent sign, so that decoding is safe", "100%41", "100%2541"},
		{"a line end", "a\nb", ""},
		{"a carriage return", "a\r", ""},
		{"NUL", "a\x00b", ""},
		{"other controls", "a\tb\x7f", "a%09b%7F"},
		{"blanks that a recipient would trim", " admin ", "%20admin%20"},
		{"broken UTF-8", "\xff", "%FF"},
		{"a placeholder is text", "{env.SECRET}", "{env.SECRET}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := HeaderValue(tc.in); got != tc.want {
				t.Errorf("HeaderValue(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func FuzzHeaderValue(f *testing.F) {
	f.Add("a b")
	f.Add(" é%\x7f")
	f.Fuzz(func(t *testing.T, s string) {
		got := HeaderValue(s)
		if !safeValue(got) {
			t.Fatalf("HeaderValue(%q) = %q is not safe", s, got)
		}
		if strings.ContainsAny(s, "\r\n\x00") {
			if got != "" {
				t.Fatalf("HeaderValue(%q) = %q", s, got)
			}
			return
		}
		if back, err := url.PathUnescape(got); err != nil || back != s {
			t.Fatalf("HeaderValue(%q) = %q decodes to %q, %v", s, got, back, err)
		}
	})
}

func TestCheckHeaderName(t *testing.T) {
	for name, ok := range map[string]bool{
		"X-User": true, "X-Forwarded-User": true, "Remote-User": true, "u": true, "x-user-2": true,
		"": false, "X_User": false, "X User": false, "X-User:": false, "-X": false, "X-": false, "X-Üser": false,
		"Authorization": false, "Cookie": false, "Host": false, "connection": false, "Content-Type": false,
		"Transfer-Encoding": false, "Mcp-Session-Id": false, "Mcp-Anything": false, "X-Forwarded-For": false,
		"Te": false, "Proxy": false, "Accept": false, "Origin": false, strings.Repeat("x", 65): false,
	} {
		if err := CheckHeaderName(name); (err == nil) != ok {
			t.Errorf("CheckHeaderName(%q) = %v", name, err)
		}
	}
}
