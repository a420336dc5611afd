// Package page is where a signed-in person sees, gives and takes back the credentials that upstreams get
// in their name. It decides about forms and answers with pages; keeping and using credentials is the
// business of package credentials, and who is signed in is told to it.
package page

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// CallbackPath is where the authorization server of a resource's upstream sends the browser back to. The
// path of the resource is in it, so that no two have the same (RFC 9700, section 4.4).
func CallbackPath(resource string) string { return "/oauth2/connect" + resource + "/callback" }

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
	// Path is where the page is, such as "/my/credentials". HomePath and TokensPath are those of the
	// person's other pages.
	Path, HomePath, TokensPath string

	Keeper  *credentials.Keeper
	Servers []Server

	Vault *sessions.Vault
	Forms forms.Forms

	// Session returns the session of the browser that sent a request, or nil. An error means that it
	// cannot be told now.
	Session func(*http.Request) (*sessions.Browser, error)
	// SignIn answers a browser in which nobody is signed in.
	SignIn http.HandlerFunc
	// ClientAddr tells the network address a request really comes from.
	ClientAddr func(*http.Request) string

	SiteName string
	Audit    audit.Recorder
	Logger   *zap.Logger
	Now      func() time.Time
}

// Page answers the page and the callbacks of one site.
type Page struct {
	Config
	endpoints map[string]http.HandlerFunc
	samples   audit.Sampler
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
// for byte. A nil Page has none.
func (p *Page) Endpoint(path string) http.HandlerFunc {
	if p == nil {
		return nil
	}
	return p.endpoints[path]
}

func (p *Page) serve(w http.ResponseWriter, r *http.Request) {
	b, err := p.Session(r)
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case err != nil:
		p.failed(w, r, "loading a browser session", err)
	case !reads && r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, HEAD, POST")
		p.problem(w, r, http.StatusMethodNotAllowed, "This did not work", "This address is for a browser.")
	case b == nil && reads:
		p.SignIn(w, r)
	case b == nil:
		p.signedOut(w, r)
	case reads:
		p.render(w, r, b, http.StatusOK, nil, "")
	default:
		p.act(w, r, b)
	}
}

// render answers with the page, with what was wrong about one server, if anything was.
func (p *Page) render(w http.ResponseWriter, r *http.Request, b *sessions.Browser, status int, about *Server, wrong string) {
	sealed, err := p.newTicket(w, r, b)
	view := pages.Credentials{
		Action: p.Path, Ticket: sealed, HomeLink: p.HomePath, TokensLink: p.TokensPath,
		Account: cmp.Or(b.User.Email, b.User.Name, b.User.Subject), Error: wrong, Now: p.Now(), SiteName: p.SiteName,
	}
	if wrong == "" {
		view.Notice = notices[noticeOf(r)]
	}
	for i := range p.Servers {
		s := &p.Servers[i]
		if err != nil || !s.Allows(b.User) {
			continue
		}
		var state credentials.State
		state, err = p.Keeper.State(r.Context(), b.User, s.Upstream)
		view.Servers = append(view.Servers, pages.CredentialServer{
			ID: s.ID, Name: s.Upstream.Name, Resource: s.Upstream.Resource, Hint: s.Upstream.Hint,
			Connects: s.Upstream.OAuth != nil, Stored: state.Stored, Ended: state.Ended, Since: state.Since, Used: state.Used,
			Wrong: s == about,
		})
	}
	if err != nil {
		p.failed(w, r, "loading a person's credentials", err)
		return
	}
	pages.WriteCredentials(w, r, status, view)
}

// server returns the server with an id, if the person may use it.
func (p *Page) server(id string, user sessions.User) *Server {
	for i := range p.Servers {
		if s := &p.Servers[i]; s.ID == id && s.Allows(user) {
			return s
		}
	}
	return nil
}

// problem answers with a notice that leads back to the page.
func (p *Page) problem(w http.ResponseWriter, r *http.Request, status int, title, text string) {
	pages.WriteMessage(w, r, status, pages.Message{
		Title: title, Text: text, Link: p.Path, LinkText: "Your credentials", SiteName: p.SiteName,
	})
}

func (p *Page) signedOut(w http.ResponseWriter, r *http.Request) {
	p.problem(w, r, http.StatusForbidden, "You are signed out",
		"Nothing was changed, because nobody is signed in here with this browser any more.")
}

// failed answers for an outage, or for something that nobody outside can do anything about.
func (p *Page) failed(w http.ResponseWriter, r *http.Request, doing string, err error) {
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

// recordForeign records what another site had the browser do, or another person: of what one address causes the
// first in each minute. It is not the person at the browser who wanted it.
func (p *Page) recordForeign(r *http.Request, user sessions.User, resource, reason string) {
	addr := p.ClientAddr(r)
	if p.samples.First(reason+"\x00"+addr, p.Now()) {
		p.Audit.Record(r.Context(), audit.Event{
			Type: audit.AccessDenied, Reason: reason, Subject: user.Subject, Email: user.Email, Resource: resource, ClientAddr: addr,
		})
	}
}

func (p *Page) record(r *http.Request, user sessions.User, s *Server, allowed bool, reason string) {
	p.Audit.Record(r.Context(), audit.Event{
		Type: audit.CredentialChanged, Allowed: allowed, Reason: reason, By: audit.ByPerson,
		Subject: user.Subject, Email: user.Email, Resource: s.Upstream.Resource, ClientAddr: p.ClientAddr(r),
	})
}
