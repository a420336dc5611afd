package pages

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestDisplayName(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
	}{
		{"a plain name", "Claude Code", "Claude Code"},
		{"nothing", "", ""},
		{"other scripts", "クロード קלוד كلود", "クロード קלוד كلود"},
		{"letters written with combining marks", "Ngu\u0302\u0301 e\u0301", "Ngu\u0302\u0301 e\u0301"},
		{"spaces of all kinds", "\t Claude \u00a0\u3000\r\n Code\u2028\u2800", "Claude Code"},
		{"nothing but spaces", " \t\u2800\u3000", ""},
		{"controls of both sets", "Cl\x00a\x1bu\x7fd\u0090e", "Claude"},
		{"bidi overrides", "\u202eedualC\u202c \u2066x\u2069\u200f\u061c", "edualC x"},
		{"zero-width characters", "Cl\u200ba\u200c\u200du\u2060d\ufeffe\u00ad", "Claude"},
		{"fillers that look like nothing", "\u3164\u115f\u1160\uffa0\u034f", ""},
		{"variation selectors and tags", "a\ufe0f\U000e0061\U000e0100b", "ab"},
		{"private use, where some systems have logos", "\uf8ffClaude\U000f0000", "Claude"},
		{"invalid UTF-8", "a\xffb", "a\ufffdb"},
		{"a mark before the first letter", "\u0338\u0301Claude", "Claude"},
		{"a tower of marks", "z" + strings.Repeat("\u0335", 40) + "a", "z" + strings.Repeat("\u0335", maxMarks) + "a"},
		{"quotation marks that would end the quotation", "Claude” by Anthropic, “verified\" »ok«", "Claude' by Anthropic, 'verified' 'ok'"},
		{"exactly 80 runes", strings.Repeat("é", 80), strings.Repeat("é", 80)},
		{"81 runes", strings.Repeat("é", 81), strings.Repeat("é", 79) + "…"},
		{"no space before the ellipsis", strings.Repeat("é", 78) + " abc", strings.Repeat("é", 78) + "…"},
		{"markup, which is the template's business", "<b>&amp;", "<b>&amp;"},
		{"a megabyte", strings.Repeat("a", 1<<20), strings.Repeat("a", 79) + "…"},
		{"a megabyte of nothing", strings.Repeat("\u200b", 1<<20) + "a", "a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := DisplayName(tc.in); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestHost(t *testing.T) {
	long := strings.Repeat("claude.ai.", 100) + "evil.example:8443"
	for _, tc := range []struct {
		name, in, want string
	}{
		{"a host", "claude.ai", "claude.ai"},
		{"a loopback address in words", "this computer (localhost:33418)", "this computer (localhost:33418)"},
		{"a private-use scheme", "cursor://", "cursor://"},
		{"Cyrillic that looks Latin", "сlaude.ai", "xn--laude-0ye.ai"},
		{"an ideographic full stop", "claude.ai。evil.example", "claude.ai.evil.example"},
		{"a slash that is none", "claude.ai∕x.evil.example", `claude.xn--aix-uc2a.evil.example`},
		{"an international host with a port", "bücher.example:8443", "xn--bcher-kva.example:8443"},
		{"text that cannot be a host", "xn--\u00fc.example", `xn--\u00fc.example`},
		{"invisible and reversing characters", "claude\u200b.ai\u202e", "claude.ai"},
		{"a long host keeps its end", long, long[:159] + "…" + long[len(long)-160:]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := host(tc.in); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestOneOf(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []string
		want string
	}{
		{"nobody", nil, ""},
		{"names that are not there", []string{"", "\u200b"}, ""},
		{"one", []string{"Google"}, "Google"},
		{"two", []string{"Google", "", "GitHub"}, "Google or GitHub"},
		{"three", []string{"Google", "GitHub", "Okta"}, "Google, GitHub or Okta"},
	} {
		if got := oneOf(tc.in); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestWait(t *testing.T) {
	for _, tc := range []struct {
		in   time.Duration
		want string
	}{
		{-time.Second, ""},
		{0, ""},
		{time.Millisecond, "1 second"},
		{time.Second, "1 second"},
		{1001 * time.Millisecond, "2 seconds"},
		{90 * time.Second, "90 seconds"},
		{91 * time.Second, "2 minutes"},
		{15 * time.Minute, "15 minutes"},
		{91 * time.Minute, "2 hours"},
	} {
		if got := wait(tc.in); got != tc.want {
			t.Errorf("%v: got %q, want %q", tc.in, got, tc.want)
		}
	}
}

func FuzzDisplayName(f *testing.F) {
	for _, s := range []string{"Claude", "\u202e\u200b\x00 a", "a\u0301\u0301\u0301\u0301\u0301", "“”\"'", "\xff\xfe"} {
		f.Add(s)
	}
	f.Add(strings.Repeat("a ", 60))
	f.Fuzz(func(t *testing.T, s string) {
		name := DisplayName(s)
		if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName {
			t.Errorf("%q is not a name", name)
		}
		if again := DisplayName(name); again != name {
			t.Errorf("%q becomes %q the second time", name, again)
		}
		if name != strings.TrimSpace(name) || strings.Contains(name, "  ") || strings.ContainsAny(name, "\"“”„«»") {
			t.Errorf("%q has spaces or quotation marks to spare", name)
		}
		for _, r := range name {
			if unicode.In(r, unicode.C, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
				t.Errorf("%q has %U", name, r)
			}
		}
		for _, r := range host(s) {
			if r != '…' && (r < ' ' || r > '~') {
				t.Errorf("the host %q has %U", host(s), r)
			}
		}
	})
}
