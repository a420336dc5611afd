package mcpauth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/assertion"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
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
	portal    *portal.Portal // nil: people have no page of their own
	vault     *sessions.Vault
	guard     *sseproxy.Guard
	origins   *sseproxy.Origins
	machines  authserver.Machines

	assertions *assertion.Signer // nil: upstreams get plain headers only

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
	callbacks, err := callbackPaths(issuer, h.providers, h.callbacks)
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
	s := &site{issuer: issuer, resources: resources, policy: h.policy, vault: vault, machines: machines}
	if s.origins, err = sseproxy.NewOrigins(issuer, h.guarding.origins); err != nil {
		return nil, err
	}
	s.guard = sseproxy.New(sseproxy.Config{
		Streams:      streams,
		Revoked:      h.runtime.revocations.Revoked,
		ExpiryGrace:  h.guarding.grace,
		Heartbeat:    h.guarding.heartbeat,
		Limits:       h.guarding.limits,
		Upgrades:     h.guarding.upgrades,
		OnEnd:        streamEnded,
		OnRefuse:     h.requestRefused,
		BindSessions: sseproxy.Sessions{Tagger: h.runtime.ring, Tenant: issuer},

		IdentityHeaders: h.IdentityAssertion.identityHeaders(),
	})
	var keySet func() ([]byte, error)
	if s.assertions = h.IdentityAssertion.signer(h.runtime.ring, issuer); s.assertions != nil {
		keySet = s.assertions.KeySet
	}
	cookies := sessions.Cookies{Secure: strings.HasPrefix(issuer, "https://")}
	s.auth = authserver.New(authserver.Config{
		Issuer:        issuer,
		Resources:     resources,
		Clients:       registry,
		Providers:     h.providers,
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
		Logger:     h.logger,
		Now:        time.Now,
	})
	s.portal = h.newPortal(s, cookies)
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

// wellKnown answers metadata requests, in every position where clients look. It reports whether the
// path was one. On a site that is protected only in parts, other people's well-known documents are
// none of ours.
func (s *site) wellKnown(w http.ResponseWriter, r *http.Request, path string) bool {
	document, base := oauthmeta.WellKnown(path)
	if document == oauthmeta.NotWellKnown {
		return false
	}
	if body := s.document(document, base); body != nil {
		oauthmeta.WriteDocument(w, r, body)
		return true
	}
	// Other names of the two families are probes of clients; what else lies there is the site's.
	probe := strings.HasPrefix(path, "/.well-known/oauth-") || strings.HasPrefix(path, "/.well-known/openid-")
	if _, guarded := s.resources.paths.Match(path); !guarded && !probe {
		return false
	}
	oauthmeta.WriteNotFound(w, r)
	return true
}

// document returns the metadata that a client asks for at base, or nil. A client that takes a
// resource for the issuer finds the one issuer there is.
func (s *site) document(document oauthmeta.Document, base string) []byte {
	resource := s.resources.metadata(base)
	if resource == nil {
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
