// Package access decides who may use a server: it compares what an identity provider vouches for
// with the allow rules of the configuration, when somebody signs in and again at each request, the
// address of a request with the networks that are let in, and a bearer token with those that the
// operator gave to programs. It knows nothing of how people sign in, nor of what other tokens are
// made of.
package access

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/net/idna"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// The kinds of rules.
const (
	// Domain admits verified e-mail addresses of exactly this domain, or with "*." in front, of
	// any domain below it. Letter case does not count.
	Domain = "domain"
	// Email admits one verified e-mail address. Letter case does not count.
	Email = "email"
	// Group admits the members of a group at the provider, also those without an e-mail address.
	// Letter case counts.
	Group = "group"
	// Any admits everyone who has an account at the provider.
	Any = "any"
)

// Rule is one line of an allow-list. Value is empty for Any.
type Rule struct{ Kind, Value string }

// String returns the rule as it is written in the configuration, normalized.
func (r Rule) String() string {
	if r.Value == "" {
		return r.Kind
	}
	return r.Kind + " " + r.Value
}

// Policy is an allow-list. It does not change, and is safe for concurrent use.
type Policy struct {
	rules []Rule // normalized, in the order of the configuration

	any                                bool
	domains, subdomains, emails, group map[string]struct{}
}

// NewPolicy checks the rules. At least one is needed: an empty list is more likely a mistake than
// a wish to keep everybody out, and must never mean that everybody is let in.
func NewPolicy(rules []Rule) (*Policy, error) {
	if len(rules) == 0 {
		return nil, errors.New(`no allow rule: nobody could sign in; add "allow domain example.com", ` +
			`or "allow any" for everyone with an account at the provider`)
	}
	p := &Policy{
		domains: map[string]struct{}{}, subdomains: map[string]struct{}{},
		emails: map[string]struct{}{}, group: map[string]struct{}{},
	}
	for _, rule := range rules {
		if err := p.add(rule); err != nil {
			return nil, fmt.Errorf("allow %s: %w", rule, err)
		}
	}
	if p.any && len(rules) > 1 {
		return nil, errors.New(`"allow any" admits everyone with an account at the provider, so the other allow rules ` +
			`would do nothing; remove either it or them`)
	}
	return p, nil
}

func (p *Policy) add(rule Rule) (err error) {
	switch rule.Kind {
	case Domain:
		rule.Value, err = parseDomain(rule.Value)
		if parent, below := strings.CutPrefix(rule.Value, "*."); below {
			p.subdomains[parent] = struct{}{}
		} else {
			p.domains[rule.Value] = struct{}{}
		}
	case Email:
		rule.Value, err = parseEmail(rule.Value)
		p.emails[rule.Value] = struct{}{}
	case Group:
		if !identity.ValidGroup(rule.Value) {
			err = errors.New("a group is 1 to 256 printable ASCII characters without a comma; " +
				"groups with other names are not taken from the provider, rename it there")
		}
		p.group[rule.Value] = struct{}{}
	case Any:
		if rule.Value != "" {
			err = errors.New(`"any" stands alone; write "allow any", or "allow domain", "allow email" or "allow group" with a value`)
		}
		p.any = true
	default:
		err = errors.New(`there is no such rule; write "allow domain", "allow email", "allow group" or "allow any"`)
	}
	p.rules = append(p.rules, rule)
	return err
}

// parseDomain returns a domain in lower-case A-label form, with "*." in front if it has it.
func parseDomain(s string) (string, error) {
	base, below := strings.CutPrefix(s, "*.")
	switch {
	case s == "":
		return "", errors.New(`domain is missing; write "allow domain example.com"`)
	case strings.HasPrefix(s, "@"):
		return "", fmt.Errorf(`write the domain without "@": "allow domain %s"`, s[1:])
	case strings.Contains(s, "@"):
		return "", fmt.Errorf(`this is an e-mail address; write "allow email %s"`, s)
	case strings.Contains(base, "*"):
		return "", errors.New(`"*" may only stand in front, as in "allow domain *.example.com"`)
	}
	// The Lookup profile maps as browsers do (UTS 46). Only the configuration is mapped: addresses
	// are compared with the result byte for byte.
	ascii, err := idna.Lookup.ToASCII(base)
	if err == nil {
		_, ascii, err = identity.ParseEmail("x@" + ascii)
	}
	if err != nil {
		return "", errors.New(`not a domain of at least two parts; write for example "allow domain example.com"`)
	}
	if below {
		return "*." + ascii, nil
	}
	return ascii, nil
}

// parseEmail returns an address in lower case, its domain in A-label form.
func parseEmail(s string) (string, error) {
	wrong := errors.New(`not a plain e-mail address; write for example "allow email ann@example.com"`)
	local, domain, found := strings.Cut(s, "@")
	if !found || strings.Contains(domain, "@") {
		return "", wrong
	}
	if local == "" || strings.Contains(local, "*") {
		return "", fmt.Errorf(`this is no single address; write "allow domain %s" for all of a domain`, domain)
	}
	domain, err := parseDomain(domain)
	if err != nil {
		return "", wrong
	}
	if s = local + "@" + domain; !identity.ValidEmail(s) {
		return "", wrong
	}
	return strings.ToLower(s), nil
}

// AdmitsGroups reports whether some rule lets people in by their group.
func (p *Policy) AdmitsGroups() bool { return len(p.group) > 0 }

// NeedsEmail reports whether some rule is about e-mail addresses, so that a provider which gives
// none lets fewer people in than the list says.
func (p *Policy) NeedsEmail() bool { return len(p.domains)+len(p.subdomains)+len(p.emails) > 0 }
