package portal

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// lives are the lives of a token to choose from, in days; usualLife is the one that is chosen if a
// person chooses none.
var lives = []int{7, 30, 90, 180, 365}

const (
	usualLife = 90
	// spentFor is for how long a form that made a token makes no other one. No session lives longer.
	spentFor = 31 * 24 * time.Hour
)

// refusal is what is wrong with a form, in words for whoever filled it in.
type refusal string

func (r refusal) Error() string { return string(r) }

// showTokens shows the person's tokens.
func (p *Portal) showTokens(w http.ResponseWriter, r *http.Request, b *sessions.Browser) {
	p.writeTokens(w, r, b, http.StatusOK, url.Values{}, "")
}

// writeTokens answers with the page; form is what was filled in before wrong was found.
func (p *Portal) writeTokens(w http.ResponseWriter, r *http.Request, b *sessions.Browser, status int, form url.Values, wrong string) {
	tokens, err := p.Vault.ListUserTokens(r.Context(), b.User.Key())
	var sealed string
	if err == nil {
		sealed, err = p.newTicket(w, r, b)
	}
	if err != nil {
		p.failed(w, r, "loading a person's tokens", err)
		return
	}
	view := pages.Tokens{
		Action: p.Path + tokensPath, Ticket: sealed, HomeLink: p.Path, CredentialsLink: p.CredentialsPath, Account: accountOf(b.User),
		Notice: notices[noticeOf(r)], Error: wrong, Name: form.Get("name"), Days: lives, Life: usualLife,
		Now: p.Now(), SiteName: p.SiteName,
	}
	if days, err := strconv.Atoi(form.Get("days")); err == nil && slices.Contains(lives, days) {
		view.Life = days
	}
	usable := p.Resources(&b.User)
	for _, res := range usable {
		view.Resources = append(view.Resources, pages.TokenResource{
			URI: res.URI, Name: res.Name, Chosen: len(usable) == 1 || slices.Contains(form["resource"], res.URI),
		})
	}
	view.Scopes = scopesOf(usable)
	for i := range view.Scopes {
		view.Scopes[i].Chosen = slices.Contains(form["scope"], view.Scopes[i].Name)
	}
	for _, t := range slices.Backward(tokens) {
		view.Tokens = append(view.Tokens, pages.UserToken{
			ID: t.ID.String(), Name: t.Name, Label: t.Label(), Resources: t.Resources, Scopes: t.Scopes,
			CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt,
		})
	}
	pages.WriteTokens(w, r, status, view)
}

// scopesOf lists the scopes of several resources once, each with the resources that have it.
func scopesOf(resources []Resource) []pages.TokenScope {
	var all []pages.TokenScope
	for _, res := range resources {
		name := res.Name
		if name == "" {
			name = res.URI
		}
		for _, scope := range res.Scopes {
			i := slices.IndexFunc(all, func(s pages.TokenScope) bool { return s.Name == scope })
			if i < 0 {
				i = len(all)
				all = append(all, pages.TokenScope{Name: scope})
			}
			all[i].Resources = append(all[i].Resources, name)
		}
	}
	for i := range all {
		if len(all[i].Resources) == len(resources) {
			all[i].Resources = nil // everywhere goes without saying
		}
	}
	return all
}

// actOnTokens takes the forms of the page.
func (p *Portal) actOnTokens(w http.ResponseWriter, r *http.Request, b *sessions.Browser) {
	form, t, ok := p.readForm(w, r, b)
	if !ok {
		return
	}
	switch form.Get("do") {
	case pages.DoMint:
		p.mint(w, r, b, t, form)
	case pages.DoRevokeToken:
		id := form.Get("id")
		if err := p.revokeTokens(r, b, func(t sessions.PersonalToken) bool { return t.ID.String() == id }); err != nil {
			p.failed(w, r, "revoking a token", err)
			return
		}
		p.back(w, p.Path+tokensPath, tokenRevoked)
	default:
		p.problem(w, r, unreadable)
	}
}

