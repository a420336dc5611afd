package pages

import (
	"net/http"
	"strconv"
	"time"
)

// Tokens is the page on which a person makes tokens for scripts, and revokes them. The form to make one
// posts ticket, do=[DoMint], name, resource and scope (any number of each), and days; the others post
// ticket, do=[DoRevokeToken] and id.
type Tokens struct {
	Action, Ticket string
	// HomeLink is the path of the person's page, CredentialsLink that of their credentials. Without one
	// there is no such link.
	HomeLink, CredentialsLink string
	Account                   string

	Notice, Error string

	// Name fills the field in again after an error.
	Name      string
	Resources []TokenResource
	Scopes    []TokenScope
	// Days are the lives to choose from, Life the one that is chosen.
	Days []int
	Life int

	Tokens []UserToken

	Now      time.Time
	SiteName string
}

// What the forms of [Tokens] post as "do".
const (
	DoMint        = "make_token"
	DoRevokeToken = "revoke_token"
)

// TokenResource is a resource that a token can be for.
type TokenResource struct {
	URI, Name string
	Chosen    bool
}

// TokenScope is a scope that a token can have.
type TokenScope struct {
	Name string
	// Resources are the names of those where it exists, if not at all of them.
	Resources []string
	Chosen    bool
}

// UserToken is a token that there is. What it consists of is nowhere.
type UserToken struct {
	ID, Name, Label      string
	Resources, Scopes    []string
	CreatedAt, ExpiresAt time.Time
}

// MintedToken shows a token for the only time.
type MintedToken struct {
	Token, Name, Link string
	// Example is a resource that it opens.
	Example   string
	ExpiresAt time.Time
	SiteName  string
}

type tokensView struct {
	frame
	nav
	Action, Ticket, Account, Notice, Error, Name string
	Resources                                    []choiceRow
	Scopes                                       []choiceRow
	Lives                                        []lifeRow
	Tokens                                       []tokenRow
}

// choiceRow is a box to tick.
type choiceRow struct {
	Field              string // id of the field
	Value, Name, Where string
	Chosen             bool
}

type lifeRow struct {
	Days   int
	Text   string
	Chosen bool
}

type tokenRow struct {
	ID, Name, Label      string
	Resources, Scopes    []string
	CreatedAt, ExpiresAt moment
}

// WriteTokens answers with the tokens of a person.
func WriteTokens(w http.ResponseWriter, r *http.Request, status int, v Tokens) {
	view := tokensView{
		frame:   newFrame("Your tokens", v.SiteName),
		nav:     nav{HomeLink: v.HomeLink, TokensLink: v.Action, CredentialsLink: v.CredentialsLink, OnTokens: true},
		Action:  v.Action,
		Ticket:  v.Ticket,
		Account: address(v.Account),
		Notice:  sentence(v.Notice),
		Error:   sentence(v.Error),
		Name:    DisplayName(v.Name),
	}
	view.Wide = true
	if view.Error != "" {
		view.Title = "Error: " + view.Title
	}
	for i, res := range v.Resources {
		name, where := DisplayName(res.Name), address(res.URI)
		if name == "" {
			name, where = where, ""
		}
		view.Resources = append(view.Resources, choiceRow{"resource-" + strconv.Itoa(i), res.URI, name, where, res.Chosen})
	}
	for i, s := range v.Scopes {
		where := ""
		if at := and(s.Resources); at != "" {
			where = "at " + at
		}
		view.Scopes = append(view.Scopes, choiceRow{"scope-" + strconv.Itoa(i), s.Name, DisplayName(s.Name), where, s.Chosen})
	}
	for _, days := range v.Days {
		view.Lives = append(view.Lives, lifeRow{days, life(days), days == v.Life})
	}
	for _, t := range v.Tokens {
		row := tokenRow{
			ID: t.ID, Name: DisplayName(t.Name), Label: DisplayName(t.Label), Scopes: names(t.Scopes),
			CreatedAt: momentOf(t.CreatedAt, v.Now), ExpiresAt: momentOf(t.ExpiresAt, v.Now),
		}
		for _, uri := range t.Resources {
			row.Resources = append(row.Resources, address(uri))
		}
		view.Tokens = append(view.Tokens, row)
	}
	write(w, r, status, tokensPage, view)
}

func life(days int) string {
	switch {
	case days == 365:
		return "1 year"
	case days == 1:
		return "1 day"
	}
	return strconv.Itoa(days) + " days"
}

type mintedView struct {
	frame
	Token, Name, Link, Example, Expires string
}

// WriteMinted answers with a token that has just been made.
func WriteMinted(w http.ResponseWriter, r *http.Request, v MintedToken) {
	write(w, r, http.StatusOK, mintedPage, mintedView{
		frame: newFrame("Your new token", v.SiteName),
		Token: v.Token, Name: DisplayName(v.Name), Link: v.Link, Example: address(v.Example),
		// What somebody writes down who has to renew it.
		Expires: v.ExpiresAt.UTC().Format(dateForm),
	})
}
