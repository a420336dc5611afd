package portal

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// dynamicLabel is what the labels of clients begin with that registered themselves.
const dynamicLabel = "dcr-"

// showHome shows what is the person's.
func (p *Portal) showHome(w http.ResponseWriter, r *http.Request, b *sessions.Browser) {
	view, err := p.homeView(r, b)
	if err == nil {
		view.Ticket, err = p.newTicket(w, r, b)
	}
	if err != nil {
		p.failed(w, r, "loading a person's page", err)
		return
	}
	pages.WritePortal(w, r, http.StatusOK, view)
}

func (p *Portal) homeView(r *http.Request, b *sessions.Browser) (pages.Portal, error) {
	ctx, user := r.Context(), b.User.Key()
	view := pages.Portal{
		Action: p.Path, TokensLink: p.Path + tokensPath, CredentialsLink: p.CredentialsPath, SignOutLink: p.SignOutPath,
		Account: accountOf(b.User), Provider: p.ProviderName(b.Provider),
		Notice: notices[noticeOf(r)], Now: p.Now(), SiteName: p.SiteName,
	}
	if b.User.Name != view.Account {
		view.Name = b.User.Name
	}
	names := p.resourceNames()
	grants, err := p.Vault.ListGrants(ctx, user)
	if err != nil {
		return view, err
	}
	// Whoever looks for something that should not be there finds it where it was last seen.
	slices.SortStableFunc(grants, func(a, b sessions.Grant) int { return b.UsedAt.Compare(a.UsedAt) })
	for _, g := range grants {
		origin, host := originOf(g.ClientLabel)
		view.Apps = append(view.Apps, pages.ConnectedApp{
			ID: g.ID.String(), Name: cmp.Or(g.ClientName, host), Origin: origin, Host: host, RedirectHost: g.RedirectHost,
			ResourceName: names[g.Resource], Resource: g.Resource, Scopes: g.Scopes,
			FirstUse: g.CreatedAt, LastUse: g.UsedAt, Address: g.ClientAddr,
		})
	}
	consents, err := p.Vault.ListApprovals(ctx, user)
	if err != nil {
		return view, err
	}
	for _, c := range consents {
		_, host := originOf(c.ClientLabel)
		view.Consents = append(view.Consents, pages.GivenConsent{
			ID: c.ID(), Name: cmp.Or(c.ClientName, host), RedirectHost: c.RedirectHost, ResourceName: names[c.Resource],
			Resource: c.Resource, Scopes: c.Scopes, GivenAt: c.ApprovedAt, ExpiresAt: c.ExpiresAt,
		})
	}
	browsers, err := p.Vault.ListBrowsers(ctx, user)
	if err != nil {
		return view, err
	}
	for _, other := range browsers {
		view.Browsers = append(view.Browsers, pages.SignedInBrowser{
			ID: other.ID.String(), UserAgent: other.UserAgent, Address: other.ClientAddr, This: other.ID == b.ID, SignedIn: other.AuthTime,
		})
	}
	signIns, err := p.Vault.ListSignIns(ctx, user)
	if err != nil {
		return view, err
	}
	for _, s := range signIns {
		view.SignIns = append(view.SignIns, pages.PastSignIn{
			At: s.At, Provider: p.ProviderName(s.Provider), UserAgent: s.UserAgent, Address: s.ClientAddr, ClientName: s.ClientName,
		})
	}
	return view, nil
}

// accountOf is how a person recognises their account. Groups let in people for whose address the
// provider does not vouch.
func accountOf(u sessions.User) string { return cmp.Or(u.Email, u.Name, u.Subject) }

// originOf tells from a client's label how far it is known, and the host of its metadata document.
func originOf(label string) (pages.AppOrigin, string) {
	if u, err := url.Parse(label); err == nil && u.Scheme == "https" && u.Host != "" {
		return pages.VerifiedHost, u.Host
	}
	if label == "" || strings.HasPrefix(label, dynamicLabel) {
		return pages.SelfRegistered, ""
	}
	return pages.SetUpByOperator, ""
}

// resourceNames maps resource identifiers to what people call them.
func (p *Portal) resourceNames() map[string]string {
	names := make(map[string]string)
	for _, res := range p.Resources(nil) {
		names[res.URI] = res.Name
	}
	return names
}
