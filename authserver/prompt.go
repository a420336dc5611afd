package authserver

import (
	"strconv"
	"strings"
)

// prompts is what a client wants the person to be asked (OpenID Connect Core, section 3.1.2.1). It
// is no concept of OAuth, but clients send it to every server alike.
type prompts struct {
	none    bool // show nothing
	consent bool // show the consent page whatever was said before
	login   bool // sign in again whoever is signed in
	choose  bool // choose the account again
}

// parsePrompt reads prompt and max_age. Values that are not known are ignored: a person who is asked
// once more is better off than a client that cannot connect.
func parsePrompt(prompt, maxAge string) (prompts, *oauthError) {
	var p prompts
	values := strings.Fields(prompt)
	for _, value := range values {
		switch value {
		case "none":
			p.none = true
		case "consent":
			p.consent = true
		case "login":
			p.login = true
		case "select_account":
			p.choose = true
		}
	}
	if p.none && len(values) > 1 {
		return prompts{}, invalidRequest("prompt none stands alone")
	}
	// A max_age of 0 is another spelling of prompt=login (OpenID Connect Core, section 3.1.2.1).
	if age, err := strconv.Atoi(maxAge); err == nil && age == 0 {
		p.login = true
	}
	return p, nil
}

// upstream is the prompt for the identity provider, "" for none. It is one value, since several are
// not understood everywhere; who signs in again can choose the account as well.
func (p prompts) upstream() string {
	switch {
	case p.login:
		return "login"
	case p.choose:
		return "select_account"
	}
	return ""
}

// asks reports whether a page has to be shown whatever is on record.
func (p prompts) asks() bool { return p.consent || p.login || p.choose }
