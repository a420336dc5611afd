package mcpclient

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/auth"
)

func roundTripper(c *http.Client) http.RoundTripper {
	if c.Transport != nil {
		return c.Transport
	}
	return http.DefaultTransport
}

// withHeader adds fixed headers to every request.
type withHeader struct {
	next   http.RoundTripper
	header http.Header
}

func (w withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range w.header {
		r.Header[name] = values
	}
	return w.next.RoundTrip(r)
}

// authorized gives the SDK's legacy transport, which knows no authorization, the handler that the
// Streamable HTTP transport has built in: ask for a token at the first 401, then repeat.
type authorized struct {
	next    http.RoundTripper
	handler auth.OAuthHandler
}

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
		_ = r.Body.Close()
	}
	resp, err := a.attempt(r, body)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	if err := a.handler.Authorize(r.Context(), r, resp); err != nil {
		return nil, fmt.Errorf("authorizing: %w", err)
	}
	return a.attempt(r, body)
}

func (a authorized) attempt(r *http.Request, body []byte) (*http.Response, error) {
	r = r.Clone(r.Context())
	if body != nil {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	source, err := a.handler.TokenSource(r.Context())
	if err != nil {
		return nil, err
	}
	if source != nil {
		token, err := source.Token()
		if err != nil {
			return nil, fmt.Errorf("getting a token: %w", err)
		}
		token.SetAuthHeader(r)
	}
	return a.next.RoundTrip(r)
}
