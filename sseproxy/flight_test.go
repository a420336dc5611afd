package sseproxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
)

// flight is one request under way in a synctest bubble.
type flight struct {
	t      *testing.T
	rec    *lockedRecorder
	next   chan func(http.ResponseWriter) error // what next does, step by step; it returns when closed
	done   chan struct{}
	err    error           // of Serve, once done
	panics any             // likewise
	ctx    context.Context // next's
	hangUp context.CancelFunc
}

// lockedRecorder lets the test look while the exchange writes.
type lockedRecorder struct {
	mu sync.Mutex
	*httptest.ResponseRecorder
	fail error
}

func (l *lockedRecorder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return 0, l.fail
	}
	return l.ResponseRecorder.Write(p)
}

func (l *lockedRecorder) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Body.String()
}

// proxy behaves as a reverse proxy does whose upstream is silent between steps: when its context ends it
// gives up by panicking, since the header is out.
func (f *flight) proxy(w http.ResponseWriter, r *http.Request) error {
	f.ctx = r.Context()
	for {
		select {
		case step, ok := <-f.next:
			if !ok {
				return nil
			}
			if err := step(w); err != nil {
				panic(http.ErrAbortHandler)
			}
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

func fly(t *testing.T, g *Guard, r *http.Request, id *Identity) *flight {
	t.Helper()
	f := &flight{t: t, rec: &lockedRecorder{ResponseRecorder: httptest.NewRecorder()},
		next: make(chan func(http.ResponseWriter) error), done: make(chan struct{})}
	var ctx context.Context
	ctx, f.hangUp = context.WithCancel(r.Context())
	t.Cleanup(f.hangUp)
	go func() {
		defer close(f.done)
		defer func() { f.panics = recover() }()
		f.err = g.Serve(f.rec, r.WithContext(ctx), id, handlerFunc(f.proxy))
	}()
	return f
}

// step makes next do something and waits until it has.
func (f *flight) step(do func(http.ResponseWriter) error) {
	f.t.Helper()
	f.next <- do
	synctest.Wait()
}

func (f *flight) begin(header ...string) {
	f.t.Helper()
	f.step(func(w http.ResponseWriter) error {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(http.StatusOK)
		return http.NewResponseController(w).Flush()
	})
}

func (f *flight) write(text string) {
	f.t.Helper()
	f.step(func(w http.ResponseWriter) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// over reports whether next has returned.
func (f *flight) over() bool {
	synctest.Wait()
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// wantEnd demands a regular end.
func (f *flight) wantEnd() {
	f.t.Helper()
	<-f.done
	if f.panics != nil || f.err != nil {
		f.t.Errorf("the answer did not end well: error %v, panic %v", f.err, f.panics)
	}
}
