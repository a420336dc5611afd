package credentials

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// maxKept bounds how much of a request is kept. MCP messages are hardly ever longer.
const maxKept = 64 << 10

// body is a request's body that keeps what the upstream has read of it: to say which message an error
// answers, and to send the request again. It reads nothing by itself on the way there.
type body struct {
	io.ReadCloser
	length int64 // as announced; -1 if it was not
	asked  bool  // the upstream has got it, and may still be reading

	mu    sync.Mutex // a transport may still be reading when the answer is there
	kept  []byte
	lost  bool // more was read than is kept
	ended bool
	gone  bool // the reader is an earlier one, whose request is over
}

// keepBody puts a body in the place of r's.
func keepBody(r *http.Request) *body {
	b := &body{ReadCloser: r.Body, length: r.ContentLength}
	if r.Body == nil || r.Body == http.NoBody {
		b.ended = true
		return b
	}
	r.Body = b
	return b
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.gone:
		return 0, io.ErrUnexpectedEOF
	case b.lost || len(b.kept)+n > maxKept:
		b.lost = true
	default:
		b.kept = append(b.kept, p[:n]...)
	}
	b.ended = b.ended || err == io.EOF || b.length == int64(len(b.kept))
	return n, err
}

// rewind gives r the whole body once more, if all of it is there.
func (b *body) rewind(r *http.Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost || !b.ended {
		return false
	}
	b.gone = true
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = io.NopCloser(bytes.NewReader(b.kept))
	}
	return true
}

// beginning returns the first part of the body: of what the upstream has read, or, if it was not asked, of
// what the client sends.
func (b *body) beginning() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asked || b.ended {
		return b.kept
	}
	first, _ := io.ReadAll(io.LimitReader(b.ReadCloser, maxKept))
	return first
}
