package access

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func TestCheck(t *testing.T) {
	list := []Rule{{Domain, "example.com"}, {Domain, "*.example.org"}, {Email, "bob@other.example"}, {Group, "engineering"}}
	verified := func(email string, groups ...string) identity.User {
		return identity.User{Subject: "s", Email: email, EmailVerified: true, Groups: groups}
	}
	const denied = ""
	for _, tc := range []struct {
		name   string
		user   identity.User
		want   string
		reason Reason
	}{
		{"the domain", verified("ann@example.com"), "domain example.com", 0},
		{"the domain in another case", verified("ann@EXAMPLE.Com"), "domain example.com", 0},
		{"a subdomain of a plain domain", verified("ann@sub.example.com"), denied, NotAllowed},
		{"a subdomain of a wildcard", verified("ann@sub.example.org"), "domain *.example.org", 0},
		{"a subdomain further down", verified("ann@a.b.Example.org"), "domain *.example.org", 0},
		{"the domain of a wildcard itself", verified("ann@example.org"), denied, NotAllowed},
		{"the end of a domain", verified("ann@evilexample.com"), denied, NotAllowed},
		{"the end of a wildcard", verified("ann@evilexample.org"), denied, NotAllowed},
		{"the beginning of a domain", verified("ann@example.com.evil.example"), denied, NotAllowed},
		{"the beginning of a wildcard", verified("ann@sub.example.org.evil.example"), denied, NotAllowed},
		{"two @", verified("ann@evil.example@example.com"), denied, NotAllowed},
		{"two @, the other way round", verified("ann@example.com@evil.example"), denied, NotAllowed},
		{"a quoted @", verified(`"ann@evil.example"@example.com`), denied, NotAllowed},
		{"an encoded @", verified("ann%40evil.example@example.com"), denied, NotAllowed},
		{"a line break", verified("ann@evil.example\n@example.com"), denied, NotAllowed},
		{"a trailing dot", verified("ann@example.com."), denied, NotAllowed},
		{"a full-width letter", verified("ann@\uff45xample.com"), denied, NotAllowed},
		{"a Cyrillic letter", verified("ann@ex\u0430mple.com"), denied, NotAllowed},
		{"a LONG S in the list's address", verified("bob@other.e\u017fample"), denied, NotAllowed},
		{"the address", verified("bob@other.example"), "email bob@other.example", 0},
		{"the address in another case", verified("BOB@Other.example"), "email bob@other.example", 0},
		{"a neighbour of the address", verified("bobby@other.example"), denied, NotAllowed},
		{"an address that ends like it", verified("x.bob@other.example"), denied, NotAllowed},
		{"the address with a tag", verified("bob+x@other.example"), denied, NotAllowed},
		{"the group", verified("eve@evil.example", "sales", "engineering"), "group engineering", 0},
		{"the group without an address", identity.User{Groups: []string{"engineering"}}, "group engineering", 0},
		{"the group with an unverified address", identity.User{Email: "a@example.com", Groups: []string{"engineering"}}, "group engineering", 0},
		{"the group in another case", verified("eve@evil.example", "Engineering"), denied, NotAllowed},
		{"the beginning of the group", verified("eve@evil.example", "engineer", "engineering2"), denied, NotAllowed},
		{"the group in a list in a text", verified("eve@evil.example", "sales,engineering"), denied, NotAllowed},
		{"the first rule that fits", verified("ann@example.com", "engineering"), "domain example.com", 0},
		{"an unverified address that is on the list", identity.User{Email: "ann@example.com"}, denied, UnverifiedEmail},
		{"an unverified address that is not", identity.User{Email: "ann@evil.example"}, denied, UnverifiedEmail},
		{"no address", identity.User{EmailVerified: true}, denied, NoEmail},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := policy(t, list...)
			got, err := p.Check(tc.user)
			if got != tc.want {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
			if tc.want != denied {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			var d *Denied
			if !errors.As(err, &d) || d.Reason != tc.reason {
				t.Errorf("got %v, want reason %v", err, tc.reason)
			}
		})
	}
}

func TestCheckWithoutEmailRules(t *testing.T) {
	unverified := identity.User{Email: "ann@example.com"}
	if rule, err := policy(t, Rule{Any, ""}).Check(unverified); rule != "any" || err != nil {
		t.Errorf("got %q, %v", rule, err)
	}
	var d *Denied
	// Verifying the address would not help here, so the answer must not say so.
	if _, err := policy(t, Rule{Group, "a"}).Check(unverified); !errors.As(err, &d) || d.Reason != NotAllowed {
		t.Errorf("got %v", err)
	}
}

func TestDeniedSpeaksToPeople(t *testing.T) {
	texts := map[string]bool{}
	for _, r := range []Reason{NotAllowed, NoEmail, UnverifiedEmail} {
		text := (&Denied{Reason: r}).Error()
		if !strings.HasPrefix(text, "your ") || texts[text] || texts[r.String()] {
			t.Errorf("%v: got %q", r, text)
		}
		texts[text], texts[r.String()] = true, true
	}
}

