package pages

import (
	"net/http"
	"time"
)

// Portal is what a signed-in person sees of what is theirs. Each form posts ticket, "do" with one of the
// actions below, and what it is about as "id".
type Portal struct {
	// Action is where the forms are posted.
	Action, Ticket string
	// TokensLink, CredentialsLink and SignOutLink are paths of this site; without one there is no such link.
	TokensLink, CredentialsLink, SignOutLink string

	// Account is how the person recognises their account, Name what they are called.
	Account, Name, Provider string

	// Notice says what has just been done.
	Notice string
	// Error says what could not be done.
	Error string

	Apps     []ConnectedApp
	Consents []GivenConsent
	Browsers []SignedInBrowser
	SignIns  []PastSignIn

	Now      time.Time
	SiteName string
}

// What the forms of [Portal] post as "do".
const (
	DoDisconnect    = "disconnect"
	DoDisconnectAll = "disconnect_all"
	DoWithdraw      = "withdraw"
	DoEndBrowser    = "end_browser"
	DoSignOutAll    = "sign_out_everywhere" // with "apps" and "tokens" for those too
)

// AppOrigin says how far the identity of a client is known.
type AppOrigin int

const (
	// SelfRegistered clients chose their names themselves.
	SelfRegistered AppOrigin = iota
	// VerifiedHost clients publish a document at their host.
	VerifiedHost
	// SetUpByOperator clients are configured.
	SetUpByOperator
)

// ConnectedApp is a client that may act for the person.
type ConnectedApp struct {
	ID, Name string
	Origin   AppOrigin
	// Host is that of the document, for VerifiedHost.
	Host string
	// RedirectHost is where access was sent.
	RedirectHost           string
	ResourceName, Resource string
	Scopes                 []string
	FirstUse, LastUse      time.Time
	// Address is the network address of the last use.
	Address string
}

// GivenConsent is a consent that lets a client connect without a question.
type GivenConsent struct {
	ID, Name, RedirectHost, ResourceName, Resource string
	Scopes                                         []string
	GivenAt, ExpiresAt                             time.Time
}

// SignedInBrowser is a browser in which the person is signed in.
type SignedInBrowser struct {
	ID, UserAgent, Address string
	// This is set for the browser that shows the page.
	This     bool
	SignedIn time.Time
}

// PastSignIn is a sign-in of the person.
type PastSignIn struct {
	At                                       time.Time
	Provider, UserAgent, Address, ClientName string
}

type portalView struct {
	frame
	nav
	Action, Ticket          string
	SignOutLink             string
	Account, Name, Provider string
	Notice, Error           string
	Apps                    []appView
	Consents                []consentRow
	Browsers                []browserRow
	SignIns                 []signInRow
}

// nav is what the pages of a person have in common.
type nav struct {
	HomeLink, TokensLink, CredentialsLink string
	OnTokens, OnCredentials               bool
}

type appView struct {
	ID, Name              string
	Verified, SetUp       bool
	Host, RedirectHost    string
	ResourceName, Address string
	Resource              string
	Scopes                []string
	FirstUse, LastUse     moment
}

type consentRow struct {
	ID, Name, RedirectHost, ResourceName, Resource string
	Scopes                                         []string
	GivenAt, ExpiresAt                             moment
}

type browserRow struct {
	ID, Browser, Address string
	This                 bool
	SignedIn             moment
}

type signInRow struct {
	At                                     moment
	Provider, Browser, Address, ClientName string
}

// WritePortal answers with a person's own page.
func WritePortal(w http.ResponseWriter, r *http.Request, status int, v Portal) {
	view := portalView{
		frame:       newFrame("Your account", v.SiteName),
		nav:         nav{HomeLink: v.Action, TokensLink: v.TokensLink, CredentialsLink: v.CredentialsLink},
		Action:      v.Action,
		Ticket:      v.Ticket,
		SignOutLink: v.SignOutLink,
		Account:     address(v.Account),
		Name:        DisplayName(v.Name),
		Provider:    DisplayName(v.Provider),
		Notice:      sentence(v.Notice),
		Error:       sentence(v.Error),
	}
	view.Wide = true
	if view.Error != "" {
		view.Title = "Error: " + view.Title
	}
	for _, app := range v.Apps {
		view.Apps = append(view.Apps, newAppView(app, v.Now))
	}
	for _, c := range v.Consents {
		view.Consents = append(view.Consents, consentRow{
			ID: c.ID, Name: DisplayName(c.Name), RedirectHost: host(c.RedirectHost),
			ResourceName: DisplayName(c.ResourceName), Resource: address(c.Resource), Scopes: names(c.Scopes),
			GivenAt: momentOf(c.GivenAt, v.Now), ExpiresAt: momentOf(c.ExpiresAt, v.Now),
		})
	}
	for _, b := range v.Browsers {
		view.Browsers = append(view.Browsers, browserRow{
			ID: b.ID, Browser: browserName(b.UserAgent), Address: address(b.Address), This: b.This, SignedIn: momentOf(b.SignedIn, v.Now),
		})
	}
	for _, s := range v.SignIns {
		view.SignIns = append(view.SignIns, signInRow{
			At: momentOf(s.At, v.Now), Provider: DisplayName(s.Provider), Browser: browserName(s.UserAgent),
			Address: address(s.Address), ClientName: DisplayName(s.ClientName),
		})
	}
	write(w, r, status, portalPage, view)
}

func newAppView(app ConnectedApp, now time.Time) appView {
	return appView{
		ID: app.ID, Name: DisplayName(app.Name),
		Verified: app.Origin == VerifiedHost, SetUp: app.Origin == SetUpByOperator,
		Host: host(app.Host), RedirectHost: host(app.RedirectHost),
		ResourceName: DisplayName(app.ResourceName), Resource: address(app.Resource),
		Scopes: names(app.Scopes), Address: address(app.Address),
		FirstUse: momentOf(app.FirstUse, now), LastUse: momentOf(app.LastUse, now),
	}
}

// names cleans a list, and leaves out what shows nothing.
func names(all []string) []string {
	var shown []string
	for _, name := range all {
		if name = DisplayName(name); name != "" {
			shown = append(shown, name)
		}
	}
	return shown
}
