package access

import (
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// publicMail are the largest domains at which everybody can have an address.
var publicMail = []string{
	"aol.com", "fastmail.com", "gmail.com", "gmx.com", "gmx.de", "gmx.net", "googlemail.com", "hotmail.com", "icloud.com", "live.com",
	"mail.com", "mail.ru", "me.com", "msn.com", "outlook.com", "pm.me", "proton.me", "protonmail.com", "qq.com", "web.de", "yahoo.com",
	"yandex.com", "yandex.ru", "zoho.com", "163.com",
}

// Public returns the rules that let in people who belong to nobody: by a domain at which everybody can have
// an address, or one below which everybody can have a domain.
func (p *Policy) Public() (rules []Rule) {
	for _, r := range p.rules {
		if r.Kind != Domain {
			continue
		}
		domain := strings.TrimPrefix(r.Value, "*.")
		suffix, _ := publicsuffix.PublicSuffix(domain)
		if suffix == domain || domain == r.Value && slices.Contains(publicMail, domain) {
			rules = append(rules, r)
		}
	}
	return rules
}
