package sseproxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// relocate makes a redirect of the upstream one that leads back to it through the edge: upstreams send
// clients from /mcp to /mcp/ and name the address that they know themselves by, or leave out the prefix
// that was taken off on the way. Redirects to public hosts are left alone.
func (x *exchange) relocate(h http.Header) {
	location := h["Location"][0]
	target, err := url.Parse(location)
	if err != nil || target.Host != "" && !internalHost(target.Hostname()) && !strings.EqualFold(target.Host, x.request.Host) {
		return
	}
	forwarded := x.request.URL.Path
	h["Location"] = []string{rebase(location, strippedPrefix(x.call.Path, forwarded), forwarded)}
}

// internalHost reports whether a host can mean nothing to a client elsewhere: an address that is not
// public, localhost, or a name without a dot, as container networks have them.
func internalHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsUnspecified()
	}
	return !strings.Contains(strings.TrimSuffix(host, "."), ".")
}
