package upstream

import (
	"crypto/rand"
	"net/http"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// legacySSE is the HTTP+SSE transport of MCP 2024-11-05 with a message path of its own, as most
// servers of that time have; the SDK's handler posts to the path of the stream.
type legacySSE struct {
	newServer func(*http.Request) *mcp.Server

	mu       sync.Mutex
	sessions map[string]*mcp.SSEServerTransport
}

func (l *legacySSE) stream(w http.ResponseWriter, r *http.Request) {
	id := rand.Text()
	transport := &mcp.SSEServerTransport{Endpoint: MessagePath + "?sessionId=" + id, Response: w}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	l.mu.Lock()
	l.sessions[id] = transport
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.sessions, id)
		l.mu.Unlock()
	}()
	session, err := l.newServer(r).Connect(r.Context(), transport, nil)
	if err != nil {
		http.Error(w, "connecting the session", http.StatusInternalServerError)
		return
	}
	defer session.Close()
	<-r.Context().Done()
}

func (l *legacySSE) message(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	transport := l.sessions[r.URL.Query().Get("sessionId")]
	l.mu.Unlock()
	if transport == nil {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	transport.ServeHTTP(w, r)
}
