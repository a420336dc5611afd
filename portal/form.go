package portal

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// ticket is the hidden field of every form here. It is good in one browser, and as long as the session
// that the page was shown to.
type ticket struct {
	ID      sessions.ID `json:"i"`
	Browser sessions.ID `json:"b"`
	Session sessions.ID `json:"s"`
}

// newTicket seals a ticket for this browser, which may set a cookie.
func (p *Portal) newTicket(w http.ResponseWriter, r *http.Request, b *sessions.Browser) (string, error) {
	id, err := p.Forms.Browser(w, r)
	if err != nil {
		return "", err
	}
	return p.Vault.SealJSON(sessions.PortalTicket, ticket{ID: sessions.NewID(), Browser: id, Session: b.ID})
}

// readForm reads a form that was shown to this session in this browser, or answers and returns false.
func (p *Portal) readForm(w http.ResponseWriter, r *http.Request, b *sessions.Browser) (url.Values, ticket, bool) {
	form, err := p.Forms.Read(w, r, "resource", "scope")
	if err != nil {
		p.problem(w, r, p.formProblem(r, b, err))
		return nil, ticket{}, false
	}
	var t ticket
	err = p.Vault.OpenJSON(sessions.PortalTicket, form.Get("ticket"), &t)
	id, known := p.Forms.KnownBrowser(r)
	switch {
	case errors.Is(err, sessions.ErrUnavailable):
		p.problem(w, r, unavailable)
	case err != nil, !known, id != t.Browser, b.ID != t.Session:
		p.problem(w, r, stale)
	default:
		return form, t, true
	}
	return nil, ticket{}, false
}

func (p *Portal) formProblem(r *http.Request, b *sessions.Browser, err error) problem {
	switch {
	case errors.Is(err, forms.ErrForeign):
		if p.samples.First(p.ClientAddr(r), p.Now()) {
			e := p.event(r, audit.AccessDenied, b)
			// It is not the person who sent it.
			e.Allowed, e.By, e.Reason = false, "", "form sent from another site"
			p.record(r, e)
		}
		return foreign
	case errors.Is(err, forms.ErrEarlyData):
		return early
	}
	return unreadable
}

// back sends the browser to one of the pages, which will say what was done. 303 makes it a GET, so that
// reloading the page does nothing again.
func (p *Portal) back(w http.ResponseWriter, path string, done notice) {
	h := w.Header()
	h.Set("Location", path+"?done="+string(done))
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// notice names what was done. A URL can name one of these and nothing else, so nobody's link puts their
// words onto the page.
type notice string

const (
	disconnected        notice = "disconnected"
	allDisconnected     notice = "all_disconnected"
	withdrawn           notice = "withdrawn"
	browserEnded        notice = "browser_signed_out"
	signedOutEverywhere notice = "signed_out_everywhere"
	tokenRevoked        notice = "token_revoked"
)

var notices = map[notice]string{
	disconnected:    "The application is disconnected. It has to ask you again before it can connect.",
	allDisconnected: "All applications are disconnected.",
	withdrawn:       "You will be asked again when the application connects.",
	browserEnded:    "The browser is signed out.",
	tokenRevoked:    "The token is revoked.",
	// The page that would say so is not shown to anybody who is signed out.
	signedOutEverywhere: "",
}

// noticeOf returns what the URL of a page says was done, if it is something that can have been.
func noticeOf(r *http.Request) notice {
	params, err := forms.Parse(r.URL.RawQuery)
	if err != nil || forms.Repeated(params) {
		return ""
	}
	done := notice(params.Get("done"))
	if _, ok := notices[done]; !ok {
		return ""
	}
	return done
}
