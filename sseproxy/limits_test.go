package sseproxy

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// get is a request that says it wants a stream.
func get() *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "text/event-stream")
	return r
}

func of(subject string) *Identity {
	id := until(time.Hour)
	id.Subject = subject
	return id
}

func TestLimitsOfStreams(t *testing.T) {
	for _, tc := range []struct {
		name   string
		limits Limits
		open   []string // whose streams are open
		next   string
		ok     bool
	}{
		{"without limits", Limits{}, []string{"a", "a", "a"}, "a", true},
		{"below one's own", Limits{PerUser: 3}, []string{"a", "a", "b", "b"}, "a", true},
		{"at one's own", Limits{PerUser: 2}, []string{"a", "b", "a"}, "a", false},
		{"at somebody else's", Limits{PerUser: 2}, []string{"a", "b", "a"}, "b", true},
		{"below that of all", Limits{All: 4}, []string{"a", "a", "b"}, "c", true},
		{"at that of all", Limits{All: 3}, []string{"a", "a", "b"}, "c", false},
		{"at both", Limits{PerUser: 2, All: 2}, []string{"a", "a"}, "a", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var refused []Reason
				streams := NewRegistry()
				g := New(Config{Streams: streams, Limits: tc.limits, OnRefuse: func(_ *http.Request, _ *Identity, why Reason) { refused = append(refused, why) }})
				for _, subject := range tc.open {
					f := fly(t, g, get(), of(subject))
					f.begin(events...)
					defer close(f.next)
				}
				f := fly(t, g, get(), of(tc.next))
				if over := f.over(); over == tc.ok {
					t.Fatalf("answered without the upstream: %v", over)
				}
				if tc.ok {
					f.begin(events...)
					close(f.next)
					<-f.done
					return
				}
				if f.rec.Code != http.StatusTooManyRequests || f.rec.Header().Get("Retry-After") == "" || !strings.Contains(f.rec.text(), `"error"`) {
					t.Errorf("got %d, %v, %s", f.rec.Code, f.rec.Header(), f.rec.text())
				}
				if len(refused) != 1 || refused[0] != ReasonStreams || streams.Count() != len(tc.open) {
					t.Errorf("refused %v, %d streams", refused, streams.Count())
				}
			})
		})
	}
}

// Only the answer tells whether a request without an Accept header becomes a stream.
func TestAStreamThatNobodyAnnouncedIsRefusedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := NewRegistry()
		g := New(Config{Streams: streams, Limits: Limits{PerUser: 1}})
		first := fly(t, g, get(), of("a"))
		first.begin(events...)
		second := fly(t, g, httptest.NewRequest("POST", "/", nil), of("a"))
		second.step(func(w http.ResponseWriter) error {
			for name, value := range map[string]string{"Content-Type": "text/event-stream", "Etag": "x", "Mcp-Session-Id": "secret", "X-Other": "kept"} {
				w.Header().Set(name, value)
			}
			w.WriteHeader(http.StatusOK)
			if _, err := io.WriteString(w, "data: secret\n\n"); err == nil {
				t.Error("the refused answer can be written to")
			}
			_, err := io.Copy(w, strings.NewReader("data: secret\n\n"))
			return err
		})
		second.wantEnd()
		h := second.rec.Header()
		if second.rec.Code != http.StatusTooManyRequests || strings.Contains(second.rec.text(), "secret") || h.Get("Mcp-Session-Id")+h.Get("Etag") != "" || h.Get("X-Other") != "kept" {
			t.Errorf("got %d, %v, %s", second.rec.Code, h, second.rec.text())
		}
		if ct := h.Values("Content-Type"); len(ct) != 1 || ct[0] != "application/json" {
			t.Errorf("Content-Type %q", ct)
		}
		if second.ctx.Err() == nil {
			t.Error("the upstream goes on")
		}

		// An answer that is no stream needs no room.
		third := fly(t, g, httptest.NewRequest("POST", "/", nil), of("a"))
		third.begin("Content-Type", "application/json")
		close(third.next)
		if <-third.done; third.rec.Code != http.StatusOK {
			t.Errorf("status %d", third.rec.Code)
		}
		close(first.next)
		<-first.done
		if streams.Count() != 0 {
			t.Errorf("%d streams are left", streams.Count())
		}
	})
}

func TestRoomIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Limits: Limits{PerUser: 1, All: 1}})
		for i := range 5 {
			f := fly(t, g, get(), of("a"))
			f.begin(events...)
			switch i {
			case 0:
				f.hangUp()
			case 1:
				g.streams.EndUser(of("a").UserKey())
			case 2:
				g.streams.EndAll(nil)
			case 3:
				time.Sleep(time.Hour) // until the token expires
			default:
				close(f.next)
			}
			<-f.done
			if f.rec.Code != http.StatusOK {
				t.Fatalf("stream %d was answered with %d", i, f.rec.Code)
			}
		}
	})
}

// The counts are compared with a count from scratch.
func TestCounts(t *testing.T) {
	c, want, rnd := newCounts(), map[string]int{}, rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		user := fmt.Sprint(rnd.IntN(5))
		if rnd.IntN(2) == 0 {
			c.add(user)
			want[user]++
		} else if want[user] > 0 {
			c.remove(user)
			want[user]--
		}
		all, busiest, users := 0, 0, 0
		for _, n := range want {
			all, busiest = all+n, max(busiest, n)
			if n > 0 {
				users++
			}
		}
		if int(c.all.Load()) != all || int(c.busiest.Load()) != busiest || len(c.users) != users {
			t.Fatalf("after %d steps: all %d, busiest %d, users %d; want %d, %d, %d", i, c.all.Load(), c.busiest.Load(), len(c.users), all, busiest, users)
		}
		if len(c.sizes) > users {
			t.Fatalf("after %d steps %d sizes are kept for %d users", i, len(c.sizes), users)
		}
	}
}

func TestOnEndIsToldOfEveryStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var causes []error
		g := New(Config{OnEnd: func(_ *Identity, cause error) { causes = append(causes, cause) }})
		for _, end := range []func(*flight){
			func(f *flight) { close(f.next) },
			func(f *flight) { f.hangUp() },
			func(*flight) { g.streams.EndAll(io.ErrClosedPipe) },
			func(*flight) { time.Sleep(time.Hour) },
		} {
			f := fly(t, g, get(), of("a"))
			f.begin(events...)
			end(f)
			<-f.done
		}
		if want := []error{nil, ErrHungUp, io.ErrClosedPipe, ErrExpired}; fmt.Sprint(causes) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", causes, want)
		}
	})
}
