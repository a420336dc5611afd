package access

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// repository is a resource whose scopes form a chain and a branch.
func repository(t testing.TB, required ...string) *Scopes {
	t.Helper()
	s, err := NewScopes([]string{"read", "write", "admin", "audit"}, required, []Implication{
		{"write", []string{"read"}}, {"admin", []string{"write"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScopesSufficient(t *testing.T) {
	for _, tc := range []struct {
		name, scope string
		required    []string
		want        bool
	}{
		{"nothing is required", "", nil, true},
		{"the scope itself", "read", []string{"read"}, true},
		{"a scope that implies it", "write", []string{"read"}, true},
		{"a scope that implies it over another", "admin", []string{"read"}, true},
		{"the other way round", "read", []string{"write"}, false},
		{"no scope at all", "", []string{"read"}, false},
		{"an unrelated scope", "audit", []string{"read"}, false},
		{"one of two", "audit", []string{"read", "audit"}, false},
		{"two of two, one of them implied", "audit admin", []string{"read", "audit"}, true},
		{"a scope with the same beginning", "reader", []string{"read"}, false},
		{"a part of a scope", "rea", []string{"read"}, false},
		{"another case", "READ", []string{"read"}, false},
		{"doubled spaces", "  audit   read ", []string{"read", "audit"}, true},
		{"a scope that was removed from the resource", "owner", []string{"read"}, false},
		{"a requirement given twice", "read", []string{"read", "read"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := repository(t, tc.required...).Sufficient(tc.scope); got != tc.want {
				t.Errorf("Sufficient(%q) with %q required is %t", tc.scope, tc.required, got)
			}
		})
	}
	if !(*Scopes)(nil).Sufficient("") {
		t.Error("a resource without scopes requires some")
	}
}

func TestScopesNeeded(t *testing.T) {
	for _, tc := range []struct{ name, scope, want string }{
		{"no scope at all", "", "write audit"},
		{"what the token has stays", "admin", "write audit admin"},
		{"what is included already is not repeated", "read", "write audit"},
		{"what the resource does not have is left out", "offline_access x", "write audit"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := repository(t, "write", "audit")
			got := s.Needed(tc.scope)
			if got != tc.want {
				t.Errorf("Needed(%q) is %q, want %q", tc.scope, got, tc.want)
			}
			if !s.Sufficient(got) {
				t.Errorf("a token with %q would be refused again", got)
			}
		})
	}
}

func TestScopesIncluded(t *testing.T) {
	s := repository(t)
	for scope, want := range map[string][]string{"read": nil, "write": {"read"}, "admin": {"read", "write"}, "unknown": nil} {
		if got := s.Included(scope); !slices.Equal(got, want) {
			t.Errorf("%s includes %q, want %q", scope, got, want)
		}
	}
	if got := s.Effective([]string{"audit", "write", "unknown"}); !slices.Equal(got, []string{"read", "write", "audit"}) {
		t.Errorf("effective: %q", got)
	}
	circle, err := NewScopes([]string{"a", "b"}, nil, []Implication{{"a", []string{"b"}}, {"b", []string{"a"}}})
	if err != nil || !slices.Equal(circle.Effective([]string{"a"}), circle.Effective([]string{"b"})) {
		t.Errorf("two names for one scope: %v", err)
	}
}

func TestNewScopesRefuses(t *testing.T) {
	many := make([]string, maxRequired+1)
	for i := range many {
		many[i] = "s" + strconv.Itoa(i)
	}
	for _, tc := range []struct {
		name          string
		all, required []string
		implies       []Implication
		want          string
	}{
		{"a requirement that does not exist", []string{"read"}, []string{"write"}, nil, "required_scope write"},
		{"an implication of a scope that does not exist", []string{"read"}, nil, []Implication{{"write", []string{"read"}}}, `"write" is not among`},
		{"an implied scope that does not exist", []string{"read"}, nil, []Implication{{"read", []string{"write"}}}, `"write" is not among`},
		{"more requirements than a token is judged by", many, many, nil, "more than 64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := NewScopes(tc.all, tc.required, tc.implies); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSufficientDoesNotAllocate(t *testing.T) {
	s := repository(t, "read", "audit")
	ok := false
	if n := testing.AllocsPerRun(100, func() { ok = s.Sufficient("openid audit admin") }); n != 0 || !ok {
		t.Errorf("%v allocations, sufficient: %t", n, ok)
	}
}
