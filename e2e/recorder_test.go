package e2e

import (
	"net/http"
	"slices"
	"sync"
)

// recorder notes what a client sent and what it was answered.
type recorder struct {
	next http.RoundTripper

	mu   sync.Mutex
	seen []exchanged
}

// exchanged is one request and its answer.
type exchanged struct {
	method, proto string
	sent, got     http.Header
	status        int
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, exchanged{req.Method, resp.Proto, req.Header.Clone(), resp.Header.Clone(), resp.StatusCode})
	}
	return resp, err
}

func (r *recorder) all() []exchanged {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// only reports whether all answers came over one protocol.
func (r *recorder) only(proto string) bool {
	all := r.all()
	return len(all) > 0 && !slices.ContainsFunc(all, func(e exchanged) bool { return e.proto != proto })
}

// session is the one that the server opened, as the client knows it.
func (r *recorder) session() string {
	for _, e := range r.all() {
		if session := e.got.Get("Mcp-Session-Id"); session != "" {
			return session
		}
	}
	return ""
}

// answered counts the answers with a status to requests with a method that carry a header.
func (r *recorder) answered(status int, method, header string) (n int) {
	for _, e := range r.all() {
		if e.status == status && e.method == method && (header == "" || e.sent.Get(header) != "") {
			n++
		}
	}
	return n
}
