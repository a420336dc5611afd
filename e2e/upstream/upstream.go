// Package upstream is a real MCP server for tests: the official SDK on a loopback port, over
// Streamable HTTP (with sessions, without, and with resumption) and over the legacy HTTP+SSE transport. It knows
// nothing of OAuth; it remembers what every request looked like when it arrived.
package upstream

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The paths of the transports.
const (
	StreamablePath = "/mcp"
	StatelessPath  = "/stateless"
	ResumablePath  = "/resumable" // Streamable HTTP that remembers its events
	SSEPath        = "/sse"
	MessagePath    = "/messages"
)

// Seen is what one request looked like when it reached the server.
type Seen struct {
	Method, Path string
	Header       http.Header
}

// Server is a running MCP server.
type Server struct {
	addr string

	mu    sync.Mutex
	seen  []Seen
	gates map[string]chan struct{}
}

// Start serves on a free loopback port until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening as the MCP server: %v", err)
	}
	s := &Server{addr: ln.Addr().String(), gates: make(map[string]chan struct{})}
	server := &http.Server{Handler: s.handler()}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return s
}

// Addr is host:port, as reverse_proxy wants it.
func (s *Server) Addr() string { return s.addr }

// URL is the address of path without the edge.
func (s *Server) URL(path string) string { return "http://" + s.addr + path }

// Seen lists the requests so far, in order of arrival.
func (s *Server) Seen() []Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// Open lets the slow tool take its next step.
func (s *Server) Open(gate string) { s.gate(gate) <- struct{}{} }

func (s *Server) gate(name string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gates[name] == nil {
		s.gates[name] = make(chan struct{}, 64)
	}
	return s.gates[name]
}

func (s *Server) handler() http.Handler {
	newServer := func(r *http.Request) *mcp.Server { return s.newMCP(r.Header.Clone()) }
	mux := http.NewServeMux()
	mux.Handle(StreamablePath, mcp.NewStreamableHTTPHandler(newServer, nil))
	mux.Handle(StatelessPath, mcp.NewStreamableHTTPHandler(newServer, &mcp.StreamableHTTPOptions{Stateless: true}))
	mux.Handle(ResumablePath, mcp.NewStreamableHTTPHandler(newServer, &mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)}))
	legacy := &legacySSE{newServer: newServer, sessions: make(map[string]*mcp.SSEServerTransport)}
	mux.HandleFunc("GET "+SSEPath, legacy.stream)
	mux.HandleFunc("POST "+MessagePath, legacy.message)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, Seen{Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone()})
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
}
