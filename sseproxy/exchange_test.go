package sseproxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// edge is a real server with a guard before a real reverse proxy, as it stands in production.
type edge struct {
	*httptest.Server
	streams *Registry
	hungUp  chan struct{} // the upstream's requests that ended
	ended   chan error    // the streams that did, and why
}

func newEdge(t *testing.T, h2 bool, upstream http.HandlerFunc) *edge {
	t.Helper()
	e := &edge{streams: NewRegistry(), hungUp: make(chan struct{}, 8), ended: make(chan error, 8)}
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { e.hungUp <- struct{}{} }()
		upstream(w, r)
	}))
	up.EnableHTTP2 = h2
	up.StartTLS()
	t.Cleanup(up.Close)
	target, err := url.Parse(up.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport:     up.Client().Transport,
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0),
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	g := New(Config{Streams: e.streams, Heartbeat: time.Hour, OnEnd: func(_ *Identity, cause error) { e.ended <- cause }})
	id := *alice
	id.Grant, id.ExpiresAt = sessions.ID{1}, time.Now().Add(time.Hour).Unix()
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.Serve(w, r, &id, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			proxy.ServeHTTP(w, r)
			return nil
		})); err != nil {
			t.Error(err)
		}
	}))
	e.EnableHTTP2 = h2
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}

func eventsUntilHangUp(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "data: 1\n\n")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func protocols(t *testing.T, run func(t *testing.T, h2 bool)) {
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) { run(t, h2) })
	}
}

func TestEndedStreamsAreWholeForTheClient(t *testing.T) {
	protocols(t, func(t *testing.T, h2 bool) {
		e := newEdge(t, h2, eventsUntilHangUp)
		for _, method := range []string{"GET", "POST"} {
			req, _ := http.NewRequest(method, e.URL, strings.NewReader(""))
			res, err := e.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(io.LimitReader(res.Body, 9)).ReadString('\n')
			if err != nil || line != "data: 1\n" || e.streams.Count() != 1 {
				t.Fatalf("%s: %q, %v, %d streams", method, line, err, e.streams.Count())
			}
			e.streams.EndGrant(sessions.ID{1})
			// An unexpected EOF or a reset would be an error here.
			rest, err := io.ReadAll(res.Body)
			if err != nil || strings.TrimSpace(string(rest)) != "" {
				t.Errorf("%s: the rest is %q, %v", method, rest, err)
			}
			<-e.hungUp
			if n := e.streams.Count(); n != 0 {
				t.Errorf("%s: %d streams are left", method, n)
			}
		}
	})
}

func TestAClientThatHangsUpReachesTheUpstream(t *testing.T) {
	protocols(t, func(t *testing.T, h2 bool) {
		e := newEdge(t, h2, eventsUntilHangUp)
		ctx, cancel := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, "GET", e.URL, nil)
		res, err := e.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		cancel()
		<-e.hungUp
	})
}

// A stream that broke must look broken, or the client would not ask for the rest.
func TestAnUpstreamThatDiesLooksBroken(t *testing.T) {
	protocols(t, func(t *testing.T, h2 bool) {
		e := newEdge(t, h2, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		res, err := e.Client().Get(e.URL)
		if err != nil {
			return // broken before the header had left
		}
		defer res.Body.Close()
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("the client took the torso for the whole")
		}
	})
}

func TestTrailersDoNotReachTheUpstream(t *testing.T) {
	got := make(chan http.Header, 1)
	e := newEdge(t, false, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.Trailer
	})
	req, _ := http.NewRequest("POST", e.URL, io.MultiReader(strings.NewReader("body")))
	req.Trailer = http.Header{"X-Forwarded-User": {"evil"}}
	res, err := e.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if trailer := <-got; len(trailer) != 0 {
		t.Errorf("the upstream got %v", trailer)
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("streams of both protocols", func(t *testing.T) {
		protocols(t, func(t *testing.T, h2 bool) {
			e := newEdge(t, h2, eventsUntilHangUp)
			for range 3 {
				res, err := e.Client().Get(e.URL)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
			}
			e.streams.EndAll(nil)
			for range 3 {
				<-e.hungUp
			}
		})
	})
}

// controlled has everything that a response writer of net/http has, and notes what is used.
type controlled struct {
	httptest.ResponseRecorder
	used []string
	err  error
}

func (c *controlled) note(what string) error           { c.used = append(c.used, what); return c.err }
func (c *controlled) FlushError() error                { return c.note("flush") }
func (c *controlled) SetReadDeadline(time.Time) error  { return c.note("read deadline") }
func (c *controlled) SetWriteDeadline(time.Time) error { return c.note("write deadline") }
func (c *controlled) EnableFullDuplex() error          { return c.note("full duplex") }
func (c *controlled) ReadFrom(r io.Reader) (int64, error) {
	c.note("read from")
	return io.Copy(c.Body, r)
}
func (c *controlled) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, c.note("hijack")
}

