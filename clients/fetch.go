package clients

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

const (
	fetchTimeout = 5 * time.Second
	maxDocument  = 10 << 10
	maxFetches   = 16 // at the same time
)

// errRefused is a URL or an answer that will not get better by asking again.
var errRefused = errors.New("refused")

// errNoHost is a host that does not exist, as far as the resolver knows: nobody's client, unless it
// was one an hour ago.
var errNoHost = errors.New("its host does not exist")

// errBusy is a fetch that was not tried, so it says nothing about the URL.
var errBusy = errors.New("too many documents are being fetched")

// resolver is what a fetcher needs of net.Resolver.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// fetcher gets small JSON documents from URLs that strangers name. It reaches public addresses only,
// follows no redirect and uses no proxy, since a proxy would resolve names out of our sight.
type fetcher struct {
	resolver      resolver
	allowLoopback bool
	client        *http.Client
	slots         chan struct{}
	now           func() time.Time

	connect func(ctx context.Context, network, address string) (net.Conn, error)
}

func newFetcher(allowLoopback bool, roots *x509.CertPool, now func() time.Time) *fetcher {
	f := &fetcher{
		resolver: net.DefaultResolver, allowLoopback: allowLoopback, now: now,
		slots: make(chan struct{}, maxFetches),
	}
	f.connect = (&net.Dialer{Timeout: fetchTimeout, Control: f.control}).DialContext
	f.client = &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			DialContext:     f.dial,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			// Every fetch is judged by a fresh resolution.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 32 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return f
}

// dial resolves once, judges every address of the answer, and connects to those and no others. A name
// with both public and other addresses is refused whole: it is set up to get past the check.
func (f *fetcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%w: splitting an address: %w", errRefused, err)
	}
	addrs := []netip.Addr{}
	if addr, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, addr)
	} else if addrs, err = f.resolver.LookupNetIP(ctx, "ip", host); err != nil {
		if missing, ok := errors.AsType[*net.DNSError](err); ok && missing.IsNotFound {
			return nil, errNoHost
		}
		return nil, fmt.Errorf("resolving its host: %w", err)
	}
	for _, addr := range addrs {
		if !f.allowed(addr) {
			return nil, fmt.Errorf("%w: its host has an address that is not public", errRefused)
		}
	}
	err = errors.New("its host has no address")
	for _, addr := range addrs {
		var conn net.Conn
		if conn, err = f.connect(ctx, network, net.JoinHostPort(addr.Unmap().String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// control judges the address that the socket is about to connect to, whatever led there.
func (f *fetcher) control(_, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil || !f.allowed(addr.Addr()) {
		return fmt.Errorf("%w: the address is not public", errRefused)
	}
	return nil
}

func (f *fetcher) allowed(addr netip.Addr) bool {
	return publicAddress(addr) || f.allowLoopback && addr.Unmap().IsLoopback()
}

// fetch returns the JSON document at url and for how long it may be used. An error that is errRefused
// is the document's fault; any other may go away.
func (f *fetcher) fetch(ctx context.Context, url string) ([]byte, time.Duration, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		return nil, 0, errBusy
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: its URL cannot be requested", errRefused)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "caddy-mcp-auth")
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("fetching it: %w", err)
	}
	defer resp.Body.Close()
	if err := checkAnswer(resp); err != nil {
		return nil, 0, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, 0, fmt.Errorf("reading it: %w", err)
	}
	if len(body) > maxDocument {
		return nil, 0, fmt.Errorf("%w: it is larger than %d bytes", errRefused, maxDocument)
	}
	return body, lifetime(resp.Header, f.now()), nil
}

func checkAnswer(resp *http.Response) error {
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w: there is none (status %d)", errRefused, code)
	case code >= 300 && code < 400:
		// Client ID metadata document draft, section 4: redirects must not be followed.
		return fmt.Errorf("%w: its URL redirects", errRefused)
	default:
		// Bot rules and rate limits answer like this, too; they say nothing about the document.
		return fmt.Errorf("its server answered with status %d", code)
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || media != "application/json" && !(strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")) {
		return fmt.Errorf("%w: its content type is not JSON", errRefused)
	}
	return nil
}
