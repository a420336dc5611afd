package access

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

// Reason tells why somebody is not let in.
type Reason int

// The reasons.
const (
	// NotAllowed: no rule fits.
	NotAllowed Reason = iota
	// NoEmail: no rule fits, and the provider gave no e-mail address that the other rules could
	// be compared with.
	NoEmail
	// UnverifiedEmail: no rule fits, and the provider does not vouch for the e-mail address. It is
	// given whether the address is on the list or not, since whoever claims it has not shown that
	// it is theirs and should not learn that.
	UnverifiedEmail
)

// String returns the reason as a word for logs.
func (r Reason) String() string {
	switch r {
	case NoEmail:
		return "no_email"
	case UnverifiedEmail:
		return "unverified_email"
	}
	return "not_allowed"
}

// Denied is the answer for somebody who signed in but is not on the allow-list.
type Denied struct {
	Reason Reason
	// Rules says for logs which rules did not fit, in the words of the configuration; of a long list
	// only the beginning. The person is not told: the list is none of their business.
	Rules string
}

// Error implements error. The text is for the person who signed in.
func (d *Denied) Error() string {
	switch d.Reason {
	case NoEmail:
		return "your account at the sign-in provider has no e-mail address that could be checked; " +
			"add one there, or sign in with another account"
	case UnverifiedEmail:
		return "your e-mail address is not verified at the sign-in provider; verify it there, then sign in again"
	}
	return "your account is not among those that may use this server; sign in with another account, " +
		"or ask the people who run it to let you in"
}

// Check returns the first rule that lets u in, as it is written in the configuration, or *Denied.
//
// Domain and Email rules look only at an e-mail address that the provider vouches for. Group and
// Any rules let people in whose address is unverified or missing. Such an address must not go on
// to tokens or headers, where it would look like a verified one: take u.VerifiedEmail().
func (p *Policy) Check(u identity.User) (rule string, err error) {
	local, domain, parseErr := identity.ParseEmail(u.VerifiedEmail())
	email := strings.ToLower(local) + "@" + domain
	for _, r := range p.rules {
		var fits bool
		switch r.Kind {
		case Any:
			fits = true
		case Group:
			fits = slices.Contains(u.Groups, r.Value)
		case Email:
			fits = parseErr == nil && email == r.Value
		case Domain:
			parent, below := strings.CutPrefix(r.Value, "*")
			fits = parseErr == nil && (below && strings.HasSuffix(domain, parent) || domain == r.Value)
		}
		if fits {
			return r.String(), nil
		}
	}
	switch {
	case !p.NeedsEmail():
	case u.Email == "":
		return "", &Denied{NoEmail, "no e-mail address, and " + p.Unmatched()}
	case !u.EmailVerified:
		return "", &Denied{UnverifiedEmail, "e-mail address not verified, and " + p.Unmatched()}
	}
	return "", &Denied{NotAllowed, p.Unmatched()}
}

// enoughRules is how long a list of rules may grow in a log before the others are only counted.
const enoughRules = 200

// Unmatched says for logs that no rule fits, and which there are. It is bounded: a rule has at most some
// 260 bytes.
func (p *Policy) Unmatched() string {
	text := []byte("no allow rule matches: ")
	for i, r := range p.rules {
		if len(text) > enoughRules {
			return fmt.Sprintf("%s and %d more", text, len(p.rules)-i)
		}
		if i > 0 {
			text = append(text, ", "...)
		}
		text = append(text, r.String()...)
	}
	return string(text)
}

// Allows reports whether the policy lets in the owner of a token: email is the VerifiedEmail of
// the user that Check has seen, groups are their Groups joined by commas. It agrees with Check,
// so that a policy which was tightened since acts on tokens that were issued before. It does not
// allocate.
func (p *Policy) Allows(email, groups string) bool {
	return p.any || p.allowsGroups(groups) || p.allowsEmail(email)
}

func (p *Policy) allowsGroups(groups string) bool {
	if len(p.group) == 0 {
		return false
	}
	for groups != "" {
		var group string
		group, groups, _ = strings.Cut(groups, ",")
		if _, ok := p.group[group]; ok {
			return true
		}
	}
	return false
}

func (p *Policy) allowsEmail(email string) bool {
	if !p.NeedsEmail() || !identity.ValidEmail(email) {
		return false
	}
	// A valid address has at most 254 bytes. ASCII letters only are lowered: Unicode has others
	// that turn into ASCII ones.
	var buf [256]byte
	lower := buf[:copy(buf[:], email)]
	at := 0
	for i, c := range lower {
		switch {
		case c == '@':
			at = i
		case 'A' <= c && c <= 'Z':
			lower[i] = c + 'a' - 'A'
		}
	}
	if _, ok := p.emails[string(lower)]; ok {
		return true
	}
	domain := lower[at+1:]
	if _, ok := p.domains[string(domain)]; ok {
		return true
	}
	if len(p.subdomains) == 0 {
		return false
	}
	for i, c := range domain {
		if c != '.' {
			continue
		}
		if _, ok := p.subdomains[string(domain[i+1:])]; ok {
			return true
		}
	}
	return false
}

// Interface guard
var _ error = (*Denied)(nil)
