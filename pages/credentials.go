package pages

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Credentials is the page on which a person gives credentials for the servers of the site to use in their
// name at other services. Each form posts ticket, "do" with one of the actions below, and the server's
// ID as "id"; storing posts the token as "credential".
type Credentials struct {
	Action, Ticket string
	// HomeLink is the path of the person's page, TokensLink that of their tokens.
	HomeLink, TokensLink string
	Account              string

	Notice, Error string

	Servers []CredentialServer

	Now      time.Time
	SiteName string
}

// What the forms of [Credentials] post as "do".
const (
	DoStore             = "store"
	DoRemove            = "remove"
	DoConnect           = "connect"
	DoDisconnectAccount = "disconnect"
)

// CredentialServer is one server that wants a credential of the person.
type CredentialServer struct {
	ID string
	// Name and Resource name the server: "GitHub tools", "https://mcp.example.com/github".
	Name, Resource string
	// Hint is the operator's advice where to get a token. Its http and https URLs become links.
	Hint string
	// Connects is set if the person connects an account instead of storing a token.
	Connects bool
	// Stored is set if there is one; Ended if it has to be connected again.
	Stored, Ended bool
	Since, Used   time.Time
	// Wrong marks the server that the page's Error is about.
	Wrong bool
}

type credentialsView struct {
	frame
	nav
	Action, Ticket, Account, Notice, Error string
	Servers                                []credentialRow
}

type credentialRow struct {
	ID, Field, Name, Resource      string
	Hint                           []hintPart
	Connects, Stored, Ended, Error bool
	Since, Used                    moment
}

// hintPart is a word of a hint, and where it leads if it is a URL.
type hintPart struct{ Text, Link string }

// WriteCredentials answers with the credentials of a person.
func WriteCredentials(w http.ResponseWriter, r *http.Request, status int, v Credentials) {
	view := credentialsView{
		frame:   newFrame("Your credentials", v.SiteName),
		nav:     nav{HomeLink: v.HomeLink, TokensLink: v.TokensLink, CredentialsLink: v.Action, OnCredentials: true},
		Action:  v.Action,
		Ticket:  v.Ticket,
		Account: address(v.Account),
		Notice:  sentence(v.Notice),
		Error:   sentence(v.Error),
	}
	view.Wide = true
	if view.Error != "" {
		view.Title = "Error: " + view.Title
	}
	for i, s := range v.Servers {
		view.Servers = append(view.Servers, credentialRow{
			ID: s.ID, Field: "server-" + strconv.Itoa(i), Name: DisplayName(s.Name), Resource: address(s.Resource),
			Hint: hintParts(s.Hint), Connects: s.Connects, Stored: s.Stored, Ended: s.Ended, Error: s.Wrong && view.Error != "",
			Since: momentOf(s.Since, v.Now), Used: momentOf(s.Used, v.Now),
		})
	}
	write(w, r, status, credentialsPage, view)
}

// hintParts finds the URLs in a hint.
func hintParts(hint string) []hintPart {
	var parts []hintPart
	for word := range strings.FieldsSeq(sentence(hint)) {
		part := hintPart{Text: word}
		if bare := strings.TrimRight(word, ".,;:!?)"); strings.HasPrefix(bare, "http") && webLink(bare) {
			part.Link = bare
		}
		parts = append(parts, part)
	}
	return parts
}
