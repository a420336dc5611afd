package page

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// act takes a form of the page.
func (p *Page) act(w http.ResponseWriter, r *http.Request) {
	form, err := p.Visitors.ReadForm(w, r)
	if err != nil {
		p.message(w, r, http.StatusForbidden, "Request refused", "This form was not sent from the page, or cannot be read.")
		return
	}
	session := p.session(w, r)
	if session == nil {
		return
	}
	browser, ok := p.holds(r, form.Get("ticket"), session)
	if !ok {
		p.message(w, r, http.StatusBadRequest, "This page has expired", "It was open for too long, or belongs to another sign-in. Open it again.")
		return
	}
	s := p.server(form.Get("server"), session.User)
	if s == nil {
		p.message(w, r, http.StatusNotFound, "There is no such server", "It is no longer here, or you may not use it.")
		return
	}
	oauth := s.Upstream.OAuth != nil
	switch action := form.Get("action"); {
	case action == "store" && !oauth:
		p.store(w, r, session, s, form.Get("credential"))
	case action == "connect" && oauth:
		p.connect(w, r, credentials.Visit{Person: session.User, Session: session.ID, Browser: browser}, s)
	case action == "remove" && !oauth, action == "disconnect" && oauth:
		p.remove(w, r, session.User, s)
	default:
		p.message(w, r, http.StatusBadRequest, "This did not work", "The form asks for something that this server does not offer.")
	}
}

// holds opens a ticket for the browser and the sign-in that it was made for.
func (p *Page) holds(r *http.Request, sealed string, session *sessions.Browser) (browser sessions.ID, ok bool) {
	var t ticket
	if p.Vault.OpenJSON(sessions.CredentialTicket, sealed, &t) != nil || p.Now().Unix() >= t.Expires || t.Session != session.ID {
		return sessions.ID{}, false
	}
	browser, known := p.Visitors.KnownBrowser(r)
	return browser, known && browser == t.Browser
}

// store takes a token that was typed in, or rather pasted, with what is around it.
func (p *Page) store(w http.ResponseWriter, r *http.Request, session *sessions.Browser, s *Server, secret string) {
	replaced, err := p.Keeper.Put(r.Context(), session.User, s.Upstream, strings.TrimSpace(secret))
	switch {
	case errors.Is(err, credentials.ErrSecret):
		p.render(w, r, session, http.StatusBadRequest, s, "That is no token: a token is one word of letters, digits and punctuation, with no spaces or line breaks.")
		return
	case err != nil:
		p.fail(w, r, "storing a credential", err)
		return
	}
	p.record(r, audit.CredentialStored, session.User, s, true, reason(replaced, "typed in"))
	p.back(w)
}

// connect sends the browser to the authorization server.
func (p *Page) connect(w http.ResponseWriter, r *http.Request, v credentials.Visit, s *Server) {
	address, err := p.Keeper.Connect(r.Context(), v, s.Upstream)
	switch {
	case errors.Is(err, credentials.ErrServerDown):
		p.serverDown(w, r, err)
	case err != nil:
		p.fail(w, r, "beginning to connect an account", err)
	default:
		redirect(w, address)
	}
}

// remove deletes a credential and revokes it.
func (p *Page) remove(w http.ResponseWriter, r *http.Request, user sessions.User, s *Server) {
	removal, err := p.Keeper.Remove(r.Context(), user, s.Upstream)
	if err != nil {
		p.fail(w, r, "removing a credential", err)
		return
	}
	if removal.Found {
		why := ""
		if removal.Untold {
			why = "the authorization server could not be told"
		}
		p.record(r, audit.CredentialRemoved, user, s, true, why)
	}
	if removal.Untold {
		p.message(w, r, http.StatusOK, "Disconnected here",
			"It is removed from this site, but the other service could not be told. To be sure, remove the access in your account there, too.")
		return
	}
	p.back(w)
}

// callback takes the answer of an authorization server for one upstream.
func (p *Page) callback(s *Server) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", "GET")
			p.message(w, r, http.StatusMethodNotAllowed, "This did not work", "This address takes a redirect of the other service only.")
			return
		}
		if r.TLS != nil && !r.TLS.HandshakeComplete {
			// Whoever recorded the request could send it again (RFC 8470, section 5.2).
			p.message(w, r, http.StatusTooEarly, "Please reload this page", "")
			return
		}
		session := p.session(w, r)
		if session == nil {
			return
		}
		browser, known := p.Visitors.KnownBrowser(r)
		if !known || !s.Allows(session.User) {
			p.stale(w, r)
			return
		}
		v := credentials.Visit{Person: session.User, Session: session.ID, Browser: browser}
		replaced, err := p.Keeper.Finish(r.Context(), v, s.Upstream, r.URL.Query())
		p.finished(w, r, session.User, s, replaced, err)
	}
}

func (p *Page) finished(w http.ResponseWriter, r *http.Request, user sessions.User, s *Server, replaced bool, err error) {
	switch {
	case err == nil:
		p.record(r, audit.CredentialStored, user, s, true, reason(replaced, "connected"))
		p.back(w)
	case errors.Is(err, credentials.ErrStale):
		p.stale(w, r)
	case errors.Is(err, credentials.ErrDeclined):
		p.record(r, audit.CredentialStored, user, s, false, "declined at the authorization server")
		p.message(w, r, http.StatusOK, "Not connected", "You or the other service declined. Nothing was stored.")
	case errors.Is(err, credentials.ErrServerDown):
		p.serverDown(w, r, err)
	case errors.Is(err, credentials.ErrAnswer):
		p.Logger.Warn("connecting an account failed", zap.String("resource", s.Upstream.Resource), zap.Error(err))
		p.record(r, audit.CredentialStored, user, s, false, "the authorization server's answer did not pass")
		p.message(w, r, http.StatusBadGateway, "Not connected", "The answer of the other service did not pass verification. Nothing was stored.")
	default:
		p.fail(w, r, "connecting an account", err)
	}
}

func (p *Page) stale(w http.ResponseWriter, r *http.Request) {
	p.message(w, r, http.StatusBadRequest, "Not connected",
		"This took too long, was finished already, or was begun in another browser or by somebody else. Nothing was stored.")
}

func (p *Page) serverDown(w http.ResponseWriter, r *http.Request, err error) {
	p.Logger.Warn("the authorization server of an upstream gives no answer", zap.Error(err))
	pages.WriteMessage(w, r, http.StatusServiceUnavailable, pages.Message{
		Title: "The other service cannot be reached", Text: "Connecting your account is not possible at the moment.", Advice: "Try again in a moment.",
		RetryAfter: 10 * time.Second, Link: p.Path, LinkText: "Your credentials", SiteName: p.SiteName,
	})
}

func reason(replaced bool, how string) string {
	if replaced {
		return how + ", in the place of another"
	}
	return how
}

// back shows the page anew, so that a reload sends nothing again.
func (p *Page) back(w http.ResponseWriter) { redirect(w, p.Path) }

func redirect(w http.ResponseWriter, address string) {
	h := w.Header()
	h.Set("Location", address)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}
