package portal

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// actAtHome takes the forms of the page. What a person names by id is looked for among what is theirs;
// something that is not there has ended already, as far as they are concerned.
func (p *Portal) actAtHome(w http.ResponseWriter, r *http.Request, b *sessions.Browser) {
	form, _, ok := p.readForm(w, r, b)
	if !ok {
		return
	}
	var done notice
	var err error
	switch id := form.Get("id"); form.Get("do") {
	case pages.DoDisconnect:
		done, err = disconnected, p.disconnect(r, b, func(g sessions.Grant) bool { return g.ID.String() == id })
	case pages.DoDisconnectAll:
		done, err = allDisconnected, p.disconnectAll(r, b)
	case pages.DoWithdraw:
		done, err = withdrawn, p.withdraw(r, b, func(a sessions.Approval) bool { return a.ID() == id })
	case pages.DoEndBrowser:
		done, err = browserEnded, p.endBrowsers(r, b, func(other sessions.Browser) bool { return other.ID.String() == id })
	case pages.DoSignOutAll:
		done, err = signedOutEverywhere, p.signOutEverywhere(r, b, form.Has("apps"), form.Has("tokens"))
	default:
		p.problem(w, r, unreadable)
		return
	}
	if err != nil {
		p.failed(w, r, "ending something for a person", err)
		return
	}
	if done == signedOutEverywhere {
		p.Cookies.Clear(w, sessions.SessionCookieName)
	}
	p.back(w, p.Path, done)
}

// disconnect ends the grants that match, and forgets the consents to the same clients: one that was
// disconnected must not come back without a question.
func (p *Portal) disconnect(r *http.Request, b *sessions.Browser, match func(sessions.Grant) bool) error {
	ctx, user := r.Context(), b.User.Key()
	grants, err := p.Vault.ListGrants(ctx, user)
	if err != nil {
		return err
	}
	var failed error
	for _, g := range grants {
		if !match(g) {
			continue
		}
		err := p.withdraw(r, b, func(a sessions.Approval) bool { return a.ClientID == g.ClientID && a.Resource == g.Resource })
		if err == nil {
			err = p.Vault.RevokeGrant(ctx, user, g.ID)
		}
		if err != nil {
			// The others are tried all the same: each that ends is one less.
			failed = errors.Join(failed, err)
			continue
		}
		e := p.event(r, audit.Revocation, b)
		e.ClientID, e.ClientName, e.Resource, e.Grant = g.ClientLabel, g.ClientName, g.Resource, g.ID.String()
		p.record(r, e)
	}
	return failed
}

func (p *Portal) disconnectAll(r *http.Request, b *sessions.Browser) error {
	return errors.Join(
		// First, so that none is made anew from a consent that is about to go.
		p.withdraw(r, b, func(sessions.Approval) bool { return true }),
		p.disconnect(r, b, func(sessions.Grant) bool { return true }),
	)
}

// withdraw forgets the consents that match.
func (p *Portal) withdraw(r *http.Request, b *sessions.Browser, match func(sessions.Approval) bool) error {
	ctx, user := r.Context(), b.User.Key()
	consents, err := p.Vault.ListApprovals(ctx, user)
	if err != nil {
		return err
	}
	var failed error
	for _, a := range consents {
		if !match(a) {
			continue
		}
		if err := p.Vault.Withdraw(ctx, user, a.ID()); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		e := p.event(r, audit.ConsentWithdrawn, b)
		e.ClientID, e.ClientName, e.Resource = a.ClientLabel, a.ClientName, a.Resource
		p.record(r, e)
	}
	return failed
}

// endBrowsers signs the browsers out that match.
func (p *Portal) endBrowsers(r *http.Request, b *sessions.Browser, match func(sessions.Browser) bool) error {
	ctx, user := r.Context(), b.User.Key()
	browsers, err := p.Vault.ListBrowsers(ctx, user)
	if err != nil {
		return err
	}
	var failed error
	for _, other := range browsers {
		if !match(other) {
			continue
		}
		if err := p.Vault.EndBrowser(ctx, user, other.ID); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		e := p.event(r, audit.SignOut, b)
		e.Provider = other.Provider
		p.record(r, e)
	}
	return failed
}

// signOutEverywhere ends the person's sessions and, if they want that, what came of them. This session
// goes last, so that it can be tried again after an error. A browser that hangs up stops nothing.
func (p *Portal) signOutEverywhere(r *http.Request, b *sessions.Browser, apps, tokens bool) error {
	r = r.WithContext(context.WithoutCancel(r.Context()))
	if apps {
		if err := p.disconnectAll(r, b); err != nil {
			return err
		}
	}
	if tokens {
		if err := p.revokeTokens(r, b, func(sessions.PersonalToken) bool { return true }); err != nil {
			return err
		}
	}
	if err := p.endBrowsers(r, b, func(other sessions.Browser) bool { return other.ID != b.ID }); err != nil {
		return err
	}
	return p.endBrowsers(r, b, func(other sessions.Browser) bool { return other.ID == b.ID })
}
