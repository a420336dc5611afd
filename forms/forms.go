// Package forms takes the forms of a site's own pages, and only those: what other sites make a browser
// send is refused, and what a page was given opens only in the browser that was shown the page. It
// knows nothing of what the forms are for.
package forms

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Why a form is not taken.
var (
	// ErrMethod means that the request is no POST.
	ErrMethod = errors.New("not a form")
	// ErrEarlyData means that the request can have been replayed on the network.
	ErrEarlyData = errors.New("form in TLS early data")
	// ErrForeign means that a page of another site sent it.
	ErrForeign = errors.New("form of another site")
	// ErrUnreadable means that it is malformed.
	ErrUnreadable = errors.New("unreadable form")
)

// browserLife is how long a browser is recognised by the cookie that ties tickets to it.
const browserLife = 24 * time.Hour

// Forms takes the forms of one site.
type Forms struct {
	// Origin is the site's own, as browsers send it.
	Origin  string
	Vault   *sessions.Vault
	Cookies sessions.Cookies
}

// Read reads a POST of one of the site's own pages and refuses those that other sites send. Tickets and
// their cookie already stop these; this stops them earlier and says so. The error is one of this
// package's. After ErrMethod, Allow is set.
func (f Forms) Read(w http.ResponseWriter, r *http.Request, repeatable ...string) (url.Values, error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		return nil, ErrMethod
	}
	if EarlyData(r) {
		return nil, ErrEarlyData
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" {
		return nil, ErrForeign
	}
	// A page with no-referrer posts "null" (Fetch standard, "append a request Origin header").
	if origin := r.Header.Get("Origin"); origin != "" && origin != "null" && origin != f.Origin {
		return nil, ErrForeign
	}
	form, err := Body(w, r, repeatable...)
	if err != nil {
		return nil, ErrUnreadable
	}
	return form, nil
}

// Browser returns the id of this browser, planting it when there is none. It ties tickets to a browser
// and says nothing about who uses it. The error is that of sealing.
func (f Forms) Browser(w http.ResponseWriter, r *http.Request) (sessions.ID, error) {
	if id, ok := f.KnownBrowser(r); ok {
		return id, nil
	}
	id := sessions.NewID()
	sealed, err := f.Vault.SealJSON(sessions.ConsentCookie, id.String())
	if err != nil {
		return sessions.ID{}, err
	}
	f.Cookies.Set(w, sessions.ConsentCookieName, sealed, browserLife)
	return id, nil
}

// KnownBrowser returns the id of this browser if it has one.
func (f Forms) KnownBrowser(r *http.Request) (sessions.ID, bool) {
	var text string
	if err := f.Vault.OpenJSON(sessions.ConsentCookie, f.Cookies.Get(r, sessions.ConsentCookieName), &text); err != nil {
		return sessions.ID{}, false
	}
	id, err := sessions.ParseID(text)
	return id, err == nil
}

// EarlyData reports whether a request came before the TLS handshake was complete, so that whoever
// recorded it could have sent it again (RFC 8470, section 5.2).
func EarlyData(r *http.Request) bool { return r.TLS != nil && !r.TLS.HandshakeComplete }
