package access

import (
	"strings"
	"testing"
)

func TestNewPolicyNormalizes(t *testing.T) {
	for _, tc := range []struct {
		name string
		rule Rule
		want string
	}{
		{"a domain", Rule{Domain, "Example.COM"}, "domain example.com"},
		{"a domain beyond ASCII", Rule{Domain, "b\u00fccher.example"}, "domain xn--bcher-kva.example"},
		{"an A-label", Rule{Domain, "xn--bcher-kva.example"}, "domain xn--bcher-kva.example"},
		{"subdomains", Rule{Domain, "*.B\u00fccher.example"}, "domain *.xn--bcher-kva.example"},
		{"an address", Rule{Email, "Ann@Example.com"}, "email ann@example.com"},
		{"an address in a domain beyond ASCII", Rule{Email, "ann@b\u00fccher.example"}, "email ann@xn--bcher-kva.example"},
		{"a group", Rule{Group, "Domain Users"}, "group Domain Users"},
		{"everyone", Rule{Any, ""}, "any"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := NewPolicy([]Rule{tc.rule})
			if err != nil || p.rules[0].String() != tc.want {
				t.Errorf("got %+v, %v; want %q", p, err, tc.want)
			}
		})
	}
}

func TestNewPolicyRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rules []Rule
		want  string // what the error says to write, or what is wrong
	}{
		{"no rules", nil, `add "allow domain example.com"`},
		{"an empty domain", []Rule{{Domain, ""}}, `write "allow domain example.com"`},
		{"a domain with @", []Rule{{Domain, "@example.com"}}, `"allow domain example.com"`},
		{"an address as domain", []Rule{{Domain, "ann@example.com"}}, `write "allow email ann@example.com"`},
		{"a bare top-level domain", []Rule{{Domain, "com"}}, "at least two parts"},
		{"everything below a top-level domain", []Rule{{Domain, "*.com"}}, "at least two parts"},
		{"a wildcard alone", []Rule{{Domain, "*"}}, "in front"},
		{"a wildcard without a dot", []Rule{{Domain, "*example.com"}}, "in front"},
		{"a wildcard in the middle", []Rule{{Domain, "a.*.example.com"}}, "in front"},
		{"two wildcards", []Rule{{Domain, "*.*.example.com"}}, "in front"},
		{"a leading dot", []Rule{{Domain, ".example.com"}}, "at least two parts"},
		{"a trailing dot", []Rule{{Domain, "example.com."}}, "at least two parts"},
		{"a space inside", []Rule{{Domain, "example .com"}}, "at least two parts"},
		{"two domains in one", []Rule{{Domain, "example.com,example.org"}}, "at least two parts"},
		{"a URL", []Rule{{Domain, "https://example.com"}}, "at least two parts"},
		{"an IP address", []Rule{{Domain, "192.0.2.1"}}, "at least two parts"},
		{"an A-label that is none", []Rule{{Domain, "xn--\u00fc.example"}}, "at least two parts"},
		{"an address without @", []Rule{{Email, "ann"}}, `"allow email ann@example.com"`},
		{"an address with two", []Rule{{Email, "ann@evil.example@example.com"}}, `"allow email ann@example.com"`},
		{"an address with a wildcard", []Rule{{Email, "*@example.com"}}, `write "allow domain example.com"`},
		{"an address in a wildcard", []Rule{{Email, "ann@*.example.com"}}, `"allow email ann@example.com"`},
		{"a domain as address", []Rule{{Email, "@example.com"}}, `write "allow domain example.com"`},
		{"an address with a display name", []Rule{{Email, "Ann <ann@example.com>"}}, `"allow email ann@example.com"`},
		{"an empty group", []Rule{{Group, ""}}, "a group is"},
		{"a group with a comma", []Rule{{Group, "a,b"}}, "a group is"},
		{"a group beyond ASCII", []Rule{{Group, "Entwicklung S\u00fcd"}}, "a group is"},
		{"any with a value", []Rule{{Any, "example.com"}}, "stands alone"},
		{"any beside others", []Rule{{Domain, "example.com"}, {Any, ""}}, "would do nothing"},
		{"a rule nobody knows", []Rule{{"user", "ann"}}, "there is no such rule"},
		{"a kind in another case", []Rule{{"Domain", "example.com"}}, "there is no such rule"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := NewPolicy(tc.rules)
			if p != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %+v, %v; want it to say %q", p, err, tc.want)
			}
		})
	}
}

func TestNeedsEmail(t *testing.T) {
	for _, tc := range []struct {
		rules []Rule
		want  bool
	}{
		{[]Rule{{Domain, "example.com"}}, true},
		{[]Rule{{Domain, "*.example.com"}}, true},
		{[]Rule{{Group, "a"}, {Email, "a@example.com"}}, true},
		{[]Rule{{Group, "a"}}, false},
		{[]Rule{{Any, ""}}, false},
	} {
		if got := policy(t, tc.rules...).NeedsEmail(); got != tc.want {
			t.Errorf("%v: got %v, want %v", tc.rules, got, tc.want)
		}
	}
}

func policy(t testing.TB, rules ...Rule) *Policy {
	t.Helper()
	p, err := NewPolicy(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
