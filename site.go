package mcpauth

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/assertion"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver/facade"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/credentials/page"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/portal"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// site is everything that belongs to one issuer. What it seals or stores opens at no other one.
type site struct {
	issuer    string
	resources *resourceSet
	policy    *access.Policy
	auth      *authserver.Server
	relay     *facade.Provider // nil: whose tokens are good here does not issue them through us
	portal    *portal.Portal   // nil: people have no page of their own
	vault     *sessions.Vault
	guard     *sseproxy.Guard
	origins   *sseproxy.Origins
	machines  authserver.Machines
	people    identity.People
	networks  *access.Networks
	external  external.Servers
	tokens    *access.ServiceTokens
	realm     string // for challenges that lead nowhere

	// Requests need no token: their network is all that is asked for.
	open bool

	keySet func() ([]byte, error) // where no authorization server publishes it

	assertions  *assertion.Signer // nil: upstreams get plain headers only
	credentials *page.Page        // nil: no upstream wants credentials of people

	metadata, openID []byte // the authorization server's document and its OpenID alias
}

// newSite prepares an issuer. It does no I/O.
func (h *Handler) newSite(issuer string) (*site, error) {
	resources, err := newResourceSet(issuer, h.Resources)
	if err != nil {
		return nil, err
	}
	if err := h.clearOfResources(resources, h.portalPath()); err != nil {
		return nil, err
	}
	introspectors, err := h.resourceServers(resources)
	if err != nil {
		return nil, err
	}
	providers, redirectURLs, relay := h.signInAt(resources)
	callbacks, err := callbackPaths(issuer, providers, redirectURLs)
	if err != nil {
		return nil, err
	}
	vault := &sessions.Vault{
		Ring: h.runtime.ring, Store: h.runtime.store, Revocations: h.runtime.revocations, Tenant: h.tenant(issuer), Now: time.Now,
	}
	registry, err := h.clientRegistry(issuer, vault)
	if err != nil {
		return nil, err
	}
	machines, err := machinesOf(h.clients.config.Static, h.clients.shared, resources)
	if err != nil {
		return nil, err
	}
	idJAG, err := idJAGIssuers(issuer, h.IDJAG, h.providers)
	if err != nil {
		return nil, err
	}
	s := &site{
		issuer: issuer, resources: resources, policy: h.policy, vault: vault, machines: machines, relay: relay, people: identity.PeopleOf(h.providers),
		realm: cmp.Or(h.siteName(issuer), "mcp"), networks: h.Options.networks, external: h.Options.external, open: h.protection().open(),
	}
	if s.tokens, err = serviceTokens(h.Options.tokens, resources); err != nil {
		return nil, err
	}
	if s.origins, err = sseproxy.NewOrigins(issuer, h.guarding.origins); err != nil {
		return nil, err
	}
	binding, limits := sseproxy.Sessions{Tagger: h.runtime.ring, Tenant: issuer}, h.guarding.limits
	if s.open {
		// There are no users whom a session could be bound to, or whose streams could be counted.
		binding.Tagger, limits.PerUser = nil, 0
	}
	s.guard = sseproxy.New(sseproxy.Config{
		Streams:      streams,
		Revoked:      h.runtime.revocations.Revoked,
		Admits:       h.admitsStill(s),
		ExpiryGrace:  h.guarding.grace,
		Heartbeat:    h.guarding.heartbeat,
		Limits:       limits,
		Upgrades:     h.guarding.upgrades,
		OnEnd:        streamEnded,
		OnRefuse:     h.requestRefused,
		BindSessions: binding,

		IdentityHeaders: h.IdentityAssertion.identityHeaders(),
		// Where no token is asked for, what stands there is the upstream's own.
		PassAuthorization: s.open,
	})
	var keySet func() ([]byte, error)
	if s.assertions = h.IdentityAssertion.signer(h.runtime.ring, issuer); s.assertions != nil && !s.open {
		keySet = s.assertions.KeySet
	}
	if len(providers) == 0 {
		s.leaveTokensTo(s.external, keySet)
		return s, nil
	}
	cookies := sessions.Cookies{Secure: strings.HasPrefix(issuer, "https://")}
	config := authserver.Config{
		Issuer:        issuer,
		Resources:     resources,
		Clients:       registry,
		Providers:     providers,
		Policy:        h.policy,
		Vault:         vault,
		Cookies:       cookies,
		OwnPage:       h.portalPath(),
		Lifetimes:     h.lifetimes,
		CallbackPaths: callbacks,
		Domains:       h.domains,
		Machines:      machines,
		IDJAG:         idJAG,
		DeviceFlow:    !h.DeviceFlowDisabled,
		Devices:       h.runtime.devices,
		SignIns:       h.runtime.signIns,

		RegistrationTokens: h.clients.registrationTokens,
		ResourceServers:    introspectors,
		ClientLifetimes:    h.profiles,
		KeySet:             keySet,

		ClientAddr: clientAddr,
		SiteName:   h.siteName(issuer),
		Audit:      h.audit,
		OnToken:    collectors.TokenIssued,
		OnRepeated: collectors.Decided,
		Logger:     h.logger,
		Now:        time.Now,
	}
	if relay != nil {
		h.facade.relayBy(relay, &config)
		s.nameScopes(s.external)
	}
	s.auth = authserver.New(config)
	h.setCredentials(s)
	s.credentials = h.credentialsPage(s, cookies)
	s.portal = h.newPortal(s, cookies) // which leads there
	document := s.auth.Metadata()
	if s.metadata, err = json.Marshal(document); err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	if s.openID, err = json.Marshal(document.OpenID()); err != nil {
		return nil, fmt.Errorf("encoding metadata: %w", err)
	}
	return s, nil
}

