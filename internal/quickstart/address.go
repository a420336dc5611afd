// Package quickstart is what the commands share that run an edge without a Caddyfile: where they
// listen, how they start, and how they tell people to connect. It knows nothing of OAuth.
package quickstart

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// Address is an address of this computer that no other one can reach.
type Address struct {
	Host, Port string
	bind       []string // the addresses to listen on
}

// Loopback reads the value of a flag that names an address of this computer, host:port, and makes
// sure that nothing listens there: Caddy would share a busy port with another Caddy instead of
// failing.
func Loopback(flag, value string) (Address, error) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return Address{}, fmt.Errorf("%s %q is not host:port, for example %s localhost:8080", flag, value, flag)
	}
	if !validPort(port) {
		return Address{}, fmt.Errorf("%s %q has no port between 1 and 65535", flag, value)
	}
	a := Address{Host: host, Port: port}
	switch {
	case host == "" || strings.EqualFold(host, "localhost"):
		a.Host, a.bind = "localhost", []string{"127.0.0.1", "::1"}
	case IsLoopback(host):
		a.bind = []string{host}
	default:
		return Address{}, fmt.Errorf("%s %q is not this computer's own address; write, for example, %s localhost:8080", flag, value, flag)
	}
	return a, a.probe(flag)
}

// probe keeps the addresses that this computer has.
func (a *Address) probe(flag string) error {
	usable := a.bind[:0]
	for _, ip := range a.bind {
		err := Free(flag, net.JoinHostPort(ip, a.Port))
		switch {
		case err == nil:
			usable = append(usable, ip)
		case errors.Is(err, syscall.EADDRINUSE), ip != "::1", a.Host != "localhost": // not every computer has IPv6
			return err
		}
	}
	a.bind = usable
	return nil
}

// IsLoopback reports whether host is localhost or an address of this computer alone.
func IsLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() && ip.Zone() == ""
}

// Free reports whether somebody else listens on address, host:port, or may not listen there.
func Free(flag, address string) error {
	ln, err := net.Listen("tcp", address)
	_, port, _ := net.SplitHostPort(address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %s is in use: stop what listens there, or choose another port with %s (%w)", port, flag, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %s is for privileged programs: start as root, give the program the right to bind it, "+
			"or choose another port with %s (%w)", port, flag, syscall.EACCES)
	case err != nil:
		return fmt.Errorf("listening for %s: %w", flag, err)
	}
	return ln.Close()
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// String is the address as people type it.
func (a Address) String() string { return net.JoinHostPort(a.Host, a.Port) }

// Sites are the Caddyfile's addresses of a site here: all that people may type for this one.
func (a Address) Sites() string {
	sites := []string{"http://" + a.String()}
	if a.Host == "localhost" {
		for _, ip := range a.bind {
			sites = append(sites, "http://"+net.JoinHostPort(ip, a.Port))
		}
	}
	return strings.Join(sites, ", ")
}

// Bind is the Caddyfile's bind directive.
func (a Address) Bind() string {
	words := []string{"bind"}
	for _, ip := range a.bind {
		if strings.Contains(ip, ":") {
			ip = "[" + ip + "]"
		}
		words = append(words, ip)
	}
	return strings.Join(words, " ")
}
