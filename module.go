package mcpauth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler puts OAuth 2.1 in front of MCP servers. It is an authorization server, which signs people
// in at an identity provider and issues tokens to MCP clients, and the guard of the protected
// resources behind it: it answers its own endpoints, checks the token of every other request and
// calls the next handler, which is usually `reverse_proxy`.
//
// In place of its own authorization server it can trust somebody else's, and it can protect a site by
// tokens for programs and by networks, together with people who sign in or alone.
//
// Its endpoints are the metadata documents below `/.well-known/` (RFC 9728, RFC 8414, OpenID
// Connect Discovery) and
//
// Path | What for
// -----|---------
// `/oauth2/auth`, `/oauth2/consent`, `/oauth2/choose`, `/oauth2/login`, `/oauth2/callback`, `/oauth2/callback/<id>` | the browser: consent and sign-in
// `/oauth2/device` | the browser, on behalf of a device that has none
// `/oauth2/logout` | the browser: signing out, here and at the identity provider
// `/oauth2/token`, `/oauth2/revoke`, `/oauth2/register`, `/oauth2/device_authorization` | the client
// `/oauth2/introspect` | the client, and upstreams that ask about tokens
// `/oauth2/jwks` | upstreams that verify identity assertions
// `/my`, `/my/tokens` | each person's own page; see `portal`
// `/my/credentials`, `/oauth2/connect/<resource>/callback` | the same, where upstreams want credentials of people
//
// Once a request has passed, these placeholders are set:
//
// Placeholder | Description
// ------------|------------
// `{http.auth.user.id}` | The person's subject at the identity provider; `token:<name>` for a service token
// `{http.auth.user.email}` | The verified e-mail address
// `{http.auth.user.name}` | The person's name
// `{http.auth.user.groups}` | The person's groups, separated by commas
// `{http.auth.user.issuer}` | The identity provider
// `{http.auth.user.client_id}` | The MCP client, in a short and stable form
// `{http.auth.user.client_name}` | The name the client gave itself
// `{http.auth.user.scope}` | The scopes of the token, separated by spaces
// `{http.auth.user.resource}` | The protected resource
type Handler struct {
	// The issuer: the site's public origin, such as `https://mcp.example.com`. Default: the host of
	// the request, where that is safe: over TLS when it is also the server name of the handshake,
	// or on loopback. Anything else is refused with an error.
	Issuer string `json:"issuer,omitempty"`

	// What people call the site; shown on its pages. Default: the issuer's host.
	Name string `json:"name,omitempty"`

	// The protected resources. Default: the whole site is one.
	Resources []*Resource `json:"resources,omitempty"`

	// The MCP servers that may ask about the tokens they are given. Default: none; the guard has
	// checked every token that arrives.
	IntrospectionClients []*IntrospectionClient `json:"introspection_clients,omitempty"`

	Options

	dev       bool // in development mode
	runtime   *runtime
	lifetimes authserver.Lifetimes
	profiles  map[string]authserver.ClientLifetimes
	clients   clientSettings
	guarding  guardSettings
	logger    *zap.Logger
	audit     audit.Recorder
	denials   audit.Sampler
	uses      audit.Sampler // of tokens that are of no grant

	app    *App
	around []caddyhttp.MatcherSets // that requests have passed

	fixed   *site // of the configured issuer
	derived derivedSites

	complaints, hints occasional
}

// noIssuer stands for an issuer that is not known yet (RFC 2606, section 2).
const noIssuer = "https://issuer.invalid"

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.mcp_auth", New: func() caddy.Module { return new(Handler) }}
}

// Provision joins the handler's settings with the app's defaults and prepares the site. It does no
// I/O: an identity provider or a store that is down keeps nobody's Caddy from starting.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	module, err := ctx.App("mcp_auth")
	if err != nil {
		return fmt.Errorf("loading the mcp_auth app: %w", err)
	}
	app := module.(*App)
	h.app, app.handlers = app, append(app.handlers, h)
	h.audit = newAuditLog(app.logger)
	if err := h.load(ctx, &h.Options); err != nil {
		return err
	}
	shared := len(h.KnownClients) == 0
	h.inherit(&app.Options)
	if err := h.complete(); err != nil {
		return err
	}
	if h.runtime, err = app.runtime(h.store, h.keys); err != nil {
		return err
	}
	rules := []*access.Policy{h.policy}
	for _, r := range h.Resources {
		if err := r.load(); err != nil {
			return err
		}
		if err := r.Credentials.load(); err != nil {
			return fmt.Errorf("resource %s: credentials: %w", r.Paths[0], err)
		}
		rules = append(rules, r.policy)
	}
	if err := checkGroups(h.providers, rules...); err != nil {
		return err
	}
	warnOfPublicDomains(rules, h.logger)
	if h.clients, err = resolveClients(h.Clients, h.KnownClients); err != nil {
		return err
	}
	h.clients.shared = shared
	if err := h.checkIntrospectionClients(); err != nil {
		return err
	}
	if err := h.checkCredentials(); err != nil {
		return err
	}
	if err := collectors.Register(ctx.GetMetricsRegistry()); err != nil {
		return err
	}
	if err := runsFirst(ctx); err != nil {
		return err
	}
	h.around = matchersAround(ctx)
	if err := h.reachable(ctx); err != nil {
		return err
	}
	h.warnUnaddressable(ctx)
	endStreamsAtExit(ctx)
	if h.dev {
		h.warnDev()
	}

	if err := checkTrustedProxies(ctx); err != nil {
		return err
	}
	warnOfExpired(h.Options.tokens, time.Now(), h.logger)
	if h.Issuer == "" && !h.protection().oauth() {
		// Nothing is published that a wrong address could spoil.
		h.fixed, err = h.newSite("")
		return err
	}
	if h.Issuer == "" {
		for _, redirectURL := range h.redirectURLs() {
			return fmt.Errorf("redirect_url %s needs to know the site; add \"issuer https://<public host>\"", redirectURL)
		}
		if h.clients.documents != nil && h.clients.documents.AllowLoopback {
			return errors.New("cimd allow_loopback is for an issuer on loopback; add, for example, \"issuer http://localhost:8080\"")
		}
		// Mistakes that do not depend on the issuer show now rather than at the first request.
		_, err := h.newSite(noIssuer)
		return err
	}
	issuer, err := checkIssuer(caddy.NewReplacer().ReplaceAll(h.Issuer, ""))
	if err != nil {
		return err
	}
	h.fixed, err = h.newSite(issuer)
	return err
}

