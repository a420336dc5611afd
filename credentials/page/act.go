package page

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// act takes a form of the page.
func (p *Page) act(w http.ResponseWriter, r *http.Request, b *sessions.Browser) {
	form, browser, ok := p.readForm(w, r, b)
	if !ok {
		return
	}
	s := p.server(form.Get("id"), b.User)
	if s == nil {
		p.problem(w, r, http.StatusNotFound, "There is no such server", "It is no longer here, or you may not use it.")
		return
	}
	oauth := s.Upstream.OAuth != nil
	switch do := form.Get("do"); {
	case do == pages.DoStore && !oauth:
		p.store(w, r, b, s, form.Get("credential"))
	case do == pages.DoConnect && oauth:
		p.connect(w, r, credentials.Visit{Person: b.User, Session: b.ID, Browser: browser}, s)
	case do == pages.DoRemove && !oauth, do == pages.DoDisconnectAccount && oauth:
		p.remove(w, r, b.User, s)
	default:
		p.problem(w, r, http.StatusBadRequest, "This did not work", "The form asks for something that this server does not offer.")
	}
}

// store takes a token that was typed in, or rather pasted, with what is around it.
func (p *Page) store(w http.ResponseWriter, r *http.Request, b *sessions.Browser, s *Server, secret string) {
	replaced, err := p.Keeper.Put(r.Context(), b.User, s.Upstream, strings.TrimSpace(secret))
	switch {
	case errors.Is(err, credentials.ErrSecret):
		p.render(w, r, b, http.StatusBadRequest, s, "That is no token. A token is one word of letters, digits and punctuation, without spaces or line breaks.")
	case err != nil:
		p.failed(w, r, "storing a credential", err)
	default:
		p.record(r, b.User, s, true, reason("upstream token stored", replaced))
		p.back(w, stored)
	}
}

// connect sends the browser to the authorization server.
func (p *Page) connect(w http.ResponseWriter, r *http.Request, v credentials.Visit, s *Server) {
	address, err := p.Keeper.Connect(r.Context(), v, s.Upstream)
	switch {
	case errors.Is(err, credentials.ErrServerDown):
		p.serverDown(w, r, err)
	case err != nil:
		p.failed(w, r, "beginning to connect an account", err)
	default:
		redirect(w, address)
	}
}

// remove deletes a credential and revokes it.
func (p *Page) remove(w http.ResponseWriter, r *http.Request, user sessions.User, s *Server) {
	removal, err := p.Keeper.Remove(r.Context(), user, s.Upstream)
	if err != nil {
		p.failed(w, r, "removing a credential", err)
		return
	}
	done, what := removed, "upstream token removed"
	if s.Upstream.OAuth != nil {
		done, what = disconnected, "upstream account disconnected"
	}
	if removal.Untold {
		what += "; the authorization server could not be told"
	}
	if removal.Found {
		p.record(r, user, s, true, what)
	}
	if removal.Untold {
		p.problem(w, r, http.StatusOK, "Disconnected here",
			"It is removed from this site, but the other service could not be told. To be sure, remove the access in your account there, too.")
		return
	}
	p.back(w, done)
}

// callback takes the answer of an authorization server for one upstream.
func (p *Page) callback(s *Server) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", "GET")
			p.problem(w, r, http.StatusMethodNotAllowed, "This did not work", "This address takes a redirect of the other service only.")
			return
		}
		if forms.EarlyData(r) {
			// Whoever recorded the request could send it again (RFC 8470, section 5.2).
			p.problem(w, r, http.StatusTooEarly, "Please reload this page", "It came too early in the connection to be trusted.")
			return
		}
		params, err := forms.Parse(r.URL.RawQuery)
		if err != nil || forms.Repeated(params) {
			p.problem(w, r, http.StatusBadRequest, "Not connected", "The answer of the other service cannot be read. Nothing was stored.")
			return
		}
		b, err := p.Session(r)
		browser, known := p.Forms.KnownBrowser(r)
		switch {
		case err != nil:
			p.failed(w, r, "loading a browser session", err)
		case b == nil:
			p.signedOut(w, r)
		case !known, !s.Allows(b.User):
			p.stale(w, r, b.User, s)
		default:
			v := credentials.Visit{Person: b.User, Session: b.ID, Browser: browser}
			replaced, err := p.Keeper.Finish(r.Context(), v, s.Upstream, params)
			p.finished(w, r, b.User, s, replaced, err)
		}
	}
}

func (p *Page) finished(w http.ResponseWriter, r *http.Request, user sessions.User, s *Server, replaced bool, err error) {
	const what = "upstream account connected"
	switch {
	case err == nil:
		p.record(r, user, s, true, reason(what, replaced))
		p.back(w, connected)
	case errors.Is(err, credentials.ErrStale):
		p.stale(w, r, user, s)
	case errors.Is(err, credentials.ErrDeclined):
		p.record(r, user, s, false, "upstream account declined")
		p.problem(w, r, http.StatusOK, "Not connected", "You or the other service declined. Nothing was stored.")
	case errors.Is(err, credentials.ErrServerDown):
		p.serverDown(w, r, err)
	case errors.Is(err, credentials.ErrAnswer):
		p.Logger.Warn("connecting an account failed", zap.String("resource", s.Upstream.Resource), zap.Error(err))
		p.record(r, user, s, false, "the upstream's authorization server gave an answer that does not pass")
		p.problem(w, r, http.StatusBadGateway, "Not connected", "The answer of the other service did not pass verification. Nothing was stored.")
	default:
		p.failed(w, r, "connecting an account", err)
	}
}

func (p *Page) stale(w http.ResponseWriter, r *http.Request, user sessions.User, s *Server) {
	p.recordForeign(r, user, s.Upstream.Resource, "upstream account not begun here")
	p.problem(w, r, http.StatusBadRequest, "Not connected",
		"This took too long, was finished already, or was begun in another browser or by somebody else. Nothing was stored.")
}

func (p *Page) serverDown(w http.ResponseWriter, r *http.Request, err error) {
	p.Logger.Warn("the authorization server of an upstream gives no answer", zap.Error(err))
	pages.WriteMessage(w, r, http.StatusServiceUnavailable, pages.Message{
		Title: "The other service cannot be reached", Text: "Connecting your account is not possible at the moment.", Advice: "Try again in a moment.",
		RetryAfter: 10 * time.Second, Link: p.Path, LinkText: "Your credentials", SiteName: p.SiteName,
	})
}

func reason(what string, replaced bool) string {
	if replaced {
		return what + " in the place of another"
	}
	return what
}
