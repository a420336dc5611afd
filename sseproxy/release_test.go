package sseproxy

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// However a stream ends, everything that it held is given back: its goroutines at the edge and at the
// upstream, the upstream's connection and body, and its place in the registry.
func TestHoweverAStreamEndsEverythingIsReleased(t *testing.T) {
	untilTold := func(told chan struct{}) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-told:
				panic(http.ErrAbortHandler)
			case <-r.Context().Done():
			}
		}
	}
	for _, tc := range []struct {
		name string
		// end makes the stream end; leave is the client's way.
		end   func(e *edge, told chan struct{}, leave context.CancelFunc)
		whole bool
		times int
		cause error
	}{
		{"the upstream breaks off", func(_ *edge, told chan struct{}, _ context.CancelFunc) { close(told) }, false, 1, nil},
		{"the client vanishes", func(_ *edge, _ chan struct{}, leave context.CancelFunc) { leave() }, false, 1, ErrHungUp},
		{"the connection is cut", func(e *edge, _ chan struct{}, _ context.CancelFunc) { e.CloseClientConnections() }, false, 2, ErrHungUp},
		{"access is revoked", func(e *edge, _ chan struct{}, _ context.CancelFunc) { e.streams.EndGrant(sessions.ID{1}) }, true, 3, ErrRevoked},
		{"the process exits", func(e *edge, _ chan struct{}, _ context.CancelFunc) { e.streams.Close(nil) }, true, 1, ErrClosing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			protocols(t, func(t *testing.T, h2 bool) {
				before := goleak.IgnoreCurrent()
				t.Run("over one edge", func(t *testing.T) { // whose servers end with it
					told := make(chan struct{})
					e := newEdge(t, h2, untilTold(told))
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					for range tc.times {
						req, err := http.NewRequestWithContext(ctx, "GET", e.URL, nil)
						if err != nil {
							t.Fatal(err)
						}
						res, err := e.Client().Do(req)
						if err != nil {
							t.Fatal(err)
						}
						defer res.Body.Close()
						body := bufio.NewReader(res.Body)
						if line, err := body.ReadString('\n'); err != nil || line != "data: 1\n" {
							t.Fatalf("%q, %v", line, err)
						}
						if n := e.streams.Count(); n != 1 {
							t.Fatalf("%d streams", n)
						}
						tc.end(e, told, leave)
						if _, err := io.Copy(io.Discard, body); (err == nil) != tc.whole {
							t.Errorf("the client read to the end with %v", err)
						}
						<-e.hungUp
						if cause := <-e.ended; cause != tc.cause {
							t.Errorf("the cause is %v", cause)
						}
						if n := e.streams.Count(); n != 0 {
							t.Errorf("%d streams are left", n)
						}
					}
				})
				goleak.VerifyNone(t, before)
			})
		})
	}
}
