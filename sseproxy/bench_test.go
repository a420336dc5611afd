package sseproxy

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// discard is a response writer that allocates nothing of its own.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Flush()                      {}

// typicalHeader is what clients send with a tool call through the web server.
func typicalHeader(h http.Header) {
	clear(h)
	for name, value := range map[string][]string{
		"Accept": acceptValue, "Accept-Encoding": gzipValue, "Authorization": bearerValue, "Content-Length": lengthValue,
		"Content-Type": jsonValue, "Mcp-Protocol-Version": versionValue, "User-Agent": agentValue, "X-Forwarded-User": evilValue,
	} {
		h[name] = value
	}
}

var (
	acceptValue  = []string{"application/json, text/event-stream"}
	gzipValue    = []string{"gzip, deflate"}
	bearerValue  = []string{"Bearer mcpat_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}
	lengthValue  = []string{"120"}
	jsonValue    = []string{"application/json"}
	versionValue = []string{"2025-11-25"}
	eventsValue  = []string{"text/event-stream"}
	agentValue   = []string{"client/1.0"}
	evilValue    = []string{"evil"}
)

// toolCall returns a function that serves one POST with a JSON answer. The parent context can be cancelled,
// as under net/http; with children it also has a child already, such as every proxy derives from it.
func toolCall(tb testing.TB, g *Guard, children bool) (prepare, serve func()) {
	tb.Helper()
	r, err := http.NewRequest("POST", "https://mcp.example/github/mcp", nil)
	if err != nil {
		tb.Fatal(err)
	}
	w := &discard{header: make(http.Header)}
	body := []byte(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	var next Handler = handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.Header()["Content-Type"] = jsonValue
		w.WriteHeader(http.StatusOK)
		_, err := w.Write(body)
		return err
	})
	id := *alice
	id.ExpiresAt = time.Now().Add(time.Hour).Unix()
	var cancel context.CancelFunc = func() {}
	prepare = func() {
		cancel()
		var ctx context.Context
		ctx, cancel = context.WithCancel(context.Background())
		if children {
			context.AfterFunc(ctx, func() {})
		}
		r = r.WithContext(ctx)
		typicalHeader(r.Header)
	}
	return prepare, func() {
		if err := g.Serve(w, r, &id, next); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestServeAllocatesLittle(t *testing.T) {
	for _, tc := range []struct {
		name     string
		children bool
		want     float64
	}{
		// The writer, the request's copy, its context and the function that cancels that.
		{"of its own", true, 4},
		// A context without children makes a channel and a map for its first; without the guard the proxy
		// would be first.
		{"with what the first child of a context costs the parent", false, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			prepare, serve := toolCall(t, New(Config{Heartbeat: DefaultHeartbeat}), tc.children)
			alone := testing.AllocsPerRun(200, prepare)
			both := testing.AllocsPerRun(200, func() { prepare(); serve() })
			if n := both - alone; n > tc.want {
				t.Errorf("%v allocations for a request that is no stream, want at most %v", n, tc.want)
			}
		})
	}
}

func BenchmarkServe(b *testing.B) {
	prepare, serve := toolCall(b, New(Config{Heartbeat: DefaultHeartbeat}), false)
	b.Run("preparing alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			prepare()
		}
	})
	b.Run("preparing and serving", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			prepare()
			serve()
		}
	})
}

// What a stream adds while it is open is what is allocated until its first event is out.
func BenchmarkServeStream(b *testing.B) {
	g := New(Config{Heartbeat: DefaultHeartbeat})
	r, err := http.NewRequest("GET", "https://mcp.example/github/mcp", nil)
	if err != nil {
		b.Fatal(err)
	}
	w := &discard{header: make(http.Header)}
	id := *alice
	id.ExpiresAt = time.Now().Add(time.Hour).Unix()
	var next Handler = handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.Header()["Content-Type"] = eventsValue
		_, err := w.Write(keepAlive)
		return err
	})
	b.ReportAllocs()
	for b.Loop() {
		if err := g.Serve(w, r, &id, next); err != nil {
			b.Fatal(err)
		}
	}
}
