// Package browser is a web browser without a screen or scripts: it keeps cookies, follows
// redirects, reads pages and sends their forms, with the headers a real one adds.
package browser

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

const (
	maxRedirects = 20
	maxPage      = 1 << 20
)

// Browser is one person's browser. It is not safe for concurrent use, like one tab.
type Browser struct {
	client *http.Client
	stop   string
}

// New makes a browser without cookies. It stops at a redirect to an address beginning with stopAt,
// the redirect URI of the application that opened the browser.
func New(stopAt string) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // cannot happen without options
	}
	return &Browser{stop: stopAt, client: &http.Client{
		Jar:           jar,
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// SetTransport replaces the network, for edges with a certificate of their own.
func (b *Browser) SetTransport(rt http.RoundTripper) { b.client.Transport = rt }

// Cookies lists what the browser would send to address.
func (b *Browser) Cookies(address string) []*http.Cookie {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	return b.client.Jar.Cookies(u)
}

// Open types address into the address bar.
func (b *Browser) Open(ctx context.Context, address string) (*Page, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Sec-Fetch-Site", "none")
	return b.navigate(req, nil)
}

// Follow presses a link to address on the page at from, whatever stands there.
func (b *Browser) Follow(ctx context.Context, from, address string) (*Page, error) {
	page, err := url.Parse(from)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Sec-Fetch-Site", fetchSite(page, req.URL))
	return b.navigate(req, page)
}

// Submit sends form as if button had been pressed; values fill its fields in. An empty button
// presses none.
func (b *Browser) Submit(ctx context.Context, form *Form, button string, values map[string]string) (*Page, error) {
	fields, err := form.fill(button, values)
	if err != nil {
		return nil, err
	}
	return b.send(ctx, form.Page, form.Method, form.Action, fields)
}

// Send submits fields to address from the page from, whatever that page offers: what a page of an
// attacker, or a tampered one, would send.
func (b *Browser) Send(ctx context.Context, from *Page, address string, fields url.Values) (*Page, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	return b.send(ctx, from, http.MethodPost, u, fields)
}

func (b *Browser) send(ctx context.Context, from *Page, method string, action *url.URL, fields url.Values) (*Page, error) {
	target := *action
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(fields.Encode())
	} else {
		target.RawQuery = fields.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", origin(from.URL))
	}
	req.Header.Set("Sec-Fetch-Site", fetchSite(from.URL, req.URL))
	return b.navigate(req, from.URL)
}

// navigate follows redirects as browsers do: a 303, and a 301 or 302 after a POST, turn into a GET.
func (b *Browser) navigate(req *http.Request, initiator *url.URL) (*Page, error) {
	worst := req.Header.Get("Sec-Fetch-Site")
	for range maxRedirects {
		req.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
		req.Header.Set("Sec-Fetch-Mode", "navigate")
		req.Header.Set("Sec-Fetch-Dest", "document")
		resp, err := b.client.Do(req)
		if err != nil {
			return nil, fmt.Errorf("opening a page: %w", err)
		}
		location := resp.Header.Get("Location")
		if resp.StatusCode < 300 || resp.StatusCode > 399 || location == "" {
			return readPage(resp)
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxPage))
		_ = resp.Body.Close()
		target, err := req.URL.Parse(location)
		if err != nil {
			return nil, fmt.Errorf("reading a redirect: %w", err)
		}
		if b.stop != "" && strings.HasPrefix(target.String(), b.stop) {
			return &Page{URL: target, Status: resp.StatusCode, Header: resp.Header, Landed: true}, nil
		}
		if resp.StatusCode == http.StatusTemporaryRedirect || resp.StatusCode == http.StatusPermanentRedirect {
			return nil, fmt.Errorf("redirect with status %d: a browser would send the form again", resp.StatusCode)
		}
		// The Fetch Metadata value of a chain is that of its least related member.
		if initiator != nil {
			worst = lessRelated(worst, fetchSite(initiator, target))
		}
		next, err := http.NewRequestWithContext(req.Context(), http.MethodGet, target.String(), nil)
		if err != nil {
			return nil, err
		}
		next.Header.Set("Sec-Fetch-Site", worst)
		req = next
	}
	return nil, fmt.Errorf("more than %d redirects", maxRedirects)
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// fetchSite is the relation of two addresses in the words of Sec-Fetch-Site. Ports do not make
// another site; the hosts of the tests have no subdomains.
func fetchSite(from, to *url.URL) string {
	switch {
	case origin(from) == origin(to):
		return "same-origin"
	case from.Scheme == to.Scheme && from.Hostname() == to.Hostname():
		return "same-site"
	}
	return "cross-site"
}

func lessRelated(a, b string) string {
	rank := map[string]int{"none": 0, "same-origin": 1, "same-site": 2, "cross-site": 3}
	if rank[a] >= rank[b] {
		return a
	}
	return b
}