func TestDeniedNamesTheRulesForTheLog(t *testing.T) {
	many := make([]Rule, 500)
	for i := range many {
		many[i] = Rule{Group, fmt.Sprintf("team-%03d", i)}
	}
	bob := identity.User{Email: "bob@other.example", EmailVerified: true}
	for _, tc := range []struct {
		name string
		user identity.User
		list []Rule
		want string
	}{
		{"every rule", bob, []Rule{{Domain, "Example.com"}, {Group, "engineering"}}, "no allow rule matches: domain example.com, group engineering"},
		{"an address that is not verified", identity.User{Email: "ann@example.com"}, []Rule{{Email, "ann@example.com"}},
			"e-mail address not verified, and no allow rule matches: email ann@example.com"},
		{"an account without an address", identity.User{}, []Rule{{Domain, "*.example.com"}},
			"no e-mail address, and no allow rule matches: domain *.example.com"},
		{"of a long list the beginning", bob, many, "no allow rule matches: group team-000, "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var d *Denied
			_, err := policy(t, tc.list...).Check(tc.user)
			if !errors.As(err, &d) {
				t.Fatalf("got %v", err)
			}
			if got := d.Rules; got != tc.want && (len(tc.list) < 3 || !strings.HasPrefix(got, tc.want) || !strings.HasSuffix(got, " more") || len(got) > 300) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// What somebody was let in with must let them in at the next request, and nothing else may.
func TestAllowsAgreesWithCheck(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	domain := func() string {
		return pick("example.com", "sub.example.com", "a.sub.example.com", "evilexample.com", "EXAMPLE.com", "example.org",
			"sub.example.org", "example.com.evil.example", "com", "", "exampl\u212A.com", "example.com.", "x@example.com")
	}
	group := func() string {
		return pick("a", "A", "ab", "engineering", "Domain Users", strings.Repeat("g", 256))
	}
	allowed, refused := 0, 0
	for range 20_000 {
		var rules []Rule
		for len(rules) == 0 || rng.IntN(3) > 0 {
			switch rng.IntN(8) {
			case 0, 1:
				rules = append(rules, Rule{Domain, pick("example.com", "sub.example.com", "Example.ORG", "*.example.org", "*.example.com", "*.sub.example.com")})
			case 2, 3:
				rules = append(rules, Rule{Email, pick("ann@example.com", "Bob@sub.example.com", "bob@evilexample.com")})
			case 4, 5:
				rules = append(rules, Rule{Group, group()})
			default:
				if len(rules) == 0 && rng.IntN(20) == 0 {
					rules = []Rule{{Any, ""}}
				}
			}
			if len(rules) > 0 && rules[0].Kind == Any {
				break
			}
		}
		p := policy(t, rules...)
		u := identity.User{Email: pick("ann", "ANN", "bob", "x.bob", "", `"ann"`, "ann ") + "@" + domain(), EmailVerified: rng.IntN(5) > 0}
		if rng.IntN(10) == 0 {
			u.Email = ""
		}
		for rng.IntN(2) == 0 {
			u.Groups = append(u.Groups, group())
		}
		_, err := p.Check(u)
		if got := p.Allows(u.VerifiedEmail(), strings.Join(u.Groups, ",")); got != (err == nil) {
			t.Fatalf("%v: Check of %+v says %v, Allows says %v", rules, u, err, got)
		}
		if err == nil {
			allowed++
		} else {
			refused++
		}
	}
	if allowed < 2000 || refused < 2000 {
		t.Errorf("%d were allowed and %d refused; the test is one-sided", allowed, refused)
	}
}

func FuzzAllowsAgreesWithCheck(f *testing.F) {
	f.Add("ann@example.com", "a,b")
	f.Add("ann@SUB.example.org", "")
	f.Add("ann@evil.example@example.com", "engineering")
	f.Add("BOB@other.example", ",engineering,")
	p := policy(f, Rule{Domain, "example.com"}, Rule{Domain, "*.example.org"}, Rule{Email, "bob@other.example"}, Rule{Group, "engineering"})
	f.Fuzz(func(t *testing.T, email, groups string) {
		u := identity.User{Email: email, EmailVerified: true, Groups: strings.Split(groups, ",")}
		_, err := p.Check(u)
		if got := p.Allows(email, groups); got != (err == nil) {
			t.Errorf("Check says %v, Allows says %v", err, got)
		}
	})
}

func TestAllowsDoesNotAllocate(t *testing.T) {
	p := policy(t, Rule{Domain, "example.com"}, Rule{Domain, "*.example.org"}, Rule{Email, "bob@other.example"}, Rule{Group, "engineering"})
	for _, tc := range []struct {
		email, groups string
		want          bool
	}{
		{"ann@example.com", "", true},
		{"Ann@EXAMPLE.com", "a,b,c", true},
		{"ann@a.b.c.example.org", "", true},
		{"bob@OTHER.example", "", true},
		{"", "a,b,engineering", true},
		{"eve@evil.example", "a,b,c", false},
		{strings.Repeat("x", 1000), strings.Repeat("x,", 1000), false},
	} {
		var got bool
		if n := testing.AllocsPerRun(100, func() { got = p.Allows(tc.email, tc.groups) }); n != 0 || got != tc.want {
			t.Errorf("%q, %q: got %v with %v allocations", tc.email, tc.groups, got, n)
		}
	}
}

func BenchmarkAllows(b *testing.B) {
	p := policy(b, Rule{Domain, "example.com"}, Rule{Domain, "*.example.org"}, Rule{Group, "engineering"})
	b.ReportAllocs()
	for b.Loop() {
		if !p.Allows("ann.example@example.com", "sales,everyone") {
			b.Fatal("refused")
		}
	}
}
