package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// streamWorld is a world whose upstreams lie behind prefixes that are taken off on the way, below a
// compressing middleware: /tools is the MCP server, /tools/raw an upstream that the test writes, also
// without the compression as /tools/raw/plain, and for everybody as /open. The MCP server is at its own paths as well.
type streamWorld struct {
	*world
	raw  *upstream.Raw
	site string
}

const rootPaths = upstream.StreamablePath + " " + upstream.ResumablePath + " " + upstream.SSEPath + " " + upstream.MessagePath

func newStreamWorld(t *testing.T, secure bool, extra ...string) *streamWorld {
	t.Helper()
	return newStreamWorldAs(t, edge.Config{TLS: secure}, extra...)
}

func newStreamWorldAs(t *testing.T, c edge.Config, extra ...string) *streamWorld {
	t.Helper()
	w := &streamWorld{world: prepareWorld(t), raw: upstream.StartRaw(t)}
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.site = `	@compressed not path /tools/raw/plain/* /open/*
	encode @compressed zstd gzip
` + w.guard(append(extra, "resource /tools/*", "resource "+rootPaths)...) + fmt.Sprintf(`	handle_path /tools/raw/* {
		reverse_proxy %s
	}
	handle_path /open/* {
		reverse_proxy %[1]s
	}
	handle_path /tools/* {
		reverse_proxy %s
	}
	@root path %s
	handle @root {
		reverse_proxy %[2]s
	}
`, w.raw.Addr(), w.up.Addr(), rootPaths)
	c.Site = w.site
	w.startAs(c)
	if c.TLS {
		w.transport = w.edge.Transport()
	}
	return w
}

// guard is a mcp_auth block that lets Alice and Bob in.
func (w *world) guard(lines ...string) string {
	return fmt.Sprintf(`	mcp_auth {
		oidc %s {
			client_id edge
			client_secret {env.OIDC_CLIENT_SECRET}
		}
		allow domain example.com
		allow email %s
		%s
	}
`, w.idp.Issuer(), idp.Bob.Email, strings.Join(lines, "\n\t\t"))
}

// in is the world for a part of its test.
func (w *streamWorld) in(t *testing.T) *streamWorld {
	part := *w.world
	part.t = t
	return &streamWorld{world: &part, raw: w.raw, site: w.site}
}

// token signs somebody in and returns their access token for /tools, and the client that has it.
func (w *streamWorld) token(u idp.User) (string, *oauthClient, answer) {
	w.t.Helper()
	return w.tokenFor("/tools/mcp", u)
}

func (w *streamWorld) tokenFor(path string, u idp.User) (string, *oauthClient, answer) {
	w.t.Helper()
	c := w.newOAuthClient(path)
	p := newPerson(u)
	if w.transport != nil {
		p.SetTransport(w.transport)
	}
	tokens := c.signIn(p)
	return tokens.AccessToken, c, tokens
}

// protocols are the ways to reach a TLS edge. Each transport speaks one only.
func (w *streamWorld) protocols() map[string]http.RoundTripper {
	w.t.Helper()
	one := w.edge.Transport()
	one.ForceAttemptHTTP2 = false
	one.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	three := &http3.Transport{
		TLSClientConfig: w.edge.Transport().TLSClientConfig,
		Dial: func(ctx context.Context, _ string, config *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, w.edge.Addr(), config, q)
		},
	}
	w.t.Cleanup(func() { _ = three.Close() })
	return map[string]http.RoundTripper{"HTTP/1.1": one, "HTTP/2.0": w.edge.Transport(), "HTTP/3.0": three}
}

// reader is a client of one stream.
type reader struct {
	t     *testing.T
	resp  *http.Response
	lines chan string
	ended chan error // nil for a regular end
	leave context.CancelFunc
}

// open asks for a stream of the raw upstream and expects to get it.
func (w *streamWorld) open(transport http.RoundTripper, method, token string) *reader {
	w.t.Helper()
	return w.openAt(transport, method, "/tools/raw/events", token)
}

func (w *streamWorld) openAt(transport http.RoundTripper, method, path, token string) *reader {
	w.t.Helper()
	r := w.ask(transport, method, path, token)
	if r.resp.StatusCode != http.StatusOK {
		w.t.Fatalf("opening a stream was answered with %d", r.resp.StatusCode)
	}
	return r
}

func (w *streamWorld) ask(transport http.RoundTripper, method, path, token string) *reader {
	w.t.Helper()
	if transport == nil {
		transport = &http.Transport{DisableKeepAlives: true}
	}
	ctx, cancel := context.WithCancel(w.ctx)
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, w.url(path), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Accept-Encoding", "zstd, gzip")
	// A reload closes idle connections. With this header, which is not sent, the transport tries again.
	req.Header["X-Idempotency-Key"] = nil
	resp, err := transport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	r := &reader{t: w.t, resp: resp, lines: make(chan string, 64), ended: make(chan error, 1), leave: cancel}
	go func() {
		lines := bufio.NewReader(resp.Body)
		for {
			line, err := lines.ReadString('\n')
			if line = strings.TrimSpace(line); line != "" {
				r.lines <- line
			}
			if err != nil {
				if errors.Is(err, io.EOF) {
					err = nil
				}
				r.ended <- err
				return
			}
		}
	}()
	return r
}

// expect waits for a line; keep-alive comments may come before it.
func (r *reader) expect(want string) {
	r.t.Helper()
	for {
		select {
		case line := <-r.lines:
			if line == want {
				return
			}
			if !strings.HasPrefix(line, ":") {
				r.t.Fatalf("got %q, want %q", line, want)
			}
		case err := <-r.ended:
			r.t.Fatalf("the stream ended with %v, want %q", err, want)
		case <-time.After(10 * time.Second):
			r.t.Fatalf("%q did not arrive", want)
		}
	}
}

// expectEnd waits for the end, which is a regular one or has to be none.
func (r *reader) expectEnd(within time.Duration, regular bool) {
	r.t.Helper()
	select {
	case err := <-r.ended:
		if (err == nil) != regular {
			r.t.Errorf("the stream ended with %v; a regular end: %v", err, regular)
		}
	case <-time.After(within):
		r.t.Errorf("the stream is still open after %v", within)
	}
}

func gone(t *testing.T, s *upstream.Stream) {
	t.Helper()
	select {
	case <-s.Gone():
	case <-time.After(5 * time.Second):
		t.Error("the upstream's side of the stream is still open")
	}
}
