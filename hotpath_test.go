package mcpauth

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// toolCall returns functions that make and serve the request of a tool call as a client sends it. Both
// make the request that a server would make, so the guard costs the difference.
func toolCall(tb testing.TB, h *Handler) (bare, guarded func()) {
	tb.Helper()
	s := h.fixed
	if s == nil {
		var err error
		if s, err = h.newSite(testIssuer); err != nil {
			tb.Fatal(err)
		}
	}
	resource, ok := s.resources.paths.Match("/mcp")
	if !ok {
		tb.Fatal("/mcp is no protected resource")
	}
	token := (&Handler{fixed: s}).token(tb, resource.URI, nil)
	// One person makes all the requests; they are counted and never too many.
	settings, err := (&GuardOptions{MaxRequestsPerUser: given(10_000_000)}).settings()
	if err != nil {
		tb.Fatal(err)
	}
	h.guarding.requests = settings.requests
	header := map[string][]string{
		"Accept": {"application/json, text/event-stream"}, "Accept-Encoding": {"gzip, deflate"}, "Authorization": {"Bearer " + token},
		"Content-Length": {"120"}, "Content-Type": {"application/json"}, "Mcp-Protocol-Version": {"2025-11-25"},
		"User-Agent": {"client/1.0"},
	}
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	template := httptest.NewRequest("POST", testIssuer+"/mcp", nil)
	template.TLS = &tls.ConnectionState{ServerName: "mcp.example.com", HandshakeComplete: true}
	w := httptest.NewRecorder()
	request := func() *http.Request {
		ctx := context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewEmptyReplacer())
		r := template.WithContext(ctx)
		for name, values := range header {
			r.Header[name] = values
		}
		return r
	}
	bare = func() {
		if err := next.ServeHTTP(w, request()); err != nil {
			tb.Fatal(err)
		}
	}
	guarded = func() {
		if err := h.ServeHTTP(w, request(), next); err != nil {
			tb.Fatal(err)
		}
	}
	return bare, guarded
}

// newDerivedHandler makes a handler that finds out its issuer from requests.
func newDerivedHandler(tb testing.TB) *Handler {
	tb.Helper()
	h := newTestHandler(tb)
	h.fixed = nil
	return h
}

func manyResources(n int) []*Resource {
	resources := []*Resource{{Paths: []string{"/mcp"}}}
	for i := range n {
		resources = append(resources, &Resource{Paths: []string{fmt.Sprintf("/server-%d", i)}})
	}
	return resources
}

func BenchmarkServeHTTP(b *testing.B) {
	measure := func(f func()) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		}
	}
	bare, guarded := toolCall(b, newTestHandler(b))
	_, derived := toolCall(b, newDerivedHandler(b))
	b.Run("bare", measure(bare))
	b.Run("guarded", measure(guarded))
	b.Run("guarded, issuer derived", measure(derived))
}
