package clients

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/publicnet"
)

const (
	fetchTimeout = 5 * time.Second
	maxDocument  = 10 << 10
	maxFetches   = 16 // at the same time
)

// errRefused is a URL or an answer that will not get better by asking again; errNoHost is a host that
// does not exist: nobody's client, unless it was one an hour ago.
var (
	errRefused = publicnet.ErrRefused
	errNoHost  = publicnet.ErrNoHost
)

// errBusy is a fetch that was not tried, so it says nothing about the URL.
var errBusy = errors.New("too many documents are being fetched")

// fetcher gets small JSON documents from URLs that strangers name. It reaches public addresses only,
// follows no redirect and uses no proxy, since a proxy would resolve names out of our sight.
type fetcher struct {
	dialer *publicnet.Dialer
	client *http.Client
	slots  chan struct{}
	now    func() time.Time
}

func newFetcher(allowLoopback bool, roots *x509.CertPool, now func() time.Time) *fetcher {
	dialer := &publicnet.Dialer{Loopback: allowLoopback, Timeout: fetchTimeout}
	return &fetcher{
		dialer: dialer, now: now, slots: make(chan struct{}, maxFetches),
		client: &http.Client{
			Timeout:       fetchTimeout,
			Transport:     dialer.Transport(roots),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
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
