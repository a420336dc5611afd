// Package publicnet connects to the public internet and nowhere else, for requests to addresses that
// somebody else has named: a URL in a document, an endpoint in metadata. What such a name resolves to is
// judged, not the name. It knows nothing of what the requests are for.
package publicnet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// ErrRefused is an address that is not public. Asking again does not help.
var ErrRefused = errors.New("refused")

// ErrNoHost is a host that does not exist, as far as the resolver knows.
var ErrNoHost = errors.New("its host does not exist")

// defaultTimeout bounds one connection attempt.
const defaultTimeout = 5 * time.Second

// Resolver is what a Dialer needs of net.Resolver.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dialer connects to public addresses. The zero value is ready for use.
type Dialer struct {
	// Resolver looks names up. Default: net.DefaultResolver.
	Resolver Resolver

	// Loopback lets this machine be reached too: for development and tests.
	Loopback bool

	// Private lets private networks be reached too (RFC 1918, RFC 4193), for operators who named a host of
	// theirs. Link-local addresses, where clouds keep the secrets of a machine, stay refused.
	Private bool

	// Timeout bounds one connection attempt. Default: 5s.
	Timeout time.Duration

	connect func(ctx context.Context, network, address string) (net.Conn, error) // for tests
}

// Transport makes HTTP requests through d. It uses no proxy, which would resolve names out of sight, and
// keeps no connection: every request is judged by a fresh resolution. roots may be nil.
func (d *Dialer) Transport(roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 32 << 10,
	}
}

// DialContext resolves once, judges every address of the answer, and connects to those and no others. A
// name with both public and other addresses is refused whole: it is set up to get past the check.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w: splitting an address: %w", ErrRefused, err)
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if !d.allowed(addr) {
			return nil, fmt.Errorf("%w: its host has an address that is not public", ErrRefused)
		}
	}
	err = errors.New("its host has no address")
	for _, addr := range addrs {
		var conn net.Conn
		if conn, err = d.open(ctx, network, net.JoinHostPort(addr.Unmap().String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (d *Dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	var resolver Resolver = net.DefaultResolver
	if d.Resolver != nil {
		resolver = d.Resolver
	}
	addrs, err := resolver.LookupNetIP(ctx, "ip", host)
	if missing, ok := errors.AsType[*net.DNSError](err); ok && missing.IsNotFound {
		return nil, ErrNoHost
	}
	if err != nil {
		return nil, fmt.Errorf("resolving its host: %w", err)
	}
	return addrs, nil
}

func (d *Dialer) open(ctx context.Context, network, address string) (net.Conn, error) {
	if d.connect != nil {
		return d.connect(ctx, network, address)
	}
	dialer := net.Dialer{Timeout: d.Timeout, Control: d.control}
	if dialer.Timeout == 0 {
		dialer.Timeout = defaultTimeout
	}
	return dialer.DialContext(ctx, network, address)
}

// control judges the address that the socket is about to connect to, whatever led there.
func (d *Dialer) control(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !d.allowed(addr.Addr()) {
		return fmt.Errorf("%w: the address is not public", ErrRefused)
	}
	return nil
}

func (d *Dialer) allowed(addr netip.Addr) bool {
	return Public(addr) || d.Loopback && addr.Unmap().IsLoopback() ||
		d.Private && addr.Zone() == "" && addr.IsPrivate() && !cloudMetadata.Contains(addr)
}

// cloudMetadata is where a large cloud keeps its metadata service in IPv6, within the unique local space.
var cloudMetadata = netip.MustParsePrefix("fd00:ec2::/32")
