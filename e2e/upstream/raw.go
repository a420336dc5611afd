package upstream

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Raw is an upstream without a protocol: it answers /echo with the header it got, and /events, to any
// method, with a stream that the test writes.
type Raw struct {
	addr    string
	streams chan *Stream
	asked   atomic.Int64
}

// Stream is one open answer of a Raw.
type Stream struct {
	steps chan step
	gone  chan struct{}
}

type step struct {
	text string
	kill bool
}

// StartRaw serves on a free loopback port until the test ends.
func StartRaw(t testing.TB) *Raw {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening as the upstream: %v", err)
	}
	u := &Raw{addr: ln.Addr().String(), streams: make(chan *Stream, 64)}
	server := &http.Server{Handler: http.HandlerFunc(u.serve)}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return u
}

// Addr is host:port, as reverse_proxy wants it.
func (u *Raw) Addr() string { return u.addr }

// Next returns the stream that was opened next.
func (u *Raw) Next(t testing.TB) *Stream {
	t.Helper()
	select {
	case s := <-u.streams:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("no stream was opened at the upstream")
		return nil
	}
}

// Asked tells how many requests have arrived.
func (u *Raw) Asked() int { return int(u.asked.Load()) }

// Opened tells how many streams wait for Next.
func (u *Raw) Opened() int { return len(u.streams) }

// Write sends text on the stream.
func (s *Stream) Write(text string) { s.steps <- step{text: text} }

// End ends the stream as a server does that has no more to say.
func (s *Stream) End() { close(s.steps) }

// Kill breaks the connection, as a process does that dies.
func (s *Stream) Kill() { s.steps <- step{kill: true} }

// Gone is closed when the edge has let go of the stream.
func (s *Stream) Gone() <-chan struct{} { return s.gone }

func (u *Raw) serve(w http.ResponseWriter, r *http.Request) {
	u.asked.Add(1)
	if !strings.HasSuffix(r.URL.Path, "/events") {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Access-Control-Allow-Origin", "https://upstream.example")
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		_ = json.NewEncoder(w).Encode(r.Header)
		return
	}
	s := &Stream{steps: make(chan step), gone: make(chan struct{})}
	defer close(s.gone)
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	u.streams <- s
	for {
		select {
		case next, ok := <-s.steps:
			switch {
			case !ok:
				return
			case next.kill:
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write([]byte(next.text))
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}
