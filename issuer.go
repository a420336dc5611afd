package mcpauth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
)

// checkIssuer normalises a configured issuer. It is an origin: the endpoints and the well-known
// documents of the site have fixed paths below it.
func checkIssuer(issuer string) (string, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("issuer %q is not a URL; write, for example, issuer https://mcp.example.com", issuer)
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("issuer %q has more than a host; write issuer %s://%s", issuer, u.Scheme, u.Host)
	}
	canonical, err := oauthmeta.Canonical(u.Scheme + "://" + u.Host)
	if err != nil {
		return "", fmt.Errorf("issuer %q: %w", issuer, err)
	}
	if u.Scheme != "https" && !loopbackHost(u.Hostname()) {
		// OAuth 2.1, section 1.5: authorization server endpoints are served over TLS.
		return "", fmt.Errorf("issuer %q is plain http; only a loopback host may be. Write https://%s", issuer, u.Host)
	}
	return canonical, nil
}

var errIssuerUnknown = errors.New(`the public address of this site cannot be told from the request; ` +
	`add "issuer https://<public host>" to the mcp_auth block`)

// parsedHost is the host of a request, without its port.
type parsedHost struct {
	host     string // as it was asked for
	name     string
	loopback bool
}

func parseHost(host string) (parsedHost, error) {
	name := host
	if hostname, _, err := net.SplitHostPort(host); err == nil {
		name = hostname
	}
	name = strings.Trim(name, "[]")
	if name == "" {
		return parsedHost{}, caddyhttp.Error(http.StatusBadRequest, errors.New("request without a host"))
	}
	return parsedHost{host: host, name: name, loopback: loopbackHost(name)}, nil
}

// claimedBy checks that r cannot lie about its host: over TLS the name that the certificate was chosen by
// is the host that was asked for, or both are on loopback. Anything else would let a Host header decide
// what the metadata says (RFC 8414, section 6.2).
func (p parsedHost) claimedBy(r *http.Request) error {
	switch {
	case p.loopback && arrivedOnLoopback(r):
	case r.TLS == nil:
		return errIssuerUnknown
	case !strings.EqualFold(r.TLS.ServerName, p.name):
		return caddyhttp.Error(http.StatusMisdirectedRequest, errors.New("host and TLS server name differ"))
	}
	return nil
}

func (p parsedHost) issuer(secure bool) (string, error) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	issuer, err := oauthmeta.Canonical(scheme + "://" + p.host)
	if err != nil {
		return "", caddyhttp.Error(http.StatusBadRequest, fmt.Errorf("reading the host: %w", err))
	}
	return issuer, nil
}

func loopbackHost(hostname string) bool {
	if strings.EqualFold(hostname, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(hostname)
	return err == nil && addr.Unmap().IsLoopback()
}

// arrivedOnLoopback tells whether the connection itself ends on a loopback address.
func arrivedOnLoopback(r *http.Request) bool {
	switch local := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		return local.IP.IsLoopback()
	case *net.UDPAddr: // HTTP/3
		return local.IP.IsLoopback()
	case net.Addr:
		addr, err := netip.ParseAddrPort(local.String())
		return err == nil && addr.Addr().Unmap().IsLoopback()
	}
	return false
}
