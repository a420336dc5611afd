package forms

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A body that trickles in must not hold its connection for longer than the bound, over any protocol.
func TestABodyThatTakesTooLongIsRefused(t *testing.T) {
	defer func(d time.Duration) { bodyTime = d }(bodyTime)
	bodyTime = 50 * time.Millisecond
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			outcome := make(chan error, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := Body(w, r)
				outcome <- err
				w.WriteHeader(http.StatusRequestTimeout)
			}))
			server.EnableHTTP2 = h2
			server.StartTLS()
			defer server.Close()
			slow, rest := io.Pipe()
			defer rest.Close()
			req, err := http.NewRequest("POST", server.URL, io.MultiReader(bytes.NewReader([]byte("a=")), slow))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			answered := make(chan int, 1)
			go func() {
				res, err := server.Client().Do(req)
				if err != nil {
					answered <- 0
					return
				}
				res.Body.Close()
				answered <- res.StatusCode
			}()
			var refused *BodyError
			if err := <-outcome; !errors.As(err, &refused) || refused.Status != http.StatusRequestTimeout {
				t.Errorf("got %v", err)
			}
			if status := <-answered; status != http.StatusRequestTimeout {
				t.Errorf("the client was answered with %d", status)
			}
		})
	}
}

// What is answered without a look at the body is no way around the bound.
func TestABodyThatNobodyReadsIsBoundToo(t *testing.T) {
	for name, tc := range map[string]struct {
		body io.Reader
		want int
	}{"a body": {bytes.NewReader([]byte("x")), 1}, "none": {nil, 0}} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		BoundBody(w, httptest.NewRequest("POST", "/", tc.body))
		if len(w.set) != tc.want {
			t.Errorf("%s: deadlines %v", name, w.set)
		}
	}
}

// deadlines notes the read deadlines of a connection.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// A deadline that stays would cancel what the request waits for afterwards, such as a slow provider.
func TestABodyThatIsThereLeavesNoDeadline(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	body, err := ReadBody(w, httptest.NewRequest("POST", "/", bytes.NewReader([]byte("x"))), 8)
	if err != nil || string(body) != "x" || len(w.set) != 2 || w.set[0].IsZero() || !w.set[1].IsZero() {
		t.Errorf("%q, %v, deadlines %v", body, err, w.set)
	}
}
