package sseproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

var errRefused = errors.New("stream refused")

// exchange is one request on its way through next, and the response writer that next gets. It stands in
// the way of nothing: everything a response controller or io.Copy looks for is passed through.
type exchange struct {
	http.ResponseWriter
	guard  *Guard
	call   *Call
	cancel context.CancelCauseFunc
	since  uint64 // state of the registry when the request came
	method string

	session     sessionHeader
	wroteHeader bool
	refused     bool    // the answer was a stream that must not be
	stream      *stream // once the answer turned out to be one

	request http.Request // what next gets
	values  [4]string    // behind the identity headers
}

// Header is the answer's. An event stream becomes one that must not be transformed (RFC 9111, section
// 5.2.2.6) as soon as somebody looks: a compressor between next and here looks before it begins. No comment
// could be written into what it makes, and what we end before its time would lack the end of the compressed
// data, which clients take for a broken answer.
func (x *exchange) Header() http.Header {
	h := x.ResponseWriter.Header()
	if !x.wroteHeader && isEvents(h) {
		refuseTransform(h)
	}
	return h
}

func refuseTransform(h http.Header) {
	switch values := h["Cache-Control"]; {
	case len(values) == 0:
		h["Cache-Control"] = []string{"no-store, no-transform"}
	case !strings.Contains(values[0], "no-transform"):
		h["Cache-Control"] = append([]string{values[0] + ", no-transform"}, values[1:]...)
	}
}

// WriteHeader decides what the answer is.
func (x *exchange) WriteHeader(status int) {
	informational := status < 200 && status != http.StatusSwitchingProtocols
	switch {
	case x.refused:
		return
	case x.wroteHeader || informational:
		x.ResponseWriter.WriteHeader(status)
		return
	}
	h := x.Header()
	x.wroteHeader = true
	sessions.StripSetCookies(h)
	x.share(h)
	if status >= 300 && status < 400 && len(h["Location"]) > 0 {
		x.relocate(h)
	}
	if x.guard.sessions != nil {
		x.guard.sessions.tagHeader(h, &x.call.Identity, &x.session)
	}
	open, events := x.judge(status, h)
	if !open {
		x.ResponseWriter.WriteHeader(status)
		return
	}
	if events && x.session.loose {
		x.refuseStream(ReasonSession, unknownSession)
		return
	}
	var endpoint *endpointEvent
	if events {
		setDefault(h, "X-Accel-Buffering", "no")
		endpoint = x.endpoint(h)
	}
	whole := len(h["Content-Length"]) == 0 && !encoded(h)
	st := x.guard.newStream(x, endpoint, events && whole && status == http.StatusOK)
	limits := x.guard.limits
	if status == http.StatusSwitchingProtocols {
		limits = Limits{} // too late: both sides have agreed to leave HTTP
	}
	if !x.guard.streams.add(st, x.since, limits) {
		x.refuseStream(ReasonStreams, tooManyStreams)
		return
	}
	x.stream = st
	x.ResponseWriter.WriteHeader(status)
	st.look(st.last)
}

// share tells browsers whose scripts may read the answer. What the upstream says about it gives way, for
// two answers are none (Fetch, "CORS check"), and only the edge knows that no cookie counts here.
func (x *exchange) share(h http.Header) {
	switch {
	case x.call.AllowOrigin != "":
		oauthmeta.AllowOrigin(h, x.call.AllowOrigin)
	case x.method == http.MethodGet:
		oauthmeta.VaryByOrigin(h)
	}
}

// judge tells whether the answer has an open end, and whether it is a stream of events.
func (x *exchange) judge(status int, h http.Header) (open, events bool) {
	switch {
	case status == http.StatusSwitchingProtocols:
		return true, false
	case x.method == http.MethodHead, status == http.StatusNoContent, status == http.StatusNotModified:
		return false, false
	}
	if isEvents(h) {
		return true, true
	}
	// A GET of unknown length may be a stream of some other kind.
	return x.method == http.MethodGet && status < 300 && len(h["Content-Length"]) == 0, false
}

// isEvents reports whether h is that of an event stream.
func isEvents(h http.Header) bool {
	for _, value := range h["Content-Type"] {
		if isMediaType(value, "text/event-stream") {
			return true
		}
	}
	return false
}

// isMediaType reports whether a Content-Type is want, whatever its parameters.
func isMediaType(value, want string) bool {
	mediaType, _, _ := strings.Cut(value, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), want)
}

// endpoint returns what rewrites the first event of x's answer, nil if nothing has to.
func (x *exchange) endpoint(h http.Header) *endpointEvent {
	s := x.guard.sessions
	if s == nil || x.method != http.MethodGet || x.session.id != "" || encoded(h) {
		return nil
	}
	delete(h, "Content-Length")
	// What comes between here and the upstream has altered the request in place by now.
	id, path, forwarded := &x.call.Identity, x.call.Path, x.request.URL.Path
	prefix := strippedPrefix(path, forwarded)
	return &endpointEvent{rewrite: func(uri string) (string, bool) {
		s.paths.learnEndpoint(id.Resource, forwarded, uri)
		uri = rebase(uri, prefix, forwarded)
		s.paths.learnEndpoint(id.Resource, path, uri)
		return s.tagURI(uri, path, id)
	}}
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
	switch {
	case x.refused:
		return 0, errRefused
	case x.stream != nil:
		return x.stream.write(p)
	}
	return x.ResponseWriter.Write(p)
}

// ReadFrom keeps the writer's own way of copying for answers that are no stream.
func (x *exchange) ReadFrom(r io.Reader) (int64, error) {
	x.implicitHeader()
	if x.stream != nil || x.refused {
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
	if x.stream == nil && !x.refused {
		return // the server ends the request's context now, and with it this one, cheaper than we could
	}
	defer x.cancel(nil)
	cause, ours := x.over()
	if ours || x.refused {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
		*err = nil
	}
	if x.stream != nil && x.guard.onEnd != nil {
		x.guard.onEnd(&x.call.Identity, cause)
	}
}

// over closes the stream, if there is one, and tells why it ended and whether we ended it.
func (x *exchange) over() (cause error, ours bool) {
	if x.stream == nil {
		return nil, false
	}
	x.stream.close()
	if ended := x.stream.ended.Load(); ended != nil {
		return *ended, true
	}
	if x.request.Context().Err() != nil {
		return ErrHungUp, false
	}
	return nil, false
}

// Interface guards
var (
	_ http.ResponseWriter             = (*exchange)(nil)
	_ http.Flusher                    = (*exchange)(nil)
	_ io.ReaderFrom                   = (*exchange)(nil)
	_ interface{ FlushError() error } = (*exchange)(nil)
)
