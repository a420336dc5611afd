package sseproxy

import (
	"context"
	"io"
	"net/http"
	"strings"
)

// exchange is one request on its way through next, and the response writer that next gets. It stands in
// the way of nothing: everything a response controller or io.Copy looks for is passed through.
type exchange struct {
	http.ResponseWriter
	guard  *Guard
	id     *Identity
	cancel context.CancelCauseFunc
	since  uint64 // state of the registry when the request came
	method string
	path   string

	session     sessionHeader
	wroteHeader bool
	stream      *stream // once the answer turned out to be one

	values [4]string // behind the identity headers
}

// WriteHeader decides what the answer is.
func (x *exchange) WriteHeader(status int) {
	informational := status < 200 && status != http.StatusSwitchingProtocols
	if x.wroteHeader || informational {
		x.ResponseWriter.WriteHeader(status)
		return
	}
	x.wroteHeader = true
	h := x.Header()
	if x.guard.sessions != nil {
		x.guard.sessions.tagHeader(h, x.id, &x.session)
	}
	open, events := x.judge(status, h)
	if !open {
		x.ResponseWriter.WriteHeader(status)
		return
	}
	var endpoint *endpointEvent
	if events {
		setDefault(h, "X-Accel-Buffering", "no")
		setDefault(h, "Cache-Control", "no-store")
		endpoint = x.endpoint(h)
	}
	whole := len(h["Content-Length"]) == 0 && !encoded(h)
	x.ResponseWriter.WriteHeader(status)
	x.stream = x.guard.openStream(x, endpoint, events && whole && status == http.StatusOK)
}

// judge tells whether the answer has an open end, and whether it is a stream of events.
func (x *exchange) judge(status int, h http.Header) (open, events bool) {
	switch {
	case status == http.StatusSwitchingProtocols:
		return true, false
	case x.method == http.MethodHead, status == http.StatusNoContent, status == http.StatusNotModified:
		return false, false
	}
	for _, value := range h["Content-Type"] {
		mediaType, _, _ := strings.Cut(value, ";")
		if strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream") {
			return true, true
		}
	}
	// A GET of unknown length may be a stream of some other kind.
	return x.method == http.MethodGet && status < 300 && len(h["Content-Length"]) == 0, false
}

// endpoint returns what rewrites the first event of x's answer, nil if nothing has to.
func (x *exchange) endpoint(h http.Header) *endpointEvent {
	s := x.guard.sessions
	if s == nil || x.method != http.MethodGet || x.session.id != "" || encoded(h) {
		return nil
	}
	delete(h, "Content-Length")
	id, path := x.id, x.path
	return &endpointEvent{rewrite: func(uri string) (string, bool) { return s.tagURI(uri, path, id) }}
}

func encoded(h http.Header) bool {
	encoding := h.Get("Content-Encoding")
	return encoding != "" && !strings.EqualFold(encoding, "identity")
}

func setDefault(h http.Header, name, value string) {
	if len(h[name]) == 0 {
		h[name] = []string{value}
	}
}

func (x *exchange) Write(p []byte) (int, error) {
	x.implicitHeader()
	if x.stream != nil {
		return x.stream.write(p)
	}
	return x.ResponseWriter.Write(p)
}

// ReadFrom keeps the writer's own way of copying for answers that are no stream.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	x.implicitHeader()
	if x.stream != nil {
		return io.Copy(writerOnly{x}, r)
	}
	if rf, ok := x.ResponseWriter.(io.ReaderFrom); ok {
		return rf.ReadFrom(r)
	}
	return io.Copy(writerOnly{x.ResponseWriter}, r)
}

type writerOnly struct{ io.Writer }

// FlushError is what http.ResponseController calls.
func (x *exchange) FlushError() error {
	x.implicitHeader()
	if x.stream != nil {
		return x.stream.flush()
	}
	return http.NewResponseController(x.ResponseWriter).Flush()
}

// Flush is for handlers that know only http.Flusher.
func (x *exchange) Flush() { _ = x.FlushError() }

// Unwrap gives a response controller the deadlines and the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

func (x *exchange) implicitHeader() {
	if !x.wroteHeader {
		x.WriteHeader(http.StatusOK)
	}
}

// finish is deferred around next. An answer that we ended has ended well, whatever next makes of it: a
// proxy whose upstream broke off panics with http.ErrAbortHandler, and the client would see a broken
// connection. Every other panic goes on untouched.
func (x *exchange) finish(err *error) {
	defer x.cancel(nil)
	if x.stream == nil {
		return
	}
	x.stream.close()
	cause := x.stream.ended.Load()
	if cause == nil {
		return
	}
	if p := recover(); p != nil && p != http.ErrAbortHandler {
		panic(p)
	}
	*err = nil
	if x.guard.onEnd != nil {
		x.guard.onEnd(x.id, *cause)
	}
}

// Interface guards
var (
	_ http.ResponseWriter             = (*exchange)(nil)
	_ http.Flusher                    = (*exchange)(nil)
	_ io.ReaderFrom                   = (*exchange)(nil)
	_ interface{ FlushError() error } = (*exchange)(nil)
)