func TestTheWriterStandsInTheWayOfNothing(t *testing.T) {
	for _, contentType := range []string{"application/json", "text/event-stream"} {
		t.Run(contentType, func(t *testing.T) {
			c := &controlled{ResponseRecorder: *httptest.NewRecorder()}
			err := New(Config{}).Serve(c, httptest.NewRequest("POST", "/", nil), alice, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Content-Type", contentType)
				rc := http.NewResponseController(w)
				_, _, hijack := rc.Hijack()
				n, copied := io.Copy(w, struct{ io.Reader }{strings.NewReader("copied")})
				if n != 6 {
					t.Errorf("copied %d bytes", n)
				}
				w.(http.Flusher).Flush()
				return errors.Join(rc.Flush(), rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}), rc.EnableFullDuplex(), hijack, copied)
			}))
			used := strings.Join(c.used, ", ")
			want := "hijack, read from, flush, flush, read deadline, write deadline, full duplex"
			if contentType == "text/event-stream" {
				want = strings.Replace(want, "read from, ", "", 1)
			}
			if err != nil || used != want || c.Body.String() != "copied" {
				t.Errorf("used %s, want %s; wrote %q, %v", used, want, c.Body, err)
			}
			c.err = io.ErrShortWrite
			x := &exchange{ResponseWriter: c, wroteHeader: true}
			if err := x.FlushError(); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("the error of a flush is lost: %v", err)
			}
		})
	}
}

func TestTheFirstWriteOrFlushDecides(t *testing.T) {
	for name, do := range map[string]func(http.ResponseWriter){
		"write": func(w http.ResponseWriter) { _, _ = w.Write([]byte("data: 1\n\n")) },
		"flush": func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
		"copy":  func(w http.ResponseWriter) { _, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader("x")}) },
		"header after an early hint": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusOK)
		},
	} {
		t.Run(name, func(t *testing.T) {
			streams := NewRegistry()
			err := New(Config{Streams: streams}).Serve(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), alice,
				handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
					if streams.Count() != 0 {
						t.Error("a stream before there is an answer")
					}
					w.Header().Set("Content-Type", "text/event-stream")
					do(w)
					if streams.Count() != 1 {
						t.Error("no stream")
					}
					return nil
				}))
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnswersThatAreNoStreams(t *testing.T) {
	for _, tc := range []struct {
		name, method string
		status       int
		header       http.Header
	}{
		{"an early hint alone", "POST", http.StatusEarlyHints, nil},
		{"not modified", "GET", http.StatusNotModified, http.Header{"Content-Type": {"text/event-stream"}}},
		{"no content", "POST", http.StatusNoContent, http.Header{"Content-Type": {"text/event-stream"}}},
		{"accepted", "POST", http.StatusAccepted, nil},
		{"an error to a GET", "GET", http.StatusMethodNotAllowed, nil},
		{"a type that only begins alike", "POST", 200, http.Header{"Content-Type": {"text/event-streams"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			streams := NewRegistry()
			err := New(Config{Streams: streams}).Serve(httptest.NewRecorder(), httptest.NewRequest(tc.method, "/", nil), alice,
				handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
					for name, values := range tc.header {
						w.Header()[name] = values
					}
					w.WriteHeader(tc.status)
					if streams.Count() != 0 {
						t.Error("taken for a stream")
					}
					return nil
				}))
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A server behind the edge must not plant the cookies of the edge's own pages in a browser.
func TestTheUpstreamSetsNoneOfTheEdgesCookies(t *testing.T) {
	for _, contentType := range []string{"application/json", "text/event-stream"} {
		rec := httptest.NewRecorder()
		err := New(Config{}).Serve(rec, httptest.NewRequest("GET", "/", nil), alice, handlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", contentType)
			w.Header()["Set-Cookie"] = []string{"theirs=1", "__Host-" + sessions.SessionCookieName + "=planted; Secure; Path=/"}
			_, err := io.WriteString(w, "data: 1\n\n")
			return err
		}))
		if got := rec.Header()["Set-Cookie"]; err != nil || len(got) != 1 || got[0] != "theirs=1" {
			t.Errorf("%s: the client got %q, %v", contentType, got, err)
		}
	}
}

// A connection that left HTTP ends as streams do.
func TestUpgradedConnectionsEnd(t *testing.T) {
	streams := NewRegistry()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header = http.Header{"Connection": {"Upgrade"}, textproto.CanonicalMIMEHeaderKey("upgrade"): {"websocket"}}
	err := New(Config{Streams: streams, Upgrades: true}).Serve(&controlled{ResponseRecorder: *httptest.NewRecorder()}, r, alice,
		handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(http.StatusSwitchingProtocols)
			streams.EndUser(alice.UserKey())
			<-r.Context().Done()
			return nil
		}))
	if err != nil || streams.Count() != 0 {
		t.Errorf("%v, %d streams are left", err, streams.Count())
	}
}
