package access

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNetworks(t *testing.T) {
	type list = []string
	for _, tc := range []struct {
		name        string
		allow, deny list
		addr        string
		want        bool
	}{
		{"an address in the network", list{"10.0.0.0/8"}, nil, "10.1.2.3", true},
		{"an address outside of it", list{"10.0.0.0/8"}, nil, "11.1.2.3", false},
		{"an address in the second network", list{"10.0.0.0/8", "192.0.2.0/24"}, nil, "192.0.2.255", true},
		{"a network written by one of its addresses", list{"10.1.2.3/8"}, nil, "10.200.0.1", true},
		{"a single address", list{"192.0.2.7"}, nil, "192.0.2.7", true},
		{"a neighbour of a single address", list{"192.0.2.7"}, nil, "192.0.2.8", false},
		{"an IPv6 address", list{"2001:db8::/32"}, nil, "2001:db8:1::5", true},
		{"an IPv6 address elsewhere", list{"2001:db8::/32"}, nil, "2001:db9::5", false},
		{"an IPv4 address in its IPv6 form", list{"10.0.0.0/8"}, nil, "::ffff:10.1.2.3", true},
		{"an IPv4 address in hexadecimal IPv6 form", list{"10.0.0.0/8"}, nil, "::ffff:a01:203", true},
		{"a foreign IPv4 address in its IPv6 form", list{"10.0.0.0/8"}, nil, "::ffff:203.0.113.9", false},
		{"a denied IPv4 address in its IPv6 form", list{"10.0.0.0/8"}, list{"10.9.0.0/16"}, "::ffff:10.9.0.1", false},
		{"a network in IPv6 form", list{"::ffff:10.0.0.0/104"}, nil, "10.1.2.3", true},
		{"an address in IPv6 form", list{"::ffff:10.0.0.1"}, nil, "10.0.0.1", true},
		{"an IPv4 address and an IPv6 network", list{"2001:db8::/32"}, nil, "10.0.0.1", false},
		{"an address with a zone", list{"fe80::/10"}, nil, "fe80::1%eth0", true},
		{"a denied address with a zone", list{"any"}, list{"fe80::/10"}, "fe80::1%eth0", false},
		{"denied within allowed", list{"10.0.0.0/8"}, list{"10.9.0.0/16"}, "10.9.0.1", false},
		{"allowed within denied", list{"10.9.0.1"}, list{"10.0.0.0/8"}, "10.9.0.1", false},
		{"allowed beside denied", list{"10.0.0.0/8"}, list{"10.9.0.0/16"}, "10.8.0.1", true},
		{"nothing but denied networks", nil, list{"203.0.113.0/24"}, "192.0.2.1", true},
		{"one of nothing but denied networks", nil, list{"203.0.113.0/24"}, "203.0.113.9", false},
		{"any", list{"any"}, nil, "203.0.113.9", true},
		{"any but one", list{"any"}, list{"203.0.113.9"}, "203.0.113.9", false},
		{"a private address", list{"private_ranges"}, nil, "192.168.4.4", true},
		{"a private IPv6 address", list{"private_ranges"}, nil, "fd12::1", true},
		{"loopback as private", list{"private_ranges"}, nil, "127.0.0.1", true},
		{"IPv6 loopback as private", list{"private_ranges"}, nil, "::1", true},
		{"a public address and private ranges", list{"private_ranges"}, nil, "172.32.0.1", false},
		{"private ranges denied", list{"any"}, list{"private_ranges"}, "172.31.0.1", false},
		{"no address", list{"10.0.0.0/8"}, nil, "", false},
		{"no address and any", list{"any"}, nil, "", false},
		{"no address and only denied networks", nil, list{"203.0.113.0/24"}, "", false},
		{"a host name", list{"any"}, nil, "localhost", false},
		{"an address with a port", list{"10.0.0.0/8"}, nil, "10.0.0.1:443", false},
		{"two addresses", list{"10.0.0.0/8"}, nil, "10.0.0.1, 203.0.113.9", false},
		{"an octal-looking address", list{"10.0.0.0/8"}, nil, "010.0.0.1", false},
		{"a decimal address", list{"127.0.0.0/8"}, nil, "2130706433", false},
		{"a space in front", list{"10.0.0.0/8"}, nil, " 10.0.0.1", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, err := NewNetworks(tc.allow, tc.deny)
			if err != nil {
				t.Fatal(err)
			}
			if got := n.Admits(tc.addr); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestNoNetworksTakeEveryRequest(t *testing.T) {
	n, err := NewNetworks(nil, nil)
	if n != nil || err != nil || !n.Admits("203.0.113.9") || !n.Admits("") || n.Decides() {
		t.Errorf("got %v, %v", n, err)
	}
}

func TestNetworksDecide(t *testing.T) {
	for _, tc := range []struct {
		allow, deny []string
		want        bool
	}{
		{[]string{"10.0.0.0/8"}, nil, true},
		{[]string{"any"}, nil, true},
		{nil, []string{"203.0.113.0/24"}, false},
	} {
		n, err := NewNetworks(tc.allow, tc.deny)
		if err != nil || n.Decides() != tc.want {
			t.Errorf("%v, %v: got %v, %v", tc.allow, tc.deny, n, err)
		}
	}
}

func TestNewNetworksRefuses(t *testing.T) {
	for _, tc := range []struct {
		name        string
		allow, deny []string
		want        string
	}{
		{"every IPv4 address", []string{"0.0.0.0/0"}, nil, `write "allow_network any"`},
		{"every IPv6 address", []string{"::/0"}, nil, `write "allow_network any"`},
		{"every IPv4 address in IPv6 form", []string{"::ffff:0.0.0.0/96"}, nil, `write "allow_network any"`},
		{"every address among others", []string{"10.0.0.0/8", "1.2.3.4/0"}, nil, `write "allow_network any"`},
		{"any beside a network", []string{"any", "10.0.0.0/8"}, nil, "would do nothing"},
		{"denying everything", nil, []string{"any"}, "refuse every request"},
		{"denying every address", nil, []string{"0.0.0.0/0"}, "every address there is"},
		{"a host name", []string{"intranet.example.com"}, nil, "not a network"},
		{"too long a prefix", []string{"10.0.0.0/33"}, nil, "not a network"},
		{"an address with a zone", []string{"fe80::1%eth0"}, nil, "not a network"},
		{"a range", []string{"10.0.0.1-10.0.0.9"}, nil, "not a network"},
		{"more than the mapped addresses", []string{"::ffff:0.0.0.0/90"}, nil, "not a network"},
		{"nothing", []string{""}, nil, "not a network"},
		{"a broken denied network", nil, []string{"10.0.0/8"}, "deny_network 10.0.0/8: not a network"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n, err := NewNetworks(tc.allow, tc.deny)
			if n != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v; want it to say %q", n, err, tc.want)
			}
		})
	}
}

func TestAdmitsDoesNotAllocate(t *testing.T) {
	n, err := NewNetworks([]string{"private_ranges", "2001:db8::/32"}, []string{"10.9.0.0/16"})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{"10.1.2.3", "::ffff:10.9.0.1", "2001:db8::1", "203.0.113.9"} {
		if allocs := testing.AllocsPerRun(100, func() { n.Admits(addr) }); allocs != 0 {
			t.Errorf("%s: %v allocations", addr, allocs)
		}
	}
}

// Whatever text comes in, an address is admitted only if it is one, and lies in the network in
// either of its forms.
func FuzzAdmits(f *testing.F) {
	for _, seed := range []string{"10.1.2.3", "::ffff:10.1.2.3", "fe80::1%a", "10.0.0.1:80", "::10.1.2.3"} {
		f.Add(seed)
	}
	n, err := NewNetworks([]string{"10.0.0.0/8"}, []string{"10.9.0.0/16"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		if !n.Admits(addr) {
			return
		}
		ip, err := netip.ParseAddr(addr)
		if err != nil {
			t.Fatalf("%q was admitted", addr)
		}
		four := ip.Unmap().As4()
		if four[0] != 10 || four[1] == 9 {
			t.Errorf("%q was admitted", addr)
		}
	})
}

func BenchmarkAdmits(b *testing.B) {
	n, err := NewNetworks([]string{"private_ranges"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !n.Admits("192.168.4.4") {
			b.Fatal("refused")
		}
	}
}
