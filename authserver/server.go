// Package authserver is the OAuth 2.1 authorization server: the browser leg (authorization request,
// consent, sign-in, code) and the machine leg (token, revocation, registration). It sees no MCP
// message and guards no resource; what it issues is checked elsewhere.
package authserver

import (
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

// The endpoints, below the issuer.
const (
	AuthorizePath = "/oauth2/auth"
	DevicePath    = "/oauth2/device"
	ConsentPath   = "/oauth2/consent"
	ChoosePath    = "/oauth2/choose"
	LoginPath     = "/oauth2/login"
	CallbackPath  = "/oauth2/callback"
	TokenPath     = "/oauth2/token"
	RevokePath    = "/oauth2/revoke"
	RegisterPath  = "/oauth2/register"
	LogoutPath    = "/oauth2/logout"

	DeviceAuthorizationPath = "/oauth2/device_authorization"

	IntrospectPath = "/oauth2/introspect"
	JWKSPath       = "/oauth2/jwks"
)

// Resource is a protected resource that tokens can be issued for.
type Resource struct {
	// The resource identifier (RFC 8707), in canonical form.
	URI string

	// What people call it. May be empty.
	Name string

	// The scopes that exist here. A request for others is granted without them.
	Scopes []string

	// What a request gets that names no scope which exists here. Default: all of them.
	DefaultScopes []string

	// Which scopes include others, and which are needed. Nil: none.
	Hierarchy *access.Scopes

	// Who may use it, beyond the rules of the whole site. Nil adds nothing.
	Policy *access.Policy
}

func (r *Resource) defaultScopes() []string {
	if len(r.DefaultScopes) > 0 {
		return r.DefaultScopes
	}
	return r.Scopes
}

// effective returns scopes and all that they include.
func (r *Resource) effective(scopes []string) []string {
	if r.Hierarchy == nil {
		return scopes
	}
	return r.Hierarchy.Effective(scopes)
}

// Resources knows the protected resources of one issuer.
type Resources interface {
	// Find returns the resource that a resource indicator names, by its identifier or by an address
	// within it. Nil means there is none.
	Find(indicator string) *Resource

	// Default returns the resource that is meant when a client names none, or nil when that would
	// be a guess. Clients of the 2025-03-26 revision of MCP never name one.
	Default() *Resource

	// All lists the resources, in the operator's order.
	All() []*Resource
}

// Lifetimes bounds what is issued. Zero values are not usable; DefaultLifetimes are.
type Lifetimes struct {
	Login   time.Duration // from the consent page to the callback
	Code    time.Duration
	Access  time.Duration
	Grant   sessions.GrantPolicy
	Browser time.Duration

	// How old the identity provider's word on a person may be when a client refreshes, and how much
	// older while the provider cannot be asked.
	Recheck, RecheckGrace time.Duration
}

// DefaultLifetimes are short where a leak would hurt and long where a person would have to sign in.
func DefaultLifetimes() Lifetimes {
	return Lifetimes{
		Login:   10 * time.Minute,
		Code:    time.Minute,
		Access:  time.Hour,
		Grant:   sessions.GrantPolicy{Sliding: 30 * 24 * time.Hour, Grace: time.Minute},
		Browser: 12 * time.Hour,

		Recheck:      15 * time.Minute,
		RecheckGrace: time.Hour,
	}
}

// Config is what a Server is made of. Every field without a default is needed.
type Config struct {
	// The issuer identifier (RFC 8414, section 2): an origin, without a trailing slash.
	Issuer string

	Resources Resources
	Clients   *clients.Registry
	Providers []identity.Provider

	// Who may sign in at all.
	Policy *access.Policy

	Vault     *sessions.Vault
	Cookies   sessions.Cookies
	Lifetimes Lifetimes

	// Lifetimes of some clients, by client id or host. Default: none.
	ClientLifetimes map[string]ClientLifetimes

	// The path where people who sign in for no client see what is theirs. Empty: there is none.
	OwnPage string

	// The path of each redirecting provider's callback, by provider id. No two may be the same: an
	// answer of one provider must not pass for another's (RFC 9700, section 4.4). Default: CallbackPath.
	CallbackPaths map[string]string

	// The provider, by its id, at which the people of an e-mail domain sign in. Others are asked to
	// choose if there are several.
	Domains map[string]string

	// RegistrationTokens are the SHA-256 of the initial access tokens, one of which registering
	// needs. Default: everybody may register.
	RegistrationTokens [][32]byte

	// Relay makes the server a facade: the only entry of Providers, whose access tokens clients get. Nil:
	// the server issues its own.
	Relay Relay

	// RelayedScopes are asked of the relay for every client, and shown. WholeScope asks for all scopes of the
	// resource each time, since the relay puts what one client was allowed into the tokens of others.
	RelayedScopes []string
	WholeScope    bool

	// Machines are the clients that may act in their own name. Without any the grant type
	// client_credentials does not exist.
	Machines Machines

	// IDJAG are the identity providers whose assertions clients may come with, by issuer. Without any
	// the grant type jwt-bearer does not exist.
	IDJAG map[string]AssertionIssuer

	// DeviceFlow lets devices without a browser be authorized from another one (RFC 8628).
	DeviceFlow bool

	// Devices is what the process remembers of them. Servers for several issuers share one, or somebody
	// who can name the issuer begins anew with each. Default: one of its own.
	Devices *Devices

	// SignIns counts, as Devices does, who begins to sign in. Default: one of its own.
	SignIns *throttle.Limiter

	// Upstreams that may ask about tokens.
	ResourceServers []ResourceServer

	// KeySet returns the JWK Set of identity assertions. Default: an empty one, since clients insist on
	// the address of a set in the OpenID document.
	KeySet func() ([]byte, error)

	// ClientAddr tells the network address a request really comes from.
	ClientAddr func(*http.Request) string

	// What people call the site. Default: the issuer's host.
	SiteName string

	// OnToken is told the grant type of every access token that is issued. May be nil.
	OnToken func(grantType string)

	// OnRepeated is told of what the audit log is spared, since it was recorded less than a minute ago. May
	// be nil.
	OnRepeated func(audit.Event)

	Audit  audit.Recorder
	Logger *zap.Logger
	Now    func() time.Time
}

// Server answers the authorization server's endpoints of one issuer.
type Server struct {
	Config
	endpoints map[string]http.HandlerFunc
	grants    map[string]grantFunc // by grant_type
	providers map[string]identity.Provider
	people    identity.People    // whom the configuration names
	automatic identity.Automatic // nil except in development mode
	logins    *sessions.OneTime[login]
	forms     forms.Forms
	samples   audit.Sampler
	devices   *Devices
	signIns   *throttle.Limiter
	rechecks  singleflight.Group // by sign-in

	ownerChecks chan struct{}
	background  sync.WaitGroup

	resourceServers resourceServers
}

// New makes a server. It does no I/O.
func New(c Config) *Server {
	s := &Server{
		Config:    c,
		providers: make(map[string]identity.Provider, len(c.Providers)),
		people:    identity.PeopleOf(c.Providers),
		logins:    sessions.NewOneTime[login](c.Vault, sessions.LoginState, "login", c.Lifetimes.Login),
		forms:     forms.Forms{Origin: c.Issuer, Vault: c.Vault, Cookies: c.Cookies},

		ownerChecks:     make(chan struct{}, maxOwnerChecks),
		resourceServers: newResourceServers(c),
	}
	if s.signIns = c.SignIns; s.signIns == nil {
		s.signIns = NewSignIns()
	}
	s.endpoints = map[string]http.HandlerFunc{
		AuthorizePath: s.authorize,
		ConsentPath:   s.consent,
		TokenPath:     s.machine(s.token),
		RevokePath:    s.machine(s.revoke),
		RegisterPath:  s.machine(s.register),
	}
	if s.Relay == nil {
		// What goes with sessions and tokens of our own.
		s.endpoints[ChoosePath] = s.choose
		s.endpoints[LogoutPath] = s.logout
		s.endpoints[LoginPath] = s.passwordLogin
		s.endpoints[IntrospectPath] = s.machine(s.introspect)
	}
	if s.KeySet == nil {
		s.KeySet = func() ([]byte, error) { return []byte(`{"keys":[]}`), nil }
	}
	s.endpoints[JWKSPath] = s.jwks
	s.grants = map[string]grantFunc{
		"authorization_code": s.codeGrant,
		"refresh_token":      s.refreshGrant,
	}
	if len(c.Machines) > 0 {
		s.grants[clients.GrantClientCredentials] = s.machineGrant
	}
	if len(c.IDJAG) > 0 {
		s.grants[clients.GrantJWTBearer] = s.assertionGrant
	}
	if c.DeviceFlow {
		if s.devices = c.Devices; s.devices == nil {
			s.devices = NewDevices()
		}
		s.endpoints[DeviceAuthorizationPath] = s.machine(s.authorizeDevice)
		s.endpoints[DevicePath] = s.device
		s.grants[clients.GrantDeviceCode] = s.deviceGrant
	}
	for _, p := range c.Providers {
		s.providers[p.ID()] = p
		if _, ok := p.(identity.Redirecting); ok {
			s.endpoints[s.callbackPath(p)] = s.callback
		}
		if automatic, ok := p.(identity.Automatic); ok {
			s.automatic = automatic
		}
	}
	return s
}

// Endpoint returns the handler of an endpoint, or nil when the path is none of ours. Paths are
// compared byte for byte: another spelling of an endpoint is a path of the protected site.
func (s *Server) Endpoint(path string) http.HandlerFunc {
	return s.endpoints[path]
}

func (s *Server) callbackPath(p identity.Provider) string {
	if path := s.CallbackPaths[p.ID()]; path != "" {
		return path
	}
	return CallbackPath
}
