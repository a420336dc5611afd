package publicnet

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestPublicAddress(t *testing.T) {
	for _, tc := range []struct {
		name, addr string
		want       bool
	}{
		{"IPv4", "8.8.8.8", true},
		{"IPv6", "2606:4700::1111", true},
		{"IPv6 beside the special block", "2001:4860:4860::8888", true},
		{"IPv4 below the private block", "172.15.255.255", true},
		{"IPv4 above the private block", "172.32.0.1", true},
		{"this network", "0.0.0.0", false},
		{"private 10", "10.1.2.3", false},
		{"carrier grade NAT", "100.64.0.1", false},
		{"loopback", "127.0.0.1", false},
		{"another loopback", "127.255.255.254", false},
		{"metadata service", "169.254.169.254", false},
		{"private 172", "172.31.255.255", false},
		{"protocol assignments", "192.0.0.192", false},
		{"documentation 1", "192.0.2.1", false},
		{"6to4 relay", "192.88.99.1", false},
		{"private 192", "192.168.1.1", false},
		{"benchmark", "198.19.0.1", false},
		{"documentation 2", "198.51.100.1", false},
		{"documentation 3", "203.0.113.1", false},
		{"multicast", "224.0.0.1", false},
		{"reserved", "240.0.0.1", false},
		{"broadcast", "255.255.255.255", false},
		{"unspecified", "::", false},
		{"IPv6 loopback", "::1", false},
		{"IPv4-compatible", "::8.8.8.8", false},
		{"mapped loopback", "::ffff:127.0.0.1", false},
		{"mapped private", "::ffff:10.0.0.1", false},
		{"mapped public", "::ffff:8.8.8.8", true},
		{"NAT64", "64:ff9b::7f00:1", false},
		{"local NAT64", "64:ff9b:1::1", false},
		{"discard", "100::1", false},
		{"Teredo", "2001::1", false},
		{"ORCHID", "2001:20::1", false},
		{"IPv6 documentation", "2001:db8::1", false},
		{"6to4", "2002:7f00:1::", false},
		{"new IPv6 documentation", "3fff::1", false},
		{"unique local", "fd00:ec2::254", false},
		{"link local", "fe80::1", false},
		{"link local with a zone", "fe80::1%eth0", false},
		{"public with a zone", "2606:4700::1111%eth0", false},
		{"site local", "fec0::1", false},
		{"IPv6 multicast", "ff02::1", false},
		{"unassigned", "4000::1", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Public(netip.MustParseAddr(tc.addr)); got != tc.want {
				t.Errorf("Public(%s) = %v", tc.addr, got)
			}
		})
	}
	if Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// answers resolves each lookup to the next answer, the last one for good.
type answers [][]string

func (a *answers) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	next := (*a)[0]
	if len(*a) > 1 {
		*a = (*a)[1:]
	}
	addrs := make([]netip.Addr, len(next))
	for i, s := range next {
		addrs[i] = netip.MustParseAddr(s)
	}
	return addrs, nil
}

// testDialer connects to nothing, and reports where it would have.
func testDialer(d *Dialer, resolves ...[]string) (_ *Dialer, connected *[]string) {
	a := answers(resolves)
	connected = &[]string{}
	d.Resolver = &a
	d.connect = func(_ context.Context, network, address string) (net.Conn, error) {
		if err := d.control(network, address, nil); err != nil {
			return nil, err
		}
		*connected = append(*connected, address)
		return nil, errors.New("nobody listens")
	}
	return d, connected
}

