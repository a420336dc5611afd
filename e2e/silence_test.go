package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// silence is for how long an upstream says nothing: $MCP_SILENCE, or as short as shows the same. The real
// thing is
//
//	MCP_SILENCE=10m go test -run SilentStreams -timeout 20m -v .
func silence(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("MCP_SILENCE")
	if text == "" {
		return 6 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 6*time.Second {
		t.Fatalf("MCP_SILENCE is %q; it must be a duration of at least 6s", text)
	}
	return d
}

// Everything between an upstream and its client that gives up on silence has less patience here than the
// upstream is silent: Caddy's timeouts, and the QUIC of the clients.
func TestSilentStreamsStayOpenOverEveryProtocol(t *testing.T) {
	t.Parallel()
	silent := silence(t)
	heartbeat := min(25*time.Second, silent/6) // the default, where it is short enough
	w := newStreamWorldAs(t, edge.Config{
		TLS:     true,
		Servers: "timeouts {\nread_header 2s\nread_body_idle 2s\nwrite_idle 2s\nidle 2s\n}",
	}, fmt.Sprintf("streams {\n heartbeat %s\n }", heartbeat))
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithTimeout(t.Context(), silent+time.Minute)
	t.Cleanup(cancel)
	token, _, _ := w.token(idp.Alice)
	var all sync.WaitGroup
	for name, transport := range w.protocols() {
		for _, path := range []string{"/tools/raw/events", "/tools/raw/plain/events"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				r := w.openAt(transport, method, path, token)
				if r.resp.Proto != name {
					t.Errorf("a stream came over %s instead of %s", r.resp.Proto, name)
				}
				s := silentStream{t: t, name: strings.Join([]string{name, method, path}, " "), reader: r, up: w.raw.Next(t)}
				all.Go(func() { s.endure(silent, heartbeat) })
			}
		}
	}
	all.Wait()
	if n := w.edge.Metric(`caddy_mcp_auth_streams_ended_total{cause="upstream"}`); n != 12 {
		t.Errorf("%v streams were ended by the upstream, want 12", n)
	}
}

// silentStream is one of many that are silent at the same time.
type silentStream struct {
	t    *testing.T
	name string
	*reader
	up *upstream.Stream
}

func (s *silentStream) endure(silent, heartbeat time.Duration) {
	began := time.Now()
	s.up.Write("data: 1\n\n")
	over := time.After(silent)
	var got []string
	for ended := false; !ended; {
		select {
		case line := <-s.lines:
			got = append(got, line)
		case err := <-s.ended:
			s.t.Errorf("%s: the stream ended in the silence, with %v, after %q", s.name, err, got)
			return
		case <-over:
			ended = true
		}
	}
	s.up.Write("data: 2\n\n")
	s.up.Write("data: 3\n\n")
	s.up.End()
	if err := <-s.ended; err != nil {
		s.t.Errorf("%s: the stream ended with %v", s.name, err)
	}
	for len(s.lines) > 0 { // all there are, since the reader has come to the end
		got = append(got, <-s.lines)
	}
	events := slices.DeleteFunc(slices.Clone(got), func(line string) bool { return line == ": keep-alive" })
	if !slices.Equal(events, []string{"data: 1", "data: 2", "data: 3"}) {
		s.t.Errorf("%s: the events are %q", s.name, events)
	}
	// A busy machine wakes this up late.
	beats, least, most := len(got)-len(events), int(silent/heartbeat)-2, int(time.Since(began)/heartbeat)
	s.t.Logf("%s: %d heartbeats in %v", s.name, beats, silent)
	if beats < least || beats > most {
		s.t.Errorf("%s: %d heartbeats, want %d to %d, one every %v", s.name, beats, least, most, heartbeat)
	}
}
