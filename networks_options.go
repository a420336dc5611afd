package mcpauth

import (
	"net"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
)

// Networks say from which network addresses requests are taken. An address is the one that Caddy
// takes for the client's, so behind another proxy the server's `trusted_proxies` have to be set, and
// `trusted_proxies_strict` too if that proxy adds to the X-Forwarded-For that clients send.
type Networks struct {
	// The networks that requests are taken from: CIDR prefixes, single addresses, or
	// `private_ranges`. `any` lets every address in. Without a provider, an authorization server and
	// tokens, this is all the protection there is. Default: every address.
	AllowNetworks []string `json:"allow_networks,omitempty"`

	// Networks that no request is taken from, also if allowed above. Default: none.
	DenyNetworks []string `json:"deny_networks,omitempty"`
}

func (n *Networks) empty() bool { return len(n.AllowNetworks)+len(n.DenyNetworks) == 0 }

// decide reports whether somebody has written down who may come.
func (n *Networks) decide() bool { return len(n.AllowNetworks) > 0 }

func (n *Networks) resolve() (*access.Networks, error) {
	return access.NewNetworks(n.AllowNetworks, n.DenyNetworks)
}

// unmarshalOption reads an option about networks. It reports whether it was one. Syntax:
//
//	allow_network <network...>|private_ranges|any
//	deny_network  <network...>|private_ranges
func (n *Networks) unmarshalOption(d *caddyfile.Dispenser) (known bool, err error) {
	target := map[string]*[]string{"allow_network": &n.AllowNetworks, "deny_network": &n.DenyNetworks}[d.Val()]
	if target == nil {
		return false, nil
	}
	if err := someArgs(d, target); err != nil {
		return true, err
	}
	if _, err := n.resolve(); err != nil {
		return true, d.WrapErr(err)
	}
	return true, nil
}

// strangers are addresses that belong to nobody (RFC 5737, RFC 3849, RFC 9637). A server that trusts
// all of a family trusts everybody.
var strangers = [][]string{
	{"192.0.2.1", "198.51.100.1", "203.0.113.1"},
	{"2001:db8::1", "3fff::1"},
}

// checkTrustedProxies refuses a server that believes everybody's X-Forwarded-For: clients could then
// choose the address by which they are let in, limited and written into logs. Caddy does not tell whom it trusts, so it is asked about
// some whom nobody should.
func checkTrustedProxies(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil
	}
	trusted := func(addr string) bool {
		r := &http.Request{URL: new(url.URL), Header: make(http.Header), RemoteAddr: net.JoinHostPort(addr, "1")}
		r = caddyhttp.PrepareRequest(r, caddy.NewEmptyReplacer(), nil, server)
		proxy, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
		return proxy
	}
	for _, family := range strangers {
		if !slices.ContainsFunc(family, func(addr string) bool { return !trusted(addr) }) {
			return errEverybodyTrusted
		}
	}
	return nil
}
