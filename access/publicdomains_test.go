package access

import "testing"

func TestPublicDomains(t *testing.T) {
	for _, tc := range []struct {
		name string
		rule Rule
		want bool
	}{
		{"a domain of its own", Rule{Domain, "example.com"}, false},
		{"all below it", Rule{Domain, "*.example.co.uk"}, false},
		{"a domain that only an own network knows", Rule{Domain, "corp.internal"}, false},
		{"an address where everybody has one", Rule{Email, "ann@gmail.com"}, false},
		{"a group of that name", Rule{Group, "gmail.com"}, false},
		{"a domain where everybody can have an address", Rule{Domain, "Gmail.com"}, true},
		{"a public suffix", Rule{Domain, "co.uk"}, true},
		{"all below a public suffix", Rule{Domain, "*.co.uk"}, true},
		{"all below a host of pages", Rule{Domain, "*.github.io"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := policy(t, tc.rule).Public(); (len(got) == 1) != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
