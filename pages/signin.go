package pages

import (
	"net/http"
	"time"
)

// SignIn asks for the e-mail address and the password of a local user. The form posts email, password
// and state.
type SignIn struct {
	Action, State string
	// Email fills the field in again after a failed attempt.
	Email string
	// ClientName is the client that the person is signing in for; it may be empty.
	ClientName, SiteName string
	// Error is announced and shown above the fields. It should not tell whether the account exists.
	Error string
	// RetryAfter, if positive, is shown and sent as Retry-After.
	RetryAfter time.Duration
}

type signInView struct {
	frame
	Action, State, Email, ClientName, Error, Wait string
}

// WriteSignIn answers with the sign-in page.
func WriteSignIn(w http.ResponseWriter, r *http.Request, status int, v SignIn) {
	view := signInView{
		frame:      newFrame("Sign in", v.SiteName),
		Action:     v.Action,
		State:      v.State,
		Email:      address(v.Email),
		ClientName: DisplayName(v.ClientName),
		Error:      sentence(v.Error),
		Wait:       wait(v.RetryAfter),
	}
	if view.Error != "" {
		// The title is the first thing that a screen reader says about a new page.
		view.Title = "Error: " + view.Title
	}
	setRetryAfter(w.Header(), v.RetryAfter)
	write(w, r, status, signInPage, view)
}

// Provider is one identity provider to choose.
type Provider struct {
	// ID is posted as "provider"; Name is for people.
	ID, Name string
}

// Choose asks which identity provider to sign in with. Each button posts provider and ticket; the
// field for an e-mail address, if there is one, posts email and ticket.
type Choose struct {
	Action, Ticket string
	Providers      []Provider
	// Purpose says what the person signs in for, if no page before has.
	Purpose string
	// ByEmail is set where an e-mail address can decide.
	ByEmail bool
	// Error is announced and shown above the choice.
	Error    string
	SiteName string
}

type chooseView struct {
	frame
	Action, Ticket, Error string
	Heading, Purpose      string
	Providers             []Provider
	ByEmail               bool
}

// WriteChoose answers with the choice of identity providers, status 200.
func WriteChoose(w http.ResponseWriter, r *http.Request, v Choose) {
	heading := "Choose how to sign in"
	if len(v.Providers) == 1 {
		heading = "Sign in"
	}
	view := chooseView{
		frame:   newFrame(heading, v.SiteName),
		Heading: heading,
		Purpose: sentence(v.Purpose),
		Action:  v.Action,
		Ticket:  v.Ticket,
		Error:   sentence(v.Error),
		ByEmail: v.ByEmail,
	}
	if view.Error != "" {
		view.Title = "Error: " + view.Title
	}
	for _, p := range v.Providers {
		name := DisplayName(p.Name)
		if name == "" {
			name = DisplayName(p.ID)
		}
		view.Providers = append(view.Providers, Provider{ID: p.ID, Name: name})
	}
	write(w, r, http.StatusOK, choosePage, view)
}
