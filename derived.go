package mcpauth

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// maxDerivedSites bounds how many issuers, and how many spellings of hosts, one handler keeps that were
// derived from requests.
const maxDerivedSites = 1024

// derivedSites holds the sites whose issuers were derived from requests. Requests read it without a lock.
type derivedSites struct {
	hosts atomic.Pointer[map[hostKey]derivedHost]

	mu    sync.Mutex // of those who add
	sites map[string]*site
}

// hostKey is a host as requests spell it.
type hostKey struct {
	secure bool
	host   string
}

// derivedHost is what has been found out about a host.
type derivedHost struct {
	parsedHost
	site *site
}

// site returns the site that a request is for.
func (h *Handler) site(r *http.Request) (*site, error) {
	if h.fixed != nil {
		return h.fixed, nil
	}
	key := hostKey{r.TLS != nil, r.Host}
	if hosts := h.derived.hosts.Load(); hosts != nil {
		if known, ok := (*hosts)[key]; ok {
			// What the host is has been found out before. Whether this request may claim it has not.
			return known.site, known.claimedBy(r)
		}
	}
	parsed, err := parseHost(r.Host)
	if err != nil {
		return nil, err
	}
	if err := parsed.claimedBy(r); err != nil {
		return nil, err
	}
	if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" && r.TLS == nil && h.hints.due(time.Now()) {
		h.logger.Warn("a proxy in front of this site asks for it by a loopback address, and clients will be told that address; "+
			"add \"issuer https://<public host>\" to the mcp_auth block", zap.String("forwarded_host", forwarded))
	}
	return h.derive(key, parsed)
}

func (h *Handler) derive(key hostKey, parsed parsedHost) (*site, error) {
	issuer, err := parsed.issuer(key.secure)
	if err != nil {
		return nil, err
	}
	d := &h.derived
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sites[issuer]
	if s == nil {
		if s, err = h.newSite(issuer); err != nil {
			return nil, caddyhttp.Error(http.StatusInternalServerError, err)
		}
		if d.sites == nil || len(d.sites) >= maxDerivedSites {
			d.sites = make(map[string]*site)
		}
		d.sites[issuer] = s
	}
	hosts := make(map[hostKey]derivedHost)
	if old := d.hosts.Load(); old != nil && len(*old) < maxDerivedSites {
		hosts = maps.Clone(*old)
	}
	hosts[key] = derivedHost{parsed, s}
	d.hosts.Store(&hosts)
	return s, nil
}
