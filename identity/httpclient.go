package identity

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	requestTimeout = 10 * time.Second
	maxBody        = 1 << 20
	maxRedirects   = 3
)

var (
	errTooLarge = errors.New("answer larger than 1 MiB")
	errRedirect = errors.New("redirected to where it may not lead")
	errTimeout  = errors.New("timed out")
	errNotJSON  = errors.New("answer is not a JSON object of the expected form")
)

// statusError is an answer other than 200. Its body is dropped: the provider worded it.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d", int(e)) }

// sharedTransport outlives configurations, so that a reload leaves no idle connections behind.
var sharedTransport = sync.OnceValue(func() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = 64 << 10
	return t
})

// Transport is what reaches providers, wherever the operator says that they are: through the proxies that the
// environment names, and in private networks.
func Transport() http.RoundTripper { return sharedTransport() }

// newClient returns a client for talking to a provider. It keeps the transport and the timeout of
// base, which may be nil, and bounds what an answer can do.
func newClient(base *http.Client) *http.Client {
	c := &http.Client{Timeout: requestTimeout, CheckRedirect: stayOnHost}
	transport := sharedTransport()
	if base != nil {
		if base.Transport != nil {
			transport = base.Transport
		}
		if base.Timeout > 0 {
			c.Timeout = base.Timeout
		}
	}
	c.Transport = limited{transport}
	return c
}

// stayOnHost lets a GET be redirected within its scheme and host only. Requests that carry a
// client secret or a code are never redirected.
func stayOnHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	if first.Method != http.MethodGet || len(via) > maxRedirects ||
		req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host {
		return errRedirect
	}
	return nil
}

// limited fails the reading of a body beyond maxBody, also when it only grew by decompression.
// Cutting it off silently could make a valid shorter document of it.
type limited struct{ next http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxBody}
	return resp, nil
}

type limitedBody struct {
	io.ReadCloser
	left int
}

func (b *limitedBody) Read(p []byte) (int, error) {
	// One byte more than allowed is asked for, to tell a full body from one that is too large.
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		return b.left, errTooLarge
	}
	b.left -= n
	return n, err
}

// fetchJSON gets url, with a bearer token unless that is empty, and decodes the answer. Its errors
// hold nothing that the other side has worded.
func fetchJSON(ctx context.Context, client *http.Client, url, bearer string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return errors.New("not a usable address")
	}
	req.Header.Set("Accept", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return doJSON(client, req, into)
}

// postForm posts form to url and decodes the answer, with errors like those of fetchJSON.
func postForm(ctx context.Context, client *http.Client, url string, form url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(form.Encode()))
	if err != nil {
		return errors.New("not a usable address")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return doJSON(client, req, into)
}

func doJSON(client *http.Client, req *http.Request, into any) error {
	resp, err := client.Do(req)
	if err != nil {
		return cause(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return statusError(resp.StatusCode)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return cause(err)
	}
	if json.Unmarshal(body, into) != nil {
		return errNotJSON
	}
	return nil
}

// cause reduces an error of a request to what helps the operator. The originals quote addresses,
// certificates and bytes that whoever answered has chosen.
func cause(err error) error {
	var (
		netErr   net.Error
		dnsErr   *net.DNSError
		errno    syscall.Errno
		tlsErr   *tls.CertificateVerificationError
		fixed    = []error{errTooLarge, errRedirect, context.Canceled}
		unusable = errors.New("no usable answer")
	)
	for _, known := range fixed {
		if errors.Is(err, known) {
			return known
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return errTimeout
	case errors.As(err, &dnsErr):
		return errors.New("host name could not be resolved")
	case errors.As(err, &tlsErr):
		return errors.New("certificate is not trusted")
	case errors.As(err, &errno):
		return errno
	}
	return unusable
}
