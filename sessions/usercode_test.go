package sessions

import (
	"strings"
	"testing"
)

func TestParseUserCode(t *testing.T) {
	for _, tc := range []struct {
		name, typed, want string
	}{
		{"as it is shown", "BCDF-GHJK", "BCDFGHJK"},
		{"in small letters without the hyphen", "bcdfghjk", "BCDFGHJK"},
		{"with spaces and hyphens anywhere", " b-cd f-gh-j k ", "BCDFGHJK"},
		{"with the dash that a phone makes of a hyphen", "BCDF\u2013GHJK", "BCDFGHJK"},
		{"a letter short", "BCDF-GHJ", ""},
		{"a letter too many", "BCDF-GHJKL", ""},
		{"with a vowel", "BCDF-GHJA", ""},
		{"with a digit", "BCDF-GHJ1", ""},
		{"with a letter that looks the same", "BCDF-GHJ\u041a", ""},
		{"with the Kelvin sign, whose lower case is k", "BCDF-GHJ\u212a", ""},
		{"with a line break", "BCDF-GHJK\n", ""},
		{"with bytes that are no UTF-8", "BCDF-GHJ\xcb", ""},
		{"nothing", "", ""},
		{"hyphens only", strings.Repeat("-", 10), ""},
		{"a valid code behind very many spaces", strings.Repeat(" ", 1<<20) + "BCDFGHJK", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ok := ParseUserCode(tc.typed)
			if ok != (tc.want != "") || ok && string(got) != tc.want {
				t.Errorf("got %q, %v; want %q", got, ok, tc.want)
			}
		})
	}
}

func TestNewUserCodesUseEveryLetterAndNeverRepeatSoon(t *testing.T) {
	seen, letters := map[UserCode]bool{}, map[rune]int{}
	for range 2000 {
		code := newUserCode()
		if parsed, ok := ParseUserCode(code.String()); !ok || parsed != code {
			t.Fatalf("%q does not survive being shown and typed", code)
		}
		if seen[code] {
			t.Fatalf("%q came twice", code)
		}
		seen[code] = true
		for _, r := range code {
			letters[r]++
		}
	}
	for _, r := range userCodeAlphabet {
		// 800 are expected, with a standard deviation of 28.
		if n := letters[r]; n < 600 || n > 1000 {
			t.Errorf("%c came %d times of 16000", r, n)
		}
	}
}

func FuzzParseUserCode(f *testing.F) {
	f.Add("BCDF-GHJK")
	f.Add("bcdf ghjk")
	f.Add("\u2013\u00a0BCDFGHJ\u212a")
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := ParseUserCode(typed)
		if !ok {
			return
		}
		if again, ok := ParseUserCode(code.String()); !ok || again != code {
			t.Fatalf("%q became %q, then %q", typed, code, again)
		}
		if strings.Trim(string(code), userCodeAlphabet) != "" {
			t.Fatalf("%q has letters that no code has", code)
		}
	})
}
