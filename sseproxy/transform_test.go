package sseproxy

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// compressor behaves as a compressing middleware between the guard and the upstream does: before the
// header goes out it looks whether it may.
func compressor(header map[string]string) Handler {
	return handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		for name, value := range header {
			w.Header().Set(name, value)
		}
		if !strings.Contains(w.Header().Get("Cache-Control"), "no-transform") {
			w.Header().Set("Content-Encoding", "gzip")
		}
		w.WriteHeader(http.StatusOK)
		return nil
	})
}

func TestEventStreamsAreNotCompressedOnTheWay(t *testing.T) {
	const eventStream = "text/event-stream"
	for _, tc := range []struct {
		name       string
		heartbeat  time.Duration
		header     map[string]string
		compressed bool
		caching    []string
	}{
		{"an event stream", DefaultHeartbeat, map[string]string{"Content-Type": eventStream}, false, []string{"no-store, no-transform"}},
		{"one with caching rules", DefaultHeartbeat, map[string]string{"Content-Type": eventStream + "; charset=utf-8", "Cache-Control": "no-cache"}, false, []string{"no-cache, no-transform"}},
		{"one that says so itself", DefaultHeartbeat, map[string]string{"Content-Type": eventStream, "Cache-Control": "no-cache, no-transform"}, false, []string{"no-cache, no-transform"}},
		{"one without heartbeats", 0, map[string]string{"Content-Type": eventStream}, false, []string{"no-store, no-transform"}},
		{"JSON", DefaultHeartbeat, map[string]string{"Content-Type": "application/json"}, true, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			if err := New(Config{Heartbeat: tc.heartbeat}).Serve(rec, httptest.NewRequest("POST", "/", nil), alice, compressor(tc.header)); err != nil {
				t.Fatal(err)
			}
			if compressed := rec.Header().Get("Content-Encoding") != ""; compressed != tc.compressed {
				t.Errorf("compressed: %v", compressed)
			}
			if got := rec.Header().Values("Cache-Control"); !slices.Equal(got, tc.caching) {
				t.Errorf("Cache-Control %q, want %q", got, tc.caching)
			}
		})
	}
}
