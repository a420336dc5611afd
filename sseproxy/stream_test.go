package sseproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

var events = []string{"Content-Type", "text/event-stream"}

func until(d time.Duration) *Identity {
	id := *alice
	id.Grant, id.ID, id.ExpiresAt = sessions.ID{1}, sessions.ID{2}, time.Now().Add(d).Unix()
	return &id
}

func TestStreamsEnd(t *testing.T) {
	for _, tc := range []struct {
		name   string
		id     func() *Identity
		method string
		header []string
		grace  time.Duration
		act    func(*Registry) // after half an hour
		ends   time.Duration   // after the beginning; 0: not within two hours
		cause  error
	}{
		{name: "when the token expires", ends: time.Hour, cause: ErrExpired},
		{name: "when the grace is over", grace: time.Minute, ends: time.Hour + time.Minute, cause: ErrExpired},
		{name: "as a POST", method: "POST", ends: time.Hour, cause: ErrExpired},
		{name: "with parameters in the media type", header: []string{"Content-Type", "Text/Event-Stream; charset=utf-8"}, ends: time.Hour, cause: ErrExpired},
		{name: "as a GET of another type and unknown length", header: []string{"Content-Type", "application/x-ndjson"}, ends: time.Hour, cause: ErrExpired},
		{name: "but not as a GET of known length", header: []string{"Content-Type", "text/plain", "Content-Length", "5"}},
		{name: "but not as a POST answered with JSON", method: "POST", header: []string{"Content-Type", "application/json"}},
		{name: "but not as a HEAD", method: "HEAD"},
		{name: "never without expiry", id: func() *Identity { id := *alice; return &id }},
		{name: "at once with a token that has expired", id: func() *Identity { return until(-time.Second) }, ends: 1, cause: ErrExpired},
		{name: "when the grant is revoked", act: func(s *Registry) { s.EndGrant(sessions.ID{1}) }, ends: time.Hour / 2, cause: ErrRevoked},
		{name: "when the token is revoked", act: func(s *Registry) { s.EndGrant(sessions.ID{2}) }, ends: time.Hour / 2, cause: ErrRevoked},
		{name: "when the user is cut off", act: func(s *Registry) { s.EndUser(alice.UserKey()) }, ends: time.Hour / 2, cause: ErrRevoked},
		{name: "when the client is cut off", act: func(s *Registry) { s.EndClient("dcr-1") }, ends: time.Hour / 2, cause: ErrRevoked},
		{name: "when the process exits", act: func(s *Registry) { s.EndAll(io.ErrClosedPipe) }, ends: time.Hour / 2, cause: io.ErrClosedPipe},
		{name: "when all end without a cause", act: func(s *Registry) { s.EndAll(nil) }, ends: time.Hour / 2, cause: ErrClosing},
		{name: "not for another's revocation", act: func(s *Registry) {
			s.EndGrant(sessions.ID{3})
			s.EndGrant(sessions.ID{})
			s.EndUser("bbbb")
			s.EndUser("")
			s.EndClient("dcr-2")
			s.EndClient("")
		}, ends: time.Hour, cause: ErrExpired},
		{name: "once, whatever comes after", act: func(s *Registry) { s.EndGrant(sessions.ID{1}); s.EndAll(nil) }, ends: time.Hour / 2, cause: ErrRevoked},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
				streams := NewRegistry()
				var cause error
				g := New(Config{Streams: streams, ExpiryGrace: tc.grace, OnEnd: func(_ *Identity, err error) { cause = err }})
				id := until(time.Hour)
				if tc.id != nil {
					id = tc.id()
				}
				method, header := tc.method, tc.header
				if method == "" {
					method = "GET"
				}
				if header == nil {
					header = events
				}
				began := time.Now()
				f := fly(t, g, httptest.NewRequest(method, "/", nil), id)
				f.begin(header...)
				if tc.act != nil {
					time.Sleep(time.Hour / 2)
					tc.act(streams)
				}
				for !f.over() && time.Since(began) < 2*time.Hour {
					time.Sleep(time.Second)
				}
				if tc.ends == 0 {
					if time.Since(began) < 2*time.Hour {
						t.Fatalf("ended after %v", time.Since(began))
					}
					close(f.next)
				} else if after := time.Since(began); after > tc.ends+time.Second || after < tc.ends-time.Second {
					t.Errorf("ended after %v, want %v", after, tc.ends)
				}
				<-f.done
				if f.panics != nil {
					t.Errorf("panicked with %v", f.panics)
				}
				if !errors.Is(cause, tc.cause) {
					t.Errorf("cause %v, want %v", cause, tc.cause)
				}
				if n := streams.Count(); n != 0 {
					t.Errorf("%d streams are left", n)
				}
			})
		})
	}
}

