package page

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// ticket is the hidden field of every form here. It is good in one browser, and as long as the session
// that the page was shown to; what the forms do can be done again without harm.
type ticket struct {
	Browser sessions.ID `json:"b"`
	Session sessions.ID `json:"s"`
}

// newTicket seals a ticket for this browser, which may set a cookie.
func (p *Page) newTicket(w http.ResponseWriter, r *http.Request, b *sessions.Browser) (string, error) {
	id, err := p.Forms.Browser(w, r)
	if err != nil {
		return "", err
	}
	return p.Vault.SealJSON(sessions.CredentialTicket, ticket{Browser: id, Session: b.ID})
}

// readForm reads a form that was shown to this session in this browser, or answers and returns false.
func (p *Page) readForm(w http.ResponseWriter, r *http.Request, b *sessions.Browser) (url.Values, sessions.ID, bool) {
	form, err := p.Forms.Read(w, r)
	switch {
	case errors.Is(err, forms.ErrForeign):
		p.recordForeign(r, b.User, "", "form sent from another site")
		p.problem(w, r, http.StatusForbidden, "Request refused", "This form was sent from another website. Nothing was changed.")
		return nil, sessions.ID{}, false
	case errors.Is(err, forms.ErrEarlyData):
		p.problem(w, r, http.StatusTooEarly, "Please send the form again", "It came too early in the connection to be trusted.")
		return nil, sessions.ID{}, false
	case err != nil:
		p.problem(w, r, http.StatusBadRequest, "This did not work", "The form cannot be read. Nothing was changed.")
		return nil, sessions.ID{}, false
	}
	var t ticket
	err = p.Vault.OpenJSON(sessions.CredentialTicket, form.Get("ticket"), &t)
	id, known := p.Forms.KnownBrowser(r)
	switch {
	case errors.Is(err, sessions.ErrUnavailable):
		p.failed(w, r, "opening a ticket", err)
	case err != nil, !known, id != t.Browser, b.ID != t.Session:
		p.problem(w, r, http.StatusBadRequest, "This page has expired", "It was made for another sign-in or another browser. Nothing was changed.")
	default:
		return form, id, true
	}
	return nil, sessions.ID{}, false
}

// notice names what was done. A URL can name one of these and nothing else, so nobody's link puts their
// words onto the page.
type notice string

const (
	stored       notice = "stored"
	removed      notice = "removed"
	connected    notice = "connected"
	disconnected notice = "disconnected"
)

var notices = map[notice]string{
	stored:       "The token is stored. Go back to your application and try again.",
	removed:      "The token is removed.",
	connected:    "Your account is connected. Go back to your application and try again.",
	disconnected: "Your account is disconnected, here and at the other service.",
}

// noticeOf returns what the URL of the page says was done, if it is something that can have been.
func noticeOf(r *http.Request) notice {
	params, err := forms.Parse(r.URL.RawQuery)
	if err != nil || forms.Repeated(params) {
		return ""
	}
	return notice(params.Get("done"))
}

// back shows the page anew, which says what was done. A reload sends nothing again.
func (p *Page) back(w http.ResponseWriter, done notice) {
	redirect(w, p.Path+"?done="+string(done))
}

func redirect(w http.ResponseWriter, address string) {
	h := w.Header()
	h.Set("Location", address)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}