// complete checks that the settings add up to something that lets the right people in.
func (h *Handler) complete() error {
	var err error
	if h.lifetimes, err = h.Options.lifetimes(); err != nil {
		return err
	}
	if h.profiles, err = h.Options.clientLifetimes(h.lifetimes); err != nil {
		return err
	}
	if err := h.IdentityAssertion.check(); err != nil {
		return err
	}
	if err := checkPortal(h.Portal); err != nil {
		return err
	}
	if h.guarding, err = h.Options.settings(); err != nil {
		return err
	}
	if err := h.checkDev(); err != nil {
		return err
	}
	p := h.protection()
	if err := p.check(h.Resources); err != nil {
		return err
	}
	if err := h.checkFacade(); err != nil {
		return err
	}
	if p.open() && slices.Contains(h.guarding.origins, sseproxy.AnyOrigin) {
		return errOpenOrigins
	}
	if p.tokens && !p.oauth() && h.Issuer == "" && h.IdentityAssertion != nil {
		return errAssertionIssuer
	}
	return nil
}

// ServeHTTP answers the endpoints of the authorization server and guards everything else.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.dev && h.refuseOutsiders(w, r) {
		return nil
	}
	s, err := h.site(r)
	if errors.Is(err, errIssuerUnknown) {
		// Whoever tries this out reads the answer before the log.
		if h.complaints.due(time.Now()) {
			h.logger.Error("cannot serve: "+err.Error(), zap.String("host", r.Host))
		}
		http.Error(w, "mcp_auth: "+err.Error(), http.StatusInternalServerError)
		return nil
	}
	if err != nil {
		return err
	}
	path := requestedPath(r)
	res, guarded := s.resources.paths.Match(path)
	endpoint := s.endpoint(path, guarded)
	document := s.wellKnown(path, guarded)
	switch {
	case !guarded && endpoint == nil && document == nil:
		s.guard.CleanRequest(r)
		s.dropOwnToken(r.Header)
		return next.ServeHTTP(w, r)
	case !admitsFrom(s.networks, r):
		s.hide(w, r, endpoint, path)
		h.recordDenial(r, reasonNetwork, audit.Event{})
		return turnAway(reasonNetwork, http.StatusForbidden, errNetwork)
	case document != nil:
		document(w, r)
		return nil
	case endpoint != nil:
		if sseproxy.EarlyData(r) && path != authserver.AuthorizePath && path != authserver.JWKSPath {
			// Clients send it again after the handshake (RFC 8470, section 5.2). A callback is a GET,
			// but takes the sign-in it belongs to with it. It is no error of the server's, whose log
			// would have the code in it.
			s.hide(w, r, endpoint, path)
			http.Error(w, errEarlyData.Error(), http.StatusTooEarly)
			return nil
		}
		if err := h.runtime.load(r.Context()); err != nil {
			h.logger.Error("loading keys and revocations", zap.Error(err))
		}
		forms.BoundBody(w, r)
		dontWaitForBody(w, r)
		endpoint(w, r)
		s.hide(w, r, endpoint, path)
		return nil
	}
	return h.protect(w, r, s, res, path, next)
}

// requestedPath is the path as the client sent it. Directives before this one may have rewritten the
// request for the upstream; which resource it is for is decided by what was asked for.
func requestedPath(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL.Path
	}
	return r.URL.Path
}

// admitsFrom does not look for the address where nobody asks for it.
func admitsFrom(n *access.Networks, r *http.Request) bool { return n == nil || n.Admits(clientAddr(r)) }

func clientAddr(r *http.Request) string {
	addr, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return addr
}

// endStreamsAtExit ends open streams when the process goes down, since servers wait for them. It
// hears of reloads too, and leaves streams alone then.
func endStreamsAtExit(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	server.RegisterOnShutdown(func() {
		if caddy.Exiting() {
			streams.Close(errExiting)
		}
	})
}

var (
	errExiting   = errors.New("server is shutting down")
	errEarlyData = errors.New("request in TLS early data, which can be replayed")
)

// occasional limits a log line that any request could cause to one a minute.
type occasional struct{ last atomic.Int64 }

func (o *occasional) due(now time.Time) bool {
	last := o.last.Load()
	return now.Unix()-last >= 60 && o.last.CompareAndSwap(last, now.Unix())
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