// clientRegistry makes the registry of an issuer's clients.
func (h *Handler) clientRegistry(issuer string, vault *sessions.Vault) (*clients.Registry, error) {
	config := h.clients.config
	config.Ring, config.Tenant, config.Now = h.runtime.ring, issuer, time.Now
	config.TokenEndpoint = issuer + authserver.TokenPath
	config.Spend = func(ctx context.Context, jti string, ttl time.Duration) error {
		return vault.Spend(ctx, "assertion", jti, ttl)
	}
	if config.Documents = h.clients.documents; config.Documents != nil && config.Documents.AllowLoopback {
		u, err := url.Parse(issuer)
		if err != nil || !loopbackHost(u.Hostname()) && issuer != noIssuer {
			return nil, fmt.Errorf("cimd allow_loopback would let strangers reach programs on this machine; it is for an issuer on loopback, not for %s", issuer)
		}
	}
	// Other issuers of this handler differ in the request that they were told from, and whoever asks
	// chooses that: what is fetched for them all is limited, and kept, together.
	config.Like = h.clients.first
	registry := clients.New(config)
	if h.clients.first == nil {
		h.clients.first = registry
	}
	return registry, nil
}

// leaveTokensTo makes the metadata send clients to other authorization servers. Without any there
// are no metadata. Who calls is still told to upstreams in signed form, if they are to learn it so.
func (s *site) leaveTokensTo(servers external.Servers, keySet func() ([]byte, error)) {
	s.keySet = keySet
	s.resources.authorizationServers = servers.Issuers()
	s.nameScopes(servers)
}

// endpoint returns what answers at one of the endpoints of our authorization server, and of the pages of people, or nil. Without
// one, the paths of the endpoints that lie in a resource are nobody's: clients that try them learn so
// from the answer, instead of being asked for a token there.
func (s *site) endpoint(path string, guarded bool) http.HandlerFunc {
	switch {
	case s.auth != nil:
		if endpoint := s.auth.Endpoint(path); endpoint != nil {
			return endpoint
		}
		if endpoint := s.portal.Endpoint(path); endpoint != nil {
			return endpoint
		}
		return s.credentials.Endpoint(path)
	case path == authserver.JWKSPath && s.keySet != nil:
		return s.publishKeys
	case guarded && strings.HasPrefix(path, "/oauth2/"):
		return oauthmeta.WriteNotFound
	}
	return nil
}

// publishKeys is for upstreams that verify identity assertions.
func (s *site) publishKeys(w http.ResponseWriter, r *http.Request) {
	body, err := s.keySet()
	if err != nil {
		w.Header().Set("Retry-After", retryWhenOverloaded)
		http.Error(w, "keys not available", http.StatusServiceUnavailable)
		return
	}
	oauthmeta.WriteDocument(w, r, body)
}

// wellKnown returns what answers metadata requests, in every position where clients look, or nil where
// path is none. On a site that is protected only in parts, other people's well-known documents are
// none of ours.
func (s *site) wellKnown(path string, guarded bool) http.HandlerFunc {
	document, base := oauthmeta.WellKnown(path)
	if document == oauthmeta.NotWellKnown {
		return nil
	}
	if body := s.document(document, base); body != nil {
		return func(w http.ResponseWriter, r *http.Request) { oauthmeta.WriteDocument(w, r, body) }
	}
	// Other names of the two families are probes of clients; what else lies there is the site's.
	probe := strings.HasPrefix(path, "/.well-known/oauth-") || strings.HasPrefix(path, "/.well-known/openid-")
	if !guarded && !probe {
		return nil
	}
	return oauthmeta.WriteNotFound
}

// document returns the metadata that a client asks for at base, or nil. A client that takes a
// resource for the issuer finds the one issuer there is.
func (s *site) document(document oauthmeta.Document, base string) []byte {
	resource := s.resources.metadata(base)
	if resource == nil || len(resource.AuthorizationServers) == 0 {
		return nil
	}
	switch document {
	case oauthmeta.ProtectedResourceDocument:
		body, err := json.Marshal(resource)
		if err != nil {
			return nil
		}
		return body
	case oauthmeta.AuthorizationServerDocument:
		return s.metadata
	case oauthmeta.OpenIDDocument:
		return s.openID
	}
	return nil
}

func (h *Handler) siteName(issuer string) string {
	if h.Name != "" {
		return h.Name
	}
	_, host, _ := strings.Cut(issuer, "://")
	return host
}