func TestDialJudgesEveryAddress(t *testing.T) {
	for _, tc := range []struct {
		name    string
		address string
		answer  []string
		want    string
	}{
		{"one public address", "a.example:443", []string{"8.8.8.8"}, "8.8.8.8:443"},
		{"public addresses of both families", "a.example:443", []string{"8.8.8.8", "2606:4700::1111"}, "8.8.8.8:443 [2606:4700::1111]:443"},
		{"a mapped public address", "a.example:443", []string{"::ffff:8.8.8.8"}, "8.8.8.8:443"},
		{"loopback", "a.example:443", []string{"127.0.0.1"}, ""},
		{"a public address, then loopback", "a.example:443", []string{"8.8.8.8", "127.0.0.1"}, ""},
		{"loopback, then a public address", "a.example:443", []string{"127.0.0.1", "8.8.8.8"}, ""},
		{"a public A and a private AAAA", "a.example:443", []string{"8.8.8.8", "fd00::1"}, ""},
		{"a private A and a public AAAA", "a.example:443", []string{"10.0.0.1", "2606:4700::1111"}, ""},
		{"a mapped metadata address", "a.example:443", []string{"::ffff:169.254.169.254"}, ""},
		{"a literal address", "127.0.0.1:443", nil, ""},
		{"a literal IPv6 address", "[::1]:443", nil, ""},
		{"no address", "a.example:443", []string{}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, connected := testDialer(new(Dialer), tc.answer)
			if conn, err := d.DialContext(t.Context(), "tcp", tc.address); conn != nil || err == nil {
				t.Fatalf("%v, %v", conn, err)
			}
			if got := strings.Join(*connected, " "); got != tc.want {
				t.Errorf("connected to %q, want %q", got, tc.want)
			}
		})
	}
}

// DNS rebinding: the name is public while it is checked and loopback when it is connected to. There
// is no second resolution between the two, and the next fetch is judged by its own.
func TestDialUnderRebinding(t *testing.T) {
	d, connected := testDialer(new(Dialer), []string{"8.8.8.8"}, []string{"127.0.0.1"})
	if _, err := d.DialContext(t.Context(), "tcp", "a.example:443"); errors.Is(err, ErrRefused) {
		t.Errorf("the public answer is refused: %v", err)
	}
	if _, err := d.DialContext(t.Context(), "tcp", "a.example:443"); !errors.Is(err, ErrRefused) {
		t.Errorf("the loopback answer is not refused: %v", err)
	}
	if got := strings.Join(*connected, " "); got != "8.8.8.8:443" {
		t.Errorf("connected to %q", got)
	}
}

// The socket itself refuses, should anything ever reach it that was not judged before.
func TestControlRefusesOnTheSocket(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	d := new(Dialer)
	conn, err := d.open(t.Context(), "tcp", server.Listener.Addr().String())
	if conn != nil || !errors.Is(err, ErrRefused) {
		t.Errorf("%v, %v", conn, err)
	}
	for _, address := range []string{"[::ffff:127.0.0.1]:443", "10.0.0.1:80", "a.example:443", "", "[fe80::1%lo]:443"} {
		if err := d.control("tcp", address, nil); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if err := d.control("tcp", "8.8.8.8:443", nil); err != nil {
		t.Error(err)
	}
}

func TestTheTransportIgnoresTheProxyOfTheEnvironment(t *testing.T) {
	if new(Dialer).Transport(nil).Proxy != nil {
		t.Error("a proxy would resolve and connect where the dialer cannot see it")
	}
}

func TestWhatAnOperatorMayAllow(t *testing.T) {
	for _, tc := range []struct {
		name   string
		dialer Dialer
		answer string
		want   string
	}{
		{"loopback where it is allowed", Dialer{Loopback: true}, "127.0.0.1", "127.0.0.1:443"},
		{"a private network where loopback is allowed", Dialer{Loopback: true}, "10.0.0.1", ""},
		{"a private network where those are allowed", Dialer{Private: true}, "10.0.0.1", "10.0.0.1:443"},
		{"another private network", Dialer{Private: true}, "fd12::1", "[fd12::1]:443"},
		{"loopback where private networks are allowed", Dialer{Private: true}, "127.0.0.1", ""},
		{"the metadata service of a cloud", Dialer{Private: true, Loopback: true}, "169.254.169.254", ""},
		{"the metadata service of a cloud over IPv6", Dialer{Private: true, Loopback: true}, "fd00:ec2::254", ""},
		{"the metadata service, mapped", Dialer{Private: true, Loopback: true}, "::ffff:169.254.169.254", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, connected := testDialer(&tc.dialer, []string{tc.answer})
			if conn, err := d.DialContext(t.Context(), "tcp", "a.example:443"); conn != nil || err == nil {
				t.Fatalf("%v, %v", conn, err)
			}
			if got := strings.Join(*connected, " "); got != tc.want {
				t.Errorf("connected to %q, want %q", got, tc.want)
			}
		})
	}
}
