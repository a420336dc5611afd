package sseproxy

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBoundary(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       bool
	}{
		{"at the beginning", "", true},
		{"after an event", "data: x\n\n", true},
		{"after an event with CRLF", "data: x\r\n\r\n", true},
		{"after an event with CR", "data: x\r\r", true},
		{"after an event with mixed line ends", "event: a\rdata: x\n\r\n", true},
		{"between CR and LF of the empty line", "data: x\r\n\r", true},
		{"after a comment between events", "data: x\n\n: hi\n", true},
		{"after an empty line at the beginning", "\n", true},
		{"within a line", "data: x", false},
		{"after a line", "data: x\n", false},
		{"after a line with CRLF", "data: x\r\n", false},
		{"after a line with CR", "data: x\r", false},
		{"within a comment", ": hi", false},
		{"after a comment within an event", "data: x\n: hi\n", false},
		{"after a colon line within an event", "data: x\n:\n", false},
		{"after the next event has begun", "data: x\n\nd", false},
		{"after a field without data", "retry: 5\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var whole boundary
			whole.advance([]byte(tc.text))
			if (whole.in == betweenEvents) != tc.want {
				t.Errorf("between events: %v", !tc.want)
			}
			var bytewise boundary
			for i := range len(tc.text) {
				bytewise.advance([]byte{tc.text[i]})
			}
			if bytewise != whole {
				t.Errorf("byte by byte %+v, at once %+v", bytewise, whole)
			}
		})
	}
}

// lines reads an event stream as a client does: line by line, comments dropped.
func lines(stream string) string {
	stream = regexp.MustCompile("\r\n|\r").ReplaceAllString(stream, "\n")
	var kept []string
	for _, line := range strings.SplitAfter(stream, "\n") {
		if !strings.HasPrefix(line, ":") {
			kept = append(kept, line)
		}
	}
	// An empty line where no event is under way means nothing.
	return regexp.MustCompile("\n{2,}").ReplaceAllString(strings.TrimLeft(strings.Join(kept, ""), "\n"), "\n\n")
}

// Wherever a heartbeat is written, a client reads the same events, and the upstream's bytes are all there.
func FuzzHeartbeats(f *testing.F) {
	f.Add("data: x\n\ndata: y\r\n\r\n: c\n\nevent: e\rdata: z\r\r", uint64(0xff))
	f.Add(": only\r\n:comments\r\n\r\n", uint64(5))
	f.Add("data: x\r\n\r\ndata: y\n\n", ^uint64(0))
	f.Fuzz(func(t *testing.T, stream string, cuts uint64) {
		var at boundary
		var out, upstream bytes.Buffer
		beats := 0
		for i, begin := 0, 0; i <= len(stream); i++ {
			if i < len(stream) && cuts>>(i%64)&1 == 0 {
				continue
			}
			chunk := stream[begin:i]
			begin = i
			at.advance([]byte(chunk))
			out.WriteString(chunk)
			upstream.WriteString(chunk)
			if at.in == betweenEvents {
				out.Write(keepAlive)
				beats++
			}
		}
		if upstream.String() != stream {
			t.Fatal("the test lost bytes")
		}
		if strings.Contains(stream, "keep-alive") {
			return
		}
		if got := strings.Count(out.String(), string(keepAlive)); got != beats {
			t.Errorf("%d of %d heartbeats are whole", got, beats)
		}
		if got := strings.ReplaceAll(out.String(), string(keepAlive), ""); got != stream {
			t.Errorf("without heartbeats %q, want %q", got, stream)
		}
		if got, want := lines(out.String()), lines(stream); got != want {
			t.Errorf("a client reads %q, want %q", got, want)
		}
	})
}