// An upstream's transport hands the cause to its reader: io.EOF reads as a regular end.
func TestEndedStreamsHaveEOFAsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fly(t, New(Config{}), httptest.NewRequest("GET", "/", nil), until(time.Hour))
		f.begin(events...)
		f.write("data: 1\n\n")
		time.Sleep(time.Hour)
		f.wantEnd()
		if cause := context.Cause(f.ctx); cause != io.EOF {
			t.Errorf("cause %v", cause)
		}
		if f.rec.text() != "data: 1\n\n" {
			t.Errorf("got %q", f.rec.text())
		}
	})
}

// What is revoked between the check of the token and the header of the answer was never in the registry.
func TestRevocationBeforeTheAnswerIsNotLost(t *testing.T) {
	for _, tc := range []struct {
		name string
		act  func(*Registry)
		ends bool
	}{
		{"of the grant", func(s *Registry) { s.EndGrant(sessions.ID{1}) }, true},
		{"of everything", func(s *Registry) { s.EndAll(nil) }, true},
		{"of the user, before others", func(s *Registry) {
			s.EndUser(alice.UserKey())
			for range 60 {
				s.EndUser("bbbb")
			}
		}, true},
		{"of more than is remembered", func(s *Registry) {
			for range 65 {
				s.EndUser("bbbb")
			}
		}, true},
		{"of others", func(s *Registry) { s.EndUser("bbbb"); s.EndGrant(sessions.ID{9}) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				streams := NewRegistry()
				f := fly(t, New(Config{Streams: streams}), httptest.NewRequest("POST", "/", nil), until(time.Hour))
				synctest.Wait()
				tc.act(streams)
				f.begin(events...)
				if f.over() != tc.ends {
					t.Errorf("ended: %v", !tc.ends)
				}
				if !tc.ends {
					close(f.next)
				}
				<-f.done
			})
		})
	}
}

// A server that is shutting down waits for requests that came in at the last moment as well.
func TestNoStreamOpensOnceAllAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		streams, ended := NewRegistry(), 0
		g := New(Config{Streams: streams, OnEnd: func(_ *Identity, err error) {
			if err == io.ErrClosedPipe {
				ended++
			}
		}})
		early := fly(t, g, httptest.NewRequest("GET", "/", nil), until(time.Hour))
		early.begin(events...)
		streams.Close(io.ErrClosedPipe)
		early.wantEnd()
		late := fly(t, g, httptest.NewRequest("GET", "/", nil), until(time.Hour))
		late.begin(events...)
		late.wantEnd()
		if ended != 2 || streams.Count() != 0 {
			t.Errorf("%d streams ended, %d are left", ended, streams.Count())
		}
	})
}

func TestRevocationsEndStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams, revocations := NewRegistry(), sessions.NewRevocations(nil, nil)
		defer revocations.Subscribe(streams.EndGrant)()
		id := until(time.Hour)
		id.Grant = sessions.NewID()
		f := fly(t, New(Config{Streams: streams, Revoked: revocations.Revoked}), httptest.NewRequest("GET", "/", nil), id)
		f.begin(events...)
		if err := revocations.Revoke(t.Context(), sessions.NewID(), time.Hour); err != nil || f.over() {
			t.Fatalf("ended with another's grant: %v, %v", f.over(), err)
		}
		if err := revocations.Revoke(t.Context(), id.Grant, time.Hour); err != nil {
			t.Fatal(err)
		}
		f.wantEnd()
	})
}

func TestRevokedIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		revoked := sessions.ID{}
		g := New(Config{Revoked: func(id sessions.ID) bool { mu.Lock(); defer mu.Unlock(); return id == revoked }})
		f := fly(t, g, httptest.NewRequest("GET", "/", nil), until(time.Hour))
		f.begin(events...)
		time.Sleep(10 * time.Minute)
		if f.over() {
			t.Fatal("ended too early")
		}
		mu.Lock()
		revoked = sessions.ID{2}
		mu.Unlock()
		time.Sleep(time.Minute)
		f.wantEnd()
	})
}

// Whoever is not admitted any more loses the streams that are open, within a minute (SE-07).
func TestWhetherACallerIsAdmittedIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out atomic.Bool
		id := until(time.Hour)
		var cause error
		g := New(Config{
			Admits: func(asked *Identity) bool { return *asked == *id && !out.Load() },
			OnEnd:  func(_ *Identity, err error) { cause = err },
		})
		f := fly(t, g, httptest.NewRequest("GET", "/", nil), id)
		f.begin(events...)
		time.Sleep(10 * time.Minute)
		if f.over() {
			t.Fatal("ended too early")
		}
		out.Store(true)
		time.Sleep(time.Minute)
		f.wantEnd()
		if cause != ErrRevoked {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestNothingIsWrittenAfterTheEnd(t *testing.T) {
	streams := NewRegistry()
	g := New(Config{Streams: streams})
	rec := httptest.NewRecorder()
	err := g.Serve(rec, httptest.NewRequest("GET", "/", nil), until(time.Hour), handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: 1\n\n")
		streams.EndGrant(sessions.ID{1})
		if _, err := io.WriteString(w, "data: 2\n\n"); !errors.Is(err, ErrRevoked) {
			t.Errorf("writing after the end: %v", err)
		}
		if _, err := io.Copy(w, strings.NewReader("data: 3\n\n")); !errors.Is(err, ErrRevoked) {
			t.Errorf("copying after the end: %v", err)
		}
		return errors.New("the proxy's")
	}))
	if err != nil || rec.Body.String() != "data: 1\n\n" {
		t.Errorf("got %q, %v", rec.Body, err)
	}
}

// Whoever else breaks a stream is not ours to hide: the client must not take a torso for the whole.
func TestOtherEndsPassUnchanged(t *testing.T) {
	boom, failed := errors.New("boom"), errors.New("failed")
	for _, tc := range []struct {
		name   string
		panics any
		err    error
	}{
		{"upstream killed", http.ErrAbortHandler, nil},
		{"a bug", boom, nil},
		{"an error", nil, failed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			streams := NewRegistry()
			g := New(Config{Streams: streams})
			defer func() {
				if p := recover(); p != tc.panics {
					t.Errorf("panic %v, want %v", p, tc.panics)
				}
				if streams.Count() != 0 {
					t.Error("the stream is left")
				}
			}()
			err := g.Serve(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), until(time.Hour),
				handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					w.Header().Set("Content-Type", "text/event-stream")
					w.WriteHeader(200)
					if streams.Count() != 1 {
						t.Error("the stream is not registered")
					}
					if tc.panics != nil {
						panic(tc.panics)
					}
					return tc.err
				}))
			if err != tc.err {
				t.Errorf("error %v, want %v", err, tc.err)
			}
		})
	}
	t.Run("a bug at the end", func(t *testing.T) {
		streams := NewRegistry()
		defer func() {
			if p := recover(); p != boom {
				t.Errorf("panic %v", p)
			}
		}()
		_ = New(Config{Streams: streams}).Serve(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), alice,
			handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				w.Header().Set("Content-Type", "text/event-stream")
				w.WriteHeader(200)
				streams.EndAll(nil)
				panic(boom)
			}))
	})
}

func TestAClientThatVanishesReleasesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
		streams := NewRegistry()
		f := fly(t, New(Config{Streams: streams, Heartbeat: time.Second}), httptest.NewRequest("GET", "/", nil), until(time.Hour))
		f.begin(events...)
		f.hangUp()
		<-f.done
		if f.panics != http.ErrAbortHandler {
			t.Errorf("panic %v", f.panics)
		}
		if streams.Count() != 0 {
			t.Error("the stream is left")
		}
		before := f.rec.text()
		time.Sleep(time.Minute)
		if f.rec.text() != before {
			t.Error("a heartbeat after the end")
		}
	})
}
