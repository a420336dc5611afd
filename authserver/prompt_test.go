package authserver

import "testing"

func TestParsePrompt(t *testing.T) {
	for _, tc := range []struct {
		name, prompt, maxAge string
		want                 prompts
		upstream             string
		refused              bool
	}{
		{"nothing", "", "", prompts{}, "", false},
		{"none", "none", "", prompts{none: true}, "", false},
		{"none among others", "none login", "", prompts{}, "", true},
		{"none and an unknown value", "x none", "", prompts{}, "", true},
		{"consent, as clients send it with offline_access", "consent", "", prompts{consent: true}, "", false},
		{"login", "login", "", prompts{login: true}, "login", false},
		{"another account", "select_account", "", prompts{choose: true}, "select_account", false},
		{"all that show a page", "consent select_account login", "", prompts{consent: true, login: true, choose: true}, "login", false},
		{"an unknown value", "create", "", prompts{}, "", false},
		{"another case", "NONE", "", prompts{}, "", false},
		{"no session is young enough", "", "0", prompts{login: true}, "login", false},
		{"a session may be an hour old", "", "3600", prompts{}, "", false},
		{"an age that is no number", "", "zero", prompts{}, "", false},
		{"none, and no session is young enough", "none", "0", prompts{none: true, login: true}, "login", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, refused := parsePrompt(tc.prompt, tc.maxAge)
			if got != tc.want || (refused != nil) != tc.refused {
				t.Fatalf("%+v, %v; want %+v", got, refused, tc.want)
			}
			if got.upstream() != tc.upstream {
				t.Errorf("the identity provider gets %q, want %q", got.upstream(), tc.upstream)
			}
		})
	}
}
