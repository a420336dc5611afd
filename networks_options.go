package mcpauth

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
)

// Networks say from which network addresses requests are taken. An address is the one that Caddy
// takes for the client's, so behind another proxy the server's `trusted_proxies` have to be set.
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
