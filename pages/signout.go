package pages

import "net/http"

// SignOut asks whether to sign out. The form posts ticket.
type SignOut struct {
	Action, Ticket string
	// Account is who is signed in.
	Account  string
	SiteName string
}

type signOutView struct {
	frame
	Action, Ticket, Account string
}

// WriteSignOut answers with the sign-out page, status 200.
func WriteSignOut(w http.ResponseWriter, r *http.Request, v SignOut) {
	write(w, r, http.StatusOK, signOutPage, signOutView{
		frame:   newFrame("Sign out", v.SiteName),
		Action:  v.Action,
		Ticket:  v.Ticket,
		Account: address(v.Account),
	})
}
