package sseproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

var (
	// ErrExpired ends a stream whose access token has expired.
	ErrExpired = errors.New("access token expired")
	// ErrRevoked ends a stream whose token, grant, user or client has been cut off.
	ErrRevoked = errors.New("access revoked")
	// ErrClosing ends a stream for EndAll and Close, where that gives no other cause.
	ErrClosing = errors.New("closing all streams")
	// ErrHungUp is what Config.OnEnd is told of a stream whose client went away.
	ErrHungUp = errors.New("client hung up")
)

// maxRest is the longest time between two looks at a stream: a clock that is set, or a machine that
// slept, must not let it outlive its token by more.
const maxRest = time.Minute

// keepAlive is a comment, which clients must ignore (MCP 2026-07-28, Streamable HTTP, "Receiving Messages").
var keepAlive = []byte(": keep-alive\n\n")

// stream is an answer with an open end. Besides the request's own goroutine only its timer and the
// registry touch it; neither costs a goroutine while the stream is silent.
type stream struct {
	guard  *Guard
	id     *Identity
	w      http.ResponseWriter
	cancel context.CancelCauseFunc
	timer  *time.Timer

	grant, token sessions.ID
	user, client string
	deadline     time.Time // zero: none

	ended  atomic.Pointer[error] // why we ended it, if we did
	closed atomic.Bool           // next has returned

	mu       sync.Mutex // guards w, and what follows
	beats    bool       // heartbeats may be written
	at       boundary
	last     time.Time // of the last write
	endpoint *endpointEvent
}

// newStream makes the stream that x's answer is. Its life begins with the first look.
func (g *Guard) newStream(x *exchange, endpoint *endpointEvent, beats bool) *stream {
	s := &stream{
		guard: g, w: x.ResponseWriter, cancel: x.cancel, beats: beats && g.heartbeat > 0, last: g.now(), endpoint: endpoint,
	}
	id := &x.call.Identity
	s.id, s.grant, s.token, s.user, s.client = id, id.Grant, id.ID, id.UserKey(), id.ClientID
	if id.ExpiresAt != 0 {
		s.deadline = time.Unix(id.ExpiresAt, 0).Add(g.grace)
	}
	// Created at rest: tick uses the timer, so it has to be there before it fires.
	s.timer = time.AfterFunc(1<<62, s.tick)
	return s
}

// tick is the timer's: it ends the stream when its time is over and keeps it alive otherwise.
func (s *stream) tick() { s.look(s.guard.now()) }

func (s *stream) look(now time.Time) {
	switch {
	case s.closed.Load() || s.ended.Load() != nil:
		return
	case !s.deadline.IsZero() && !now.Before(s.deadline):
		s.end(ErrExpired)
		return
	case s.guard.revoked != nil && (s.guard.revoked(s.grant) || s.guard.revoked(s.token)):
		s.end(ErrRevoked)
		return
	case s.guard.admits != nil && !s.guard.admits(s.id):
		s.end(ErrRevoked)
		return
	}
	rest := min(maxRest, s.beat(now))
	if !s.deadline.IsZero() {
		rest = min(rest, s.deadline.Sub(now))
	}
	s.timer.Reset(rest)
	if s.closed.Load() {
		s.timer.Stop() // close has stopped it before it was set again
	}
}

// beat writes a heartbeat if it is time for one, and returns how long it is until the next.
func (s *stream) beat(now time.Time) (rest time.Duration) {
	if !s.mu.TryLock() {
		return s.restBetweenBeats() // somebody is writing, so it is not silent
	}
	defer s.mu.Unlock()
	if !s.beats || s.closed.Load() {
		return maxRest
	}
	if silent := now.Sub(s.last); silent < s.guard.heartbeat {
		return s.guard.heartbeat - max(silent, 0)
	}
	s.last = now
	if s.at.in != betweenEvents {
		return s.guard.heartbeat
	}
	_, err := s.w.Write(keepAlive)
	if err == nil {
		err = http.NewResponseController(s.w).Flush()
	}
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.cancel(err) // the client is gone; so is the reason for the upstream to go on
	}
	return s.guard.heartbeat
}

func (s *stream) restBetweenBeats() time.Duration {
	if s.guard.heartbeat > 0 {
		return s.guard.heartbeat
	}
	return maxRest
}

// end makes next return. The context's cause is io.EOF, since a transport hands the cause to whoever is
// reading the upstream's answer: to a proxy the answer is then over, not broken, and the client gets a
// regular end. Where the cause does not get through, next aborts and exchange.finish sees to it.
func (s *stream) end(cause error) {
	// Without the lock: a client that does not read must not hold up the end of the others.
	if s.ended.CompareAndSwap(nil, &cause) {
		s.cancel(io.EOF)
	}
}

// write passes on what next writes. After the end it passes nothing: a revoked client reads no more.
func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cause := s.ended.Load(); cause != nil {
		return 0, *cause
	}
	if s.beats {
		s.last = s.guard.now()
	}
	if s.endpoint != nil {
		return s.writeFiltered(p)
	}
	n, err := s.w.Write(p)
	if s.beats {
		s.at.advance(p[:n])
	}
	return n, err
}

// writeFiltered is write while the first event is outstanding.
func (s *stream) writeFiltered(p []byte) (int, error) {
	out := s.endpoint.feed(p)
	if s.endpoint.done {
		s.endpoint = nil
	}
	if len(out) == 0 {
		return len(p), nil
	}
	n, err := s.w.Write(out)
	if s.beats {
		s.at.advance(out[:n])
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *stream) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return http.NewResponseController(s.w).Flush()
}

// close forgets the stream. When it returns nothing touches the response any more.
func (s *stream) close() {
	s.closed.Store(true)
	s.timer.Stop()
	s.guard.streams.remove(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.endpoint != nil && s.ended.Load() == nil {
		_, _ = s.w.Write(s.endpoint.rest())
	}
}
