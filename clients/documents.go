package clients

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Documents configures client ID metadata documents: clients whose client_id is the URL of a JSON
// document that describes them (draft-ietf-oauth-client-id-metadata-document).
type Documents struct {
	// AllowHosts are the hosts whose documents are accepted: "client.example", or "*.client.example"
	// for all below it. Empty accepts every host.
	AllowHosts []string
	// DenyHosts are refused even if allowed above.
	DenyHosts []string
	// AnyPort accepts documents on other ports than 443.
	AnyPort bool
	// ForeignRedirects accepts https redirect URIs on other origins than the document's. Without it
	// they are left out.
	ForeignRedirects bool
	// Pinned are documents by their URL, for clients whose document cannot be fetched. They are not
	// fetched at all, and need not be allowed above. Whoever pins one vouches for its redirect URIs, so
	// those may have other origins.
	Pinned map[string][]byte
	// AllowLoopback accepts documents on the loopback interface of this machine. It is for development
	// and tests, where the server itself is on loopback (section 6.5 of the draft).
	AllowLoopback bool
	// Roots are the certificate authorities that documents' servers may have; nil is the system's.
	Roots *x509.CertPool
}

// Check reports what is wrong with the configuration.
func (d Documents) Check() error {
	for _, host := range append(append([]string{}, d.AllowHosts...), d.DenyHosts...) {
		if name := strings.TrimPrefix(host, "*."); !publicHost(name) || name != strings.ToLower(name) {
			return fmt.Errorf(`%q is not a host: write "client.example", or "*.client.example" for all below it`, host)
		}
	}
	for url, body := range d.Pinned {
		if _, err := d.parsePinned(url, body, clientSchemes, true); err != nil {
			return fmt.Errorf("pinned metadata document of %q: %w", url, err)
		}
	}
	return nil
}

func (d Documents) parsePinned(url string, body []byte, allowed schemes, assertions bool) (*Client, error) {
	d.ForeignRedirects = true
	return d.parse(url, body, allowed, assertions)
}

// trusts reports whether documents of host may be fetched.
func (d Documents) trusts(host string) bool {
	if d.denies(host) {
		return false
	}
	for _, pattern := range d.AllowHosts {
		if hostMatches(pattern, host) {
			return true
		}
	}
	return len(d.AllowHosts) == 0
}

func (d Documents) denies(host string) bool {
	return slices.ContainsFunc(d.DenyHosts, func(pattern string) bool { return hostMatches(pattern, host) })
}

// hostMatches compares whole labels: "*.a.example" covers "b.a.example", and neither "a.example" nor
// "ba.example".
func hostMatches(pattern, host string) bool {
	if below, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(host, below) && len(host) > len(below)
	}
	return pattern == host
}

// documents finds clients by their documents.
type documents struct {
	config  Documents
	pinned  map[string]*Client
	clients *remote[*Client]
	keys    *remote[keySet]
}

func newDocuments(config Documents, allowed schemes, assertions bool, now func() time.Time) *documents {
	f := newFetcher(config.AllowLoopback, config.Roots, now)
	b := newBudget(now)
	d := &documents{config: config, pinned: make(map[string]*Client, len(config.Pinned))}
	d.clients = newRemote(f, b, now, func(url string, body []byte) (*Client, error) {
		return config.parse(url, body, allowed, assertions)
	})
	d.keys = newRemote(f, b, now, func(_ string, body []byte) (keySet, error) { return parseKeys(body) })
	for url, body := range config.Pinned {
		if c, err := config.parsePinned(url, body, allowed, assertions); err == nil {
			d.pinned[url] = c
		}
	}
	return d
}

func (d *documents) lookup(ctx context.Context, clientID string) (*Client, error) {
	if c, ok := d.pinned[clientID]; ok {
		return c, nil
	}
	u, err := d.config.parseURL(clientID)
	if err != nil {
		return nil, fmt.Errorf("%w: its URL %w", ErrUnknown, err)
	}
	if !d.config.trusts(u.host) {
		return nil, fmt.Errorf("%w: its host is not trusted here", ErrUnknown)
	}
	return d.clients.get(ctx, clientID, 0)
}

// parseURL applies the rules for client identifier URLs (section 3 of the draft) and for what is
// fetched here at all: a plain host name, the usual port, no query.
func (d Documents) parseURL(url string) (redirectURI, error) {
	if len(url) > maxDocumentURL {
		return redirectURI{}, fmt.Errorf("is longer than %d characters", maxDocumentURL)
	}
	if err := checkRedirectText(url); err != nil {
		return redirectURI{}, err
	}
	after, ok := strings.CutPrefix(url, "https://")
	if !ok {
		return redirectURI{}, errors.New("is not an https URL")
	}
	u, err := d.parseDocumentAuthority(after)
	switch {
	case err != nil:
		return redirectURI{}, err
	case !strings.HasPrefix(u.rest, "/"):
		return redirectURI{}, errors.New("has no path")
	case strings.Contains(u.rest, "?"):
		return redirectURI{}, errors.New("has a query")
	}
	for segment := range strings.SplitSeq(u.rest, "/") {
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case ".", "..":
			return redirectURI{}, errors.New("has a dot segment")
		}
	}
	return u, nil
}

func (d Documents) parseDocumentAuthority(after string) (redirectURI, error) {
	end := authorityLength(after)
	authority := after[:end]
	u := redirectURI{scheme: "https", host: authority, rest: after[end:]}
	if strings.Contains(authority, "@") {
		return redirectURI{}, errors.New("has userinfo")
	}
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		u.host, u.port = authority[:i], authority[i+1:]
		if !validPort(u.port) {
			return redirectURI{}, errors.New("has a bad port")
		}
	}
	if d.AllowLoopback && loopbackHost(u.host) {
		return u, nil
	}
	switch {
	case !dnsName(u.host) || u.host != strings.ToLower(u.host):
		// Trust is put into names; an address has none.
		return redirectURI{}, errors.New("has no lower-case host name with a dot")
	case u.port != "" && !d.AnyPort:
		return redirectURI{}, errors.New("has a port")
	}
	return u, nil
}
