package identity

import (
	"strings"
	"testing"
)

func TestParseEmail(t *testing.T) {
	label := strings.Repeat("a", 63)
	for _, tc := range []struct{ name, in, local, domain string }{
		{"a plain address", "ann@example.com", "ann", "example.com"},
		{"upper case in the domain", "Ann@EXAMPLE.Com", "Ann", "example.com"},
		{"a tag and an apostrophe", "o'neil+mcp@sub.example.co.uk", "o'neil+mcp", "sub.example.co.uk"},
		{"an A-label", "a.b@xn--bcher-kva.example", "a.b", "xn--bcher-kva.example"},
		{"the longest local part and label", strings.Repeat("x", 64) + "@" + label + ".example", strings.Repeat("x", 64), label + ".example"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			local, domain, err := ParseEmail(tc.in)
			if err != nil || local != tc.local || domain != tc.domain {
				t.Errorf("got %q, %q, %v", local, domain, err)
			}
		})
	}
	for _, tc := range []struct{ name, in string }{
		{"nothing", ""},
		{"no @", "ann"},
		{"only an @", "@"},
		{"no local part", "@example.com"},
		{"no domain", "ann@"},
		{"two @", "ann@evil.example@example.com"},
		{"a quoted local part", `"ann"@example.com`},
		{"a quoted @", `"ann@evil.example"@example.com`},
		{"a display name", "Ann <ann@example.com>"},
		{"angle brackets", "<ann@example.com>"},
		{"a list", "ann@example.com,bob@example.com"},
		{"a list with a semicolon", "ann;bob@example.com"},
		{"a comment", "ann(x)@example.com"},
		{"a comment in the domain", "ann@example.com(evil)"},
		{"a source route", "@evil.example:ann@example.com"},
		{"a percent route", "ann%evil.example@example.com"},
		{"an encoded @", "ann%40evil.example@example.com"},
		{"an encoded @ in the domain", "ann@evil.example%40example.com"},
		{"a bang path", "evil!ann@example.com"},
		{"a placeholder", "{env.SECRET}@example.com"},
		{"a backslash", `ann\@example.com`},
		{"a line break", "ann@example.com\nX: y"},
		{"a line break in the local part", "ann\r\n@example.com"},
		{"NUL", "ann\x00@example.com"},
		{"a space in front", " ann@example.com"},
		{"a space behind", "ann@example.com "},
		{"a trailing dot", "ann@example.com."},
		{"a leading dot in the domain", "ann@.example.com"},
		{"two dots in the domain", "ann@example..com"},
		{"two dots in the local part", "a..b@example.com"},
		{"a dot first", ".ann@example.com"},
		{"a dot last", "ann.@example.com"},
		{"a bare top-level domain", "ann@com"},
		{"localhost", "ann@localhost"},
		{"an IP address", "ann@127.0.0.1"},
		{"an address literal", "ann@[127.0.0.1]"},
		{"an underscore in the domain", "ann@ex_ample.com"},
		{"a hyphen first", "ann@-example.com"},
		{"a hyphen last", "ann@example-.com"},
		{"a wildcard", "ann@*.example.com"},
		{"zero width space", "ann@example\u200b.com"},
		{"a Cyrillic look-alike", "ann@ex\u0430mple.com"},
		{"full-width letters", "ann@\uff45xample.com"},
		{"an ideographic dot", "ann@example\u3002com"},
		{"KELVIN SIGN", "ann@\u212Aelvin.com"},
		{"LONG S", "ann@te\u017Ft.com"},
		{"a full-width @", "ann\uff20example.com"},
		{"DEL", "ann\x7f@example.com"},
		{"invalid UTF-8", "ann\xff@example.com"},
		{"a local part that is too long", strings.Repeat("x", 65) + "@example.com"},
		{"a label that is too long", "ann@" + label + "a.example"},
		{"an address that is too long", "ann@" + strings.Repeat(label+".", 4) + "com"},
	} {
		t.Run("refuses "+tc.name, func(t *testing.T) {
			if local, domain, err := ParseEmail(tc.in); err == nil || local != "" || domain != "" {
				t.Errorf("%q became %q, %q", tc.in, local, domain)
			}
		})
	}
}

func FuzzParseEmail(f *testing.F) {
	f.Add("ann@example.com")
	f.Add("A.b+c'd@XN--BCHER-KVA.Example")
	f.Add("a@b@c.de")
	f.Add("\"a@b\"@c.de")
	f.Add("a@\u212A.com")
	f.Fuzz(func(t *testing.T, s string) {
		local, domain, err := ParseEmail(s)
		if (err == nil) != ValidEmail(s) {
			t.Fatalf("ParseEmail and ValidEmail disagree on %q", s)
		}
		if err != nil {
			return
		}
		joined := local + "@" + domain
		if len(joined) != len(s) || strings.Count(joined, "@") != 1 || len(joined) > maxEmail {
			t.Errorf("%q became %q", s, joined)
		}
		for i := range len(joined) {
			if joined[i] <= ' ' || joined[i] > '~' {
				t.Errorf("%q has byte %#x", joined, joined[i])
			}
		}
		if domain != strings.ToLower(domain) {
			t.Errorf("domain %q is not in lower case", domain)
		}
		if l, d, err := ParseEmail(joined); err != nil || l != local || d != domain {
			t.Errorf("%q, parsed again, became %q, %q, %v", joined, l, d, err)
		}
	})
}

func FuzzClaims(f *testing.F) {
	f.Add([]byte(`["a","b,c",1]`), "Ann")
	f.Add([]byte(`"a"`), "a\nb")
	f.Add([]byte(`null`), "\u202e")
	f.Fuzz(func(t *testing.T, raw []byte, name string) {
		c := claims{"c": raw}
		groups := c.groups("c")
		if len(groups) > maxGroups {
			t.Errorf("got %d groups", len(groups))
		}
		for _, g := range groups {
			if !ValidGroup(g) || strings.ContainsAny(g, ",\r\n\x00") {
				t.Errorf("got group %q", g)
			}
		}
		if e := c.email("c"); e != "" && !ValidEmail(e) {
			t.Errorf("got e-mail %q", e)
		}
		c.seconds("c")
		if clean := cleanName(name); strings.ContainsAny(clean, "\r\n\x00\u202e\u200b") || clean != cleanName(clean) {
			t.Errorf("name %q became %q", name, clean)
		}
	})
}
