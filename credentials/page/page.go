// Package page is where a signed-in person sees, gives and takes back the credentials that upstreams get
// in their name. It decides about forms and answers with pages; keeping and using credentials is the
// business of package credentials.
package page

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// connectPath stands before the path of a resource in the callback of its upstream.
const connectPath = "/oauth2/connect"

// CallbackPath is where the authorization server of a resource's upstream sends the browser back to. The
// path of the resource is in it, so that no two have the same (RFC 9700, section 4.4).
func CallbackPath(resource string) string { return connectPath + resource + "/callback" }

// Visitors knows who is at a browser, and which forms are the site's own.
type Visitors interface {
	// SignedIn returns the session of the browser that sent r, or nil. The error is an outage.
	SignedIn(r *http.Request) (*sessions.Browser, error)

	// ReadForm reads a POST of one of the site's own pages; the error refuses it.
	ReadForm(w http.ResponseWriter, r *http.Request) (url.Values, error)

	// Browser returns the id of the browser that sent r, planting it when there is none; KnownBrowser
	// returns it if it has one.
	Browser(w http.ResponseWriter, r *http.Request) (sessions.ID, error)
	KnownBrowser(r *http.Request) (sessions.ID, bool)
}

// Server is an MCP server whose upstream wants credentials.
type Server struct {
	// ID is the path of the resource, "" for the whole site.
	ID       string
	Upstream *credentials.Upstream
	// Allows reports whether a person may use it at all.
	Allows func(sessions.User) bool
}

// Config is what a Page is made of. Every field is needed.
type Config struct {
	// Path is where the page is, such as "/my/credentials".
	Path string

	Keeper   *credentials.Keeper
	Servers  []Server
	Visitors Visitors
	Vault    *sessions.Vault

	SiteName string
	// SignOut is the path of the sign-out page.
	SignOut string

	ClientAddr func(*http.Request) string
	Audit      audit.Recorder
	Logger     *zap.Logger
	Now        func() time.Time
}

// Page answers the page and the callbacks of one site.
type Page struct {
	Config
	endpoints map[string]http.HandlerFunc
}

// New makes a page. It does no I/O.
func New(c Config) *Page {
	p := &Page{Config: c, endpoints: make(map[string]http.HandlerFunc)}
	p.endpoints[c.Path] = p.serve
	for i := range c.Servers {
		s := &c.Servers[i]
		if s.Upstream.OAuth != nil {
			p.endpoints[CallbackPath(s.ID)] = p.callback(s)
		}
	}
	return p
}

// Endpoint returns the handler of a path, or nil when it is none of the page's. Paths are compared byte
// for byte.
func (p *Page) Endpoint(path string) http.HandlerFunc { return p.endpoints[path] }

func (p *Page) serve(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		p.show(w, r)
	default:
		p.act(w, r)
	}
}

// ticketLife is how long the page may stay open before it is used.
const ticketLife = 12 * time.Hour

// ticket is the hidden field of the forms. It is good for one sign-in in one browser; what the forms do can
// be done again without harm.
type ticket struct {
	Browser sessions.ID `json:"b"`
	Session sessions.ID `json:"s"`
	Expires int64       `json:"e"`
}

func (p *Page) show(w http.ResponseWriter, r *http.Request) {
	session := p.session(w, r)
	if session == nil {
		return
	}
	p.render(w, r, session, http.StatusOK, nil, "")
}

// render answers with the page, with what was wrong about one server, if anything was.
func (p *Page) render(w http.ResponseWriter, r *http.Request, session *sessions.Browser, status int, about *Server, wrong string) {
	browser, err := p.Visitors.Browser(w, r)
	var sealed string
	if err == nil {
		sealed, err = p.Vault.SealJSON(sessions.CredentialTicket, ticket{
			Browser: browser, Session: session.ID, Expires: p.Now().Add(ticketLife).Unix(),
		})
	}
	if err != nil {
		p.fail(w, r, "sealing a ticket", err)
		return
	}
	view := pages.Credentials{
		Action: p.Path, Ticket: sealed, Account: accountName(session.User), SignOut: p.SignOut, SiteName: p.SiteName,
	}
	for i := range p.Servers {
		s := &p.Servers[i]
		if !s.Allows(session.User) {
			continue
		}
		state, err := p.Keeper.State(r.Context(), session.User, s.Upstream)
		if err != nil {
			p.fail(w, r, "loading a credential", err)
			return
		}
		server := pages.CredentialServer{
			ID: s.ID, Name: s.Upstream.Name, Resource: s.Upstream.Resource, Hint: s.Upstream.Hint,
			Connects: s.Upstream.OAuth != nil, Stored: state.Stored, Ended: state.Ended, Since: state.Since, Used: state.Used,
		}
		if s == about {
			server.Error = wrong
		}
		view.Servers = append(view.Servers, server)
	}
	pages.WriteCredentials(w, r, status, view)
}

// session returns who is signed in, or answers.
func (p *Page) session(w http.ResponseWriter, r *http.Request) *sessions.Browser {
	session, err := p.Visitors.SignedIn(r)
	switch {
	case err != nil:
		p.fail(w, r, "loading a browser session", err)
	case session == nil:
		pages.WriteMessage(w, r, http.StatusForbidden, pages.Message{
			Title:    "You are not signed in here",
			Text:     "This page belongs to people who are signed in with this browser.",
			Advice:   "Connect an application, such as Claude Code, to a server of this site: that signs you in. Then open this page again in the same browser.",
			SiteName: p.SiteName,
		})
	}
	return session
}

func (p *Page) server(id string, user sessions.User) *Server {
	for i := range p.Servers {
		if s := &p.Servers[i]; s.ID == id && s.Allows(user) {
			return s
		}
	}
	return nil
}

// fail answers for an outage, or for something that nobody outside can do anything about.
func (p *Page) fail(w http.ResponseWriter, r *http.Request, doing string, err error) {
	if errors.Is(err, sessions.ErrUnavailable) {
		p.Logger.Warn(doing, zap.Error(err))
		pages.WriteMessage(w, r, http.StatusServiceUnavailable, pages.Message{
			Title: "Not available at the moment", Text: "The server cannot reach its session store.",
			Advice: "Try again in a moment.", RetryAfter: 5 * time.Second, SiteName: p.SiteName,
		})
		return
	}
	var b [4]byte
	_, _ = rand.Read(b[:])
	id := hex.EncodeToString(b[:])
	p.Logger.Error(doing, zap.String("error_id", id), zap.Error(err))
	pages.WriteMessage(w, r, http.StatusInternalServerError, pages.Message{
		Title: "This did not work", Text: "Something went wrong on the server.",
		Advice: "Try again. If it happens again, tell the operator the error id below.", ID: id, SiteName: p.SiteName,
	})
}

// message answers with a notice that leads back to the page.
func (p *Page) message(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	pages.WriteMessage(w, r, status, pages.Message{
		Title: title, Text: text, Link: p.Path, LinkText: "Your credentials", SiteName: p.SiteName,
	})
}

func (p *Page) record(r *http.Request, kind audit.Type, user sessions.User, s *Server, allowed bool, reason string) {
	p.Audit.Record(r.Context(), audit.Event{
		Type: kind, Allowed: allowed, Reason: reason, Subject: user.Subject, Email: user.Email,
		Resource: s.Upstream.Resource, ClientAddr: p.ClientAddr(r),
	})
}

// accountName is how a person recognises their account.
func accountName(u sessions.User) string { return cmp.Or(u.Email, u.Name, u.Subject) }
