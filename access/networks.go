package access

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// The words that stand for networks in a configuration.
const (
	// PrivateRanges stands for loopback and the private networks of RFC 1918 and RFC 4193, the same
	// ones that Caddy means by the word.
	PrivateRanges = "private_ranges"
	// AnyNetwork lets every address in.
	AnyNetwork = "any"
)

var privateRanges = []string{
	"192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "::1/128",
}

// Networks says from which network addresses requests are taken. A nil *Networks takes all. It does
// not change, and is safe for concurrent use.
type Networks struct {
	allow, deny []netip.Prefix
	any         bool // whatever is not denied
	decides     bool // something is allowed by name
}

// NewNetworks reads what a configuration allows and denies: CIDR prefixes, single addresses,
// [PrivateRanges] and, to be allowed alone, [AnyNetwork]. Without an allowed network every address
// that is not denied is taken. It returns nil if there is nothing at all.
func NewNetworks(allow, deny []string) (*Networks, error) {
	if len(allow)+len(deny) == 0 {
		return nil, nil
	}
	n := &Networks{any: len(allow) == 0, decides: len(allow) > 0}
	for _, text := range allow {
		if text == AnyNetwork {
			n.any = true
			continue
		}
		prefixes, err := parseNetwork(text)
		if err != nil {
			return nil, fmt.Errorf("allow_network %s: %w", text, err)
		}
		n.allow = append(n.allow, prefixes...)
	}
	if n.any && len(n.allow) > 0 {
		return nil, errors.New(`"allow_network any" lets every address in, so the other networks would do nothing; remove either it or them`)
	}
	for _, text := range deny {
		if text == AnyNetwork {
			return nil, errors.New(`"deny_network any" would refuse every request; write the networks to refuse`)
		}
		prefixes, err := parseNetwork(text)
		if err != nil {
			return nil, fmt.Errorf("deny_network %s: %w", text, err)
		}
		n.deny = append(n.deny, prefixes...)
	}
	return n, nil
}

// Decides reports whether somebody has written down who may come, be it "any": then the networks can
// be all the protection there is. Refusing some addresses protects nothing from the others.
func (n *Networks) Decides() bool { return n != nil && n.decides }

// Admits reports whether a request from addr is taken. A denied network outweighs an allowed one. An
// address that cannot be read is in no network anybody trusts, so it is refused. It does not allocate.
func (n *Networks) Admits(addr string) bool {
	if n == nil {
		return true
	}
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return false
	}
	// A listener on both protocols names IPv4 peers in their IPv6 form, ::ffff:192.0.2.1 (RFC 4291,
	// section 2.5.5.2); the rules are written for the address itself. A zone is a name that this
	// machine gives to an interface.
	ip = ip.Unmap().WithZone("")
	return !contains(n.deny, ip) && (n.any || contains(n.allow, ip))
}

func contains(prefixes []netip.Prefix, ip netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

func parseNetwork(text string) ([]netip.Prefix, error) {
	if text == PrivateRanges {
		prefixes := make([]netip.Prefix, 0, len(privateRanges))
		for _, r := range privateRanges {
			prefixes = append(prefixes, netip.MustParsePrefix(r))
		}
		return prefixes, nil
	}
	p, err := parsePrefix(text)
	if err != nil {
		return nil, errors.New("not a network; write for example 10.0.0.0/8, 192.0.2.7, 2001:db8::/32 or private_ranges")
	}
	if p.Bits() == 0 {
		return nil, errors.New(`this is every address there is; if that is what you want, write "allow_network any", else the networks you trust`)
	}
	return []netip.Prefix{p}, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			return netip.Prefix{}, errors.New("not an address")
		}
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, err
	}
	if p.Addr().Is4In6() {
		// Addresses are unmapped before they are compared, so a prefix of mapped ones would never match.
		if p.Bits() < 96 {
			return p, errors.New("more than the IPv4 addresses")
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}