// mint makes a token and shows it. There is no redirect, as after other forms: the token is in this
// answer and nowhere else. Sending the form again makes no second one.
func (p *Portal) mint(w http.ResponseWriter, r *http.Request, b *sessions.Browser, t ticket, form url.Values) {
	wanted, err := p.wanted(b, form)
	var wrong refusal
	if errors.As(err, &wrong) {
		p.writeTokens(w, r, b, http.StatusBadRequest, form, string(wrong))
		return
	}
	err = p.Vault.Spend(r.Context(), "portal_ticket", t.ID.String(), spentFor)
	if errors.Is(err, sessions.ErrReused) {
		p.problem(w, r, stale)
		return
	}
	var token string
	var minted sessions.PersonalToken
	if err == nil {
		token, minted, err = p.Vault.MintUserToken(r.Context(), wanted)
	}
	switch {
	case errors.Is(err, sessions.ErrTooMany):
		p.writeTokens(w, r, b, http.StatusConflict, form,
			"You have "+strconv.Itoa(sessions.MaxUserTokens)+" tokens, which is as many as there can be. Revoke one that is not needed.")
		return
	case errors.Is(err, sessions.ErrNotFound):
		p.problem(w, r, signedOut) // a moment ago
		return
	case err != nil:
		p.failed(w, r, "making a token", err)
		return
	}
	e := p.event(r, audit.CredentialChanged, b)
	e.Reason, e.Credential, e.ClientName, e.Resource = "token made", minted.Label(), minted.Name, strings.Join(minted.Resources, " ")
	p.record(r, e)
	pages.WriteMinted(w, r, pages.MintedToken{
		Token: token, Name: minted.Name, Link: p.Path + tokensPath, Example: minted.Resources[0],
		ExpiresAt: minted.ExpiresAt, SiteName: p.SiteName,
	})
}

// wanted reads the form to make a token. What it may be for is decided by what the person may use now,
// whatever the form offers. The error is a refusal.
func (p *Portal) wanted(b *sessions.Browser, form url.Values) (sessions.PersonalToken, error) {
	t := sessions.PersonalToken{
		User: b.User, Name: strings.TrimSpace(form.Get("name")), Upstream: b.Upstream, Provider: b.Provider,
	}
	if t.Name == "" || pages.DisplayName(t.Name) != t.Name || len([]rune(t.Name)) > 64 {
		return t, refusal("The token needs a name of at most 64 visible characters, without quotation marks.")
	}
	var chosen []Resource
	for _, res := range p.Resources(&b.User) {
		if slices.Contains(form["resource"], res.URI) {
			chosen = append(chosen, res)
			t.Resources = append(t.Resources, res.URI)
		}
	}
	if len(chosen) == 0 {
		return t, refusal("Choose what the token is good at.")
	}
	for _, scope := range scopesOf(chosen) {
		if slices.Contains(form["scope"], scope.Name) {
			t.Scopes = append(t.Scopes, scope.Name)
		}
	}
	// A token without scopes would be refused where some are required, and mean everything elsewhere.
	for _, res := range chosen {
		if len(res.Scopes) > 0 && !slices.ContainsFunc(res.Scopes, func(s string) bool { return slices.Contains(t.Scopes, s) }) {
			return t, refusal("Choose what the token may do at each of them.")
		}
	}
	days, err := strconv.Atoi(form.Get("days"))
	if err != nil || !slices.Contains(lives, days) {
		return t, refusal("Choose when the token expires.")
	}
	t.ExpiresAt = p.Now().Add(time.Duration(days) * 24 * time.Hour)
	return t, nil
}

// revokeTokens ends the tokens that match.
func (p *Portal) revokeTokens(r *http.Request, b *sessions.Browser, match func(sessions.PersonalToken) bool) error {
	ctx, user := r.Context(), b.User.Key()
	tokens, err := p.Vault.ListUserTokens(ctx, user)
	if err != nil {
		return err
	}
	var failed error
	for _, t := range tokens {
		if !match(t) {
			continue
		}
		if err := p.Vault.RevokeUserToken(ctx, user, t.ID); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		e := p.event(r, audit.CredentialChanged, b)
		e.Reason, e.Credential, e.ClientName, e.Resource = "token revoked", t.Label(), t.Name, strings.Join(t.Resources, " ")
		p.record(r, e)
	}
	return failed
}

// Interface guards
var _ error = refusal("")