func TestHeartbeats(t *testing.T) {
	beat := string(keepAlive)
	for _, tc := range []struct {
		name   string
		method string
		off    bool
		header []string
		first  string
		want   string // after a minute of silence
	}{
		{name: "before the first event", want: beat + beat},
		{name: "between events", first: "data: 1\n\n", want: "data: 1\n\n" + beat + beat},
		{name: "on a POST", method: "POST", want: beat + beat},
		{name: "not within an event", first: "data: 1\n", want: "data: 1\n"},
		{name: "not if they are off", off: true},
		{name: "not in other types", header: []string{"Content-Type", "application/x-ndjson"}},
		{name: "not in a compressed stream", header: append([]string{"Content-Encoding", "gzip"}, events...)},
		{name: "not in a stream of known length", header: append([]string{"Content-Length", "9"}, events...)},
		{name: "not for HEAD", method: "HEAD"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := Config{Heartbeat: DefaultHeartbeat}
				if tc.off {
					config.Heartbeat = 0
				}
				method, header := tc.method, tc.header
				if method == "" {
					method = "GET"
				}
				if header == nil {
					header = events
				}
				f := fly(t, New(config), httptest.NewRequest(method, "/", nil), until(time.Hour))
				f.begin(header...)
				f.write(tc.first)
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := f.rec.text(); got != tc.want {
					t.Errorf("after a minute of silence: %q, want %q", got, tc.want)
				}
				close(f.next)
				f.wantEnd()
			})
		})
	}
}

func TestHeartbeatsOnlyInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fly(t, New(Config{Heartbeat: 25 * time.Second}), httptest.NewRequest("GET", "/", nil), until(time.Hour))
		f.begin(events...)
		for range 20 {
			time.Sleep(20 * time.Second)
			f.write("data: x\n\n")
		}
		if strings.Contains(f.rec.text(), ":k") || strings.Contains(f.rec.text(), string(keepAlive)) {
			t.Error("a heartbeat on a lively stream")
		}
		time.Sleep(26 * time.Second)
		synctest.Wait()
		if !strings.HasSuffix(f.rec.text(), "\n\n"+string(keepAlive)) {
			t.Errorf("no heartbeat %q", f.rec.text())
		}
		close(f.next)
		f.wantEnd()
	})
}

// A heartbeat may be the first to notice that the client is gone.
func TestAHeartbeatThatFailsReleasesTheUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fly(t, New(Config{Heartbeat: 25 * time.Second}), httptest.NewRequest("GET", "/", nil), until(time.Hour))
		f.begin(events...)
		f.rec.mu.Lock()
		f.rec.fail = http.ErrHandlerTimeout
		f.rec.mu.Unlock()
		time.Sleep(26 * time.Second)
		<-f.done
		if f.panics != http.ErrAbortHandler {
			t.Errorf("panic %v, want the proxy's", f.panics)
		}
	})
}

func TestEventStreamsGetTheHeadersThatKeepThemMoving(t *testing.T) {
	for _, tc := range []struct {
		name              string
		header            http.Header
		buffering, caches string
	}{
		{"where the upstream left them out", http.Header{"Content-Type": {"text/event-stream"}}, "no", "no-store, no-transform"},
		{"not where it did not", http.Header{"Content-Type": {"text/event-stream"}, "X-Accel-Buffering": {"yes"},
			"Cache-Control": {"no-cache, no-transform"}}, "yes", "no-cache, no-transform"},
		{"not on other types", http.Header{"Content-Type": {"application/json"}}, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			err := New(Config{}).Serve(rec, httptest.NewRequest("POST", "/", nil), alice, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				for name, values := range tc.header {
					w.Header()[name] = values
				}
				_, err := w.Write([]byte("x"))
				return err
			}))
			h := rec.Result().Header
			if err != nil || h.Get("X-Accel-Buffering") != tc.buffering || h.Get("Cache-Control") != tc.caches {
				t.Errorf("%v, %v", h, err)
			}
		})
	}
}

func BenchmarkBoundary(b *testing.B) {
	event := []byte("event: message\ndata: " + strings.Repeat("x", 200) + "\n\n")
	big := []byte("data: " + strings.Repeat("x", 32<<10) + "\n\n")
	for name, p := range map[string][]byte{"event": event, "32 KiB": big} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			var at boundary
			for b.Loop() {
				at.advance(p)
			}
		})
	}
}
