package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// bothEnds is a stream of the raw upstream as its client and as the upstream have it.
type bothEnds struct {
	*reader
	up *upstream.Stream
}

// pass sends an event all the way.
func (s *bothEnds) pass(event string) {
	s.t.Helper()
	s.up.Write(event + "\n\n")
	s.expect(event)
}

// cut is one way in which a stream ends.
type cut struct {
	cause   string // as it is counted
	regular bool   // whether the client sees an end and no break
	do      func()
}

func ended(cause string) string { return `caddy_mcp_auth_streams_ended_total{cause="` + cause + `"}` }

// cut ends s, and asserts that its client learns how, that the upstream and the edge let go of it, that it is
// counted once, under its cause, and that another stream goes on.
func (w *streamWorld) cut(other, s *bothEnds, c cut) {
	w.t.Helper()
	s.pass("data: before")
	open, endedBefore := w.edge.Metric("caddy_mcp_auth_streams_open"), w.edge.Metric(ended(c.cause))
	c.do()
	within := 5 * time.Second
	if c.cause == "revoked" {
		within = 2 * time.Second
	}
	s.expectEnd(within, c.regular)
	gone(w.t, s.up)
	edge.Eventually(w.t, "a stream that was ended by "+c.cause+" is counted", 5*time.Second, func() bool {
		return w.edge.Metric("caddy_mcp_auth_streams_open") == open-1 && w.edge.Metric(ended(c.cause)) == endedBefore+1
	})
	if other != nil {
		other.pass("data: the other stream goes on")
	}
}

// vanishing is a transport for one stream, and how its client disappears without taking leave: over TCP by a
// reset without a word of TLS before it, over QUIC by silence.
func (w *streamWorld) vanishing(proto string) (transport http.RoundTripper, vanish func()) {
	w.t.Helper()
	if proto == "HTTP/3.0" {
		return w.vanishingQUIC()
	}
	var mu sync.Mutex
	var conns []*net.TCPConn
	t := w.edge.Transport()
	if proto == "HTTP/1.1" {
		t.ForceAttemptHTTP2 = false
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := w.edge.Dial(ctx, network, addr)
		if tcp, ok := conn.(*net.TCPConn); ok {
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, tcp)
		}
		return conn, err
	}
	return t, func() {
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range conns {
			_ = conn.SetLinger(0)
			_ = conn.Close()
		}
	}
}

// quicPatience is the shortest idle timeout that the edge's QUIC takes from a client.
const quicPatience = 5 * time.Second

func (w *streamWorld) vanishingQUIC() (transport http.RoundTripper, vanish func()) {
	w.t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	mute := &mutable{PacketConn: socket}
	q := &quic.Transport{Conn: mute}
	to, err := net.ResolveUDPAddr("udp", w.edge.Addr())
	if err != nil {
		w.t.Fatal(err)
	}
	h := &http3.Transport{
		TLSClientConfig: w.edge.Transport().TLSClientConfig,
		// The shorter of both sides' timeouts counts, which the heartbeats keep the connection from.
		QUICConfig: &quic.Config{MaxIdleTimeout: quicPatience},
		Dial: func(ctx context.Context, _ string, config *tls.Config, c *quic.Config) (*quic.Conn, error) {
			return q.DialEarly(ctx, to, config, c)
		},
	}
	w.t.Cleanup(func() {
		_ = h.Close()
		_ = q.Close()
		_ = socket.Close()
	})
	return h, func() { mute.silent.Store(true) }
}

// mutable is a socket that can fall silent.
type mutable struct {
	net.PacketConn
	silent atomic.Bool
}

func (m *mutable) WriteTo(p []byte, addr net.Addr) (int, error) {
	if m.silent.Load() {
		return len(p), nil
	}
	return m.PacketConn.WriteTo(p, addr)
}

func (m *mutable) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, addr, err := m.PacketConn.ReadFrom(p)
		if err != nil || !m.silent.Load() {
			return n, addr, err
		}
	}
}

// quic-go asks for these before it warns.
func (m *mutable) SetReadBuffer(n int) error  { return m.PacketConn.(*net.UDPConn).SetReadBuffer(n) }
func (m *mutable) SetWriteBuffer(n int) error { return m.PacketConn.(*net.UDPConn).SetWriteBuffer(n) }
