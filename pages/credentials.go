package pages

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Credentials shows a person what the servers of the site may use in their name at other services. Every
// form posts ticket, the server's ID as "server", and a button's value as "action": store (with
// "credential"), remove, connect or disconnect.
type Credentials struct {
	Action, Ticket string
	// Account is who is signed in.
	Account string
	Servers []CredentialServer
	// SignOut is the path of the sign-out page. May be empty.
	SignOut  string
	SiteName string
}

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
	// Error says what was wrong with what the person sent.
	Error string
}

type credentialsView struct {
	frame
	Action, Ticket, Account, SignOut string
	Servers                          []credentialServerView
}

type credentialServerView struct {
	ID, Field, Name, Resource string
	Hint                      []hintPart
	Connects, Stored, Ended   bool
	Since, Used               string
	Error                     string
}

// hintPart is a word of a hint, and where it leads if it is a URL.
type hintPart struct{ Text, Link string }

// WriteCredentials answers with the page.
func WriteCredentials(w http.ResponseWriter, r *http.Request, status int, v Credentials) {
	view := credentialsView{
		Action: v.Action, Ticket: v.Ticket, Account: address(v.Account), SignOut: v.SignOut,
	}
	title := "Your credentials"
	for i, s := range v.Servers {
		if s.Error != "" {
			title = "Error: Your credentials"
		}
		view.Servers = append(view.Servers, credentialServerView{
			ID: s.ID, Field: "server-" + strconv.Itoa(i+1), Name: DisplayName(s.Name), Resource: address(s.Resource), Hint: hintParts(s.Hint),
			Connects: s.Connects, Stored: s.Stored, Ended: s.Ended, Since: day(s.Since), Used: day(s.Used), Error: sentence(s.Error),
		})
	}
	view.frame = newFrame(title, v.SiteName)
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

// day writes a date that reads the same everywhere, "" for none.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006")
}
