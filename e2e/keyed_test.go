package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// keyedServer is an MCP server that wants a credential with every request, as the servers of the net do.
type keyedServer struct {
	addr string

	mu      sync.Mutex
	accepts func(authorization string) bool // nil: everything
	seen    []http.Header
	refused int
}

// fingerprint is what its one tool answers.
type fingerprint struct {
	SHA256 string `json:"sha256" jsonschema:"of the Authorization header that came with the call"`
	Call   int    `json:"call"`
}

func fingerprintOf(authorization string) string {
	sum := sha256.Sum256([]byte(authorization))
	return hex.EncodeToString(sum[:])
}

func startKeyed(t *testing.T) *keyedServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &keyedServer{addr: ln.Addr().String()}
	server := mcp.NewServer(&mcp.Implementation{Name: "keyed", Version: "1.0.0"}, nil)
	type input struct {
		Call int `json:"call,omitempty"`
	}
	mcp.AddTool(server, &mcp.Tool{Name: "fingerprint", Description: "Tells the hash of the credential."},
		func(_ context.Context, req *mcp.CallToolRequest, in input) (*mcp.CallToolResult, fingerprint, error) {
			return nil, fingerprint{fingerprintOf(req.Extra.Header.Get("Authorization")), in.Call}, nil
		})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})
	mux := http.NewServeMux()
	mux.Handle("/mcp", handler)
	httpServer := &http.Server{Handler: s.guard(mux)}
	go func() { _ = httpServer.Serve(ln) }()
	t.Cleanup(func() { _ = httpServer.Close() })
	return s
}

// guard refuses as RFC 6750 has it, with a challenge that would lead a client away.
func (s *keyedServer) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		accepts := s.accepts
		s.seen = append(s.seen, r.Header.Clone())
		s.mu.Unlock()
		if accepts == nil || accepts(r.Header.Get("Authorization")) {
			next.ServeHTTP(w, r)
			return
		}
		s.mu.Lock()
		s.refused++
		s.mu.Unlock()
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", resource_metadata="https://evil.example/metadata"`)
		http.Error(w, "no", http.StatusUnauthorized)
	})
}

func (s *keyedServer) accept(accepts func(string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepts = accepts
}

func (s *keyedServer) refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *keyedServer) headers() []http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]http.Header(nil), s.seen...)
}
