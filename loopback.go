package mcpauth

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
)

var (
	errRemote    = errors.New("this request comes from another computer")
	errLocal     = errors.New("this request arrived at an address that other computers can reach")
	errHost      = errors.New("this request is for another host; ask for localhost")
	errForwarded = errors.New("this request came through a proxy or a tunnel")
)

// checkLoopback tells why a request may not be one of this computer's own. It goes by the connection
// and by the host that was asked for, and believes no header: one that tells of a proxy means that
// the connection says nothing about who is behind it.
//
// The host matters as much as the connection. A website can have its name resolve to 127.0.0.1 and
// thereby make the browsers of its visitors talk to this server as if it were theirs (DNS rebinding;
// MCP Streamable HTTP transport, "Security Warning").
func checkLoopback(r *http.Request) error {
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	switch {
	case err != nil, !remote.Addr().Unmap().IsLoopback():
		return errRemote
	case !arrivedOnLoopback(r):
		return errLocal
	case !loopbackHost(hostname(r.Host)):
		return errHost
	case forwarded(r.Header):
		return errForwarded
	}
	return nil
}

// hostname is a host without its port. What follows the last colon of something that is no host and
// port might be read as the host elsewhere, so that has none.
func hostname(host string) string {
	if name, port, err := net.SplitHostPort(host); err == nil {
		if strings.Trim(port, "0123456789") != "" {
			return ""
		}
		host = name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// forwarded reports whether a proxy left its mark. Proxies have to name themselves in Via (RFC 9110,
// section 7.6.3); most say more, and tunnels that make a laptop public say it too.
func forwarded(h http.Header) bool {
	for name := range h {
		switch name {
		case "Via", "Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Cf-Ray", "X-Original-Host":
			return true
		}
		if strings.HasPrefix(name, "X-Forwarded-") {
			return true
		}
	}
	return false
}

// refuseOutsiders answers what does not come from this computer, on a site in development mode. It
// reports whether it did.
func (h *Handler) refuseOutsiders(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set(devHeader, "dev")
	err := checkLoopback(r)
	if err == nil {
		return false
	}
	collectors.Refused(string(reasonOutsider))
	h.recordDenial(r, reasonOutsider, audit.Event{})
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "mcp_auth: this site is in development mode, which lets in everybody who asks and so answers on "+
		"this computer only: "+err.Error()+".\nTo serve others, let people sign in: replace \"dev\" by \"oidc\" or \"local\".",
		http.StatusForbidden)
	return true
}
