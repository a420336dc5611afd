// Package portal is the page of a signed-in person: which clients act for them, where they are signed
// in, what they have made; and how they end it. It knows nothing of OAuth requests and issues no OAuth
// token; whoever is signed in is told to it.
package portal

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// tokensPath is where the tokens are, below the path of the page.
const tokensPath = "/tokens"

// Resource is a protected resource, as a person sees it.
type Resource struct {
	// URI is the resource identifier, Name what people call it.
	URI, Name string
	// Scopes are those that exist there.
	Scopes []string
}

// Config is what a Portal is made of. Every field without a default is needed.
type Config struct {
	// Path is where the page is, such as "/my".
	Path string
	// CredentialsPath is where a person gives credentials for upstreams. Default: there is no such link.
	CredentialsPath string
	// SignOutPath is where a person signs out of this browser. Default: there is no such link.
	SignOutPath string

	Vault   *sessions.Vault
	Cookies sessions.Cookies
	Forms   forms.Forms

	// Session returns the session of the browser that sent a request, or nil. An error means that it
	// cannot be told now.
	Session func(*http.Request) (*sessions.Browser, error)
	// SignIn answers a browser in which nobody is signed in.
	SignIn http.HandlerFunc

	// Resources lists the resources that a person may use, all of them where there is no person.
	Resources func(*sessions.User) []Resource
	// ProviderName tells what people call an identity provider, by its id.
	ProviderName func(id string) string
	// ClientAddr tells the network address a request really comes from.
	ClientAddr func(*http.Request) string

	SiteName string
	Audit    audit.Recorder
	Logger   *zap.Logger
	Now      func() time.Time
}

// Portal answers the pages of one site's people.
type Portal struct {
	Config
	endpoints map[string]handler
	samples   audit.Sampler
}

// handler answers for a person who is signed in.
type handler func(http.ResponseWriter, *http.Request, *sessions.Browser)

// New makes a portal. It does no I/O.
func New(c Config) *Portal {
	p := &Portal{Config: c}
	p.endpoints = map[string]handler{
		c.Path:              p.byMethod(p.showHome, p.actAtHome),
		c.Path + tokensPath: p.byMethod(p.showTokens, p.actOnTokens),
	}
	return p
}

// Endpoint returns the handler of a path, or nil when it is none of ours. Paths are compared byte for
// byte: another spelling is a path of the protected site. A nil Portal has none.
func (p *Portal) Endpoint(path string) http.HandlerFunc {
	if p == nil {
		return nil
	}
	serve := p.endpoints[path]
	if serve == nil {
		return nil
	}
	return func(w http.ResponseWriter, r *http.Request) {
		session, err := p.Session(r)
		switch {
		case err != nil:
			p.problem(w, r, unavailable)
		case session != nil:
			serve(w, r, session)
		case r.Method == http.MethodPost:
			// What the form would have done is not done later, by whoever signs in then.
			p.problem(w, r, signedOut)
		case noticeOf(r) == signedOutEverywhere:
			p.problem(w, r, goodbye)
		default:
			p.SignIn(w, r)
		}
	}
}

func (p *Portal) byMethod(show, act handler) handler {
	return func(w http.ResponseWriter, r *http.Request, b *sessions.Browser) {
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			show(w, r, b)
		case http.MethodPost:
			act(w, r, b)
		default:
			w.Header().Set("Allow", "GET, HEAD, POST")
			p.problem(w, r, wrongMethod)
		}
	}
}

// event is what all events of a person's own doing have in common.
func (p *Portal) event(r *http.Request, kind audit.Type, b *sessions.Browser) audit.Event {
	return audit.Event{
		Type: kind, Allowed: true, By: audit.ByPerson,
		Subject: b.User.Subject, Email: b.User.Email, ClientAddr: p.ClientAddr(r),
	}
}

func (p *Portal) record(r *http.Request, e audit.Event) { p.Audit.Record(r.Context(), e) }
