package credentials

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

const pageURL = tenant + "/my/credentials"

// upstream is a next handler that accepts one credential.
type upstream struct {
	t       *testing.T
	accepts string // the header's value
	status  int    // what it answers to others; 0: 401
	header  string // it looks here; "": Authorization
	unread  bool   // it refuses before it reads the body

	got    []string // values that arrived
	bodies []string
	paths  []string
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	name := u.header
	if name == "" {
		name = "Authorization"
	}
	u.got, u.paths = append(u.got, strings.Join(r.Header.Values(name), "|")), append(u.paths, r.URL.Path)
	r.URL.Path, r.RequestURI = "/rewritten", "/rewritten"
	if !u.unread {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			u.t.Errorf("reading the body: %v", err)
		}
		u.bodies = append(u.bodies, string(body))
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="theirs", resource_metadata="https://evil.example/"`)
	w.Header().Set("X-Theirs", "1")
	if r.Header.Get(name) != u.accepts {
		status := u.status
		if status == 0 {
			status = http.StatusUnauthorized
		}
		w.WriteHeader(status)
		_, err := io.WriteString(w, "go away")
		return err
	}
	_, err := io.Copy(w, strings.NewReader("welcome"))
	return err
}

const call = `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"whoami"}}`

func message(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, githubURI+"/mcp", strings.NewReader(body))
	r.Header.Set("Accept", "application/json, text/event-stream")
	return r
}

// rpcAnswer is what a client makes of an error.
type rpcAnswer struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Error   struct {
		Code    int
		Message string
		Data    struct{ URL, Resource string }
	}
}

// serve returns what the client gets.
func (w *world) serve(up *Upstream, r *http.Request, person *sessions.User, next sseproxy.Handler) (*httptest.ResponseRecorder, error) {
	w.t.Helper()
	recorder := httptest.NewRecorder()
	g := &Guard{Keeper: w.Keeper, Upstream: up, Page: pageURL}
	return recorder, g.Serve(recorder, r, person, next)
}

func (w *world) mustServe(up *Upstream, r *http.Request, person *sessions.User, next sseproxy.Handler) *httptest.ResponseRecorder {
	w.t.Helper()
	recorder, err := w.serve(up, r, person, next)
	if err != nil {
		w.t.Fatalf("Serve: %v", err)
	}
	if recorder.Header().Get("WWW-Authenticate") != "" {
		w.t.Errorf("the upstream's challenge reached the client: %v", recorder.Header())
	}
	return recorder
}

func wantExplained(t *testing.T, recorder *httptest.ResponseRecorder, status int, id, words string) {
	t.Helper()
	var answer rpcAnswer
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil {
		t.Fatalf("the body is %q", recorder.Body)
	}
	h := recorder.Header()
	switch {
	case recorder.Code != status, string(answer.ID) != id, answer.Version != "2.0", answer.Error.Code != rpcCode:
		t.Errorf("status %d, %s; want %d and id %s", recorder.Code, recorder.Body, status, id)
	case !strings.Contains(answer.Error.Message, words), answer.Error.Data.URL != pageURL:
		t.Errorf("the error says %q, want %q", answer.Error.Message, words)
	case h.Get("Content-Type") != "application/json", h.Get("Cache-Control") != "no-store", h.Get("X-Theirs") != "":
		t.Errorf("header %v", h)
	}
}

func TestTheUpstreamGetsTheCredentialAndNothingOfTheClients(t *testing.T) {
	w := newWorld(t)
	key := &Upstream{Resource: githubURI, Header: must(ParseHeader("X-Api-Key", ""))(t)}
	for _, tc := range []struct {
		up     *Upstream
		next   *upstream
		header http.Header
	}{
		{w.github, &upstream{t: t, accepts: "Bearer ghp_alice"}, http.Header{"Authorization": {"Bearer forged", "more"}, "authorization": {"x"}}},
		{key, &upstream{t: t, accepts: "ghp_alice", header: "X-Api-Key"}, http.Header{"X-Api-Key": {"forged"}, "X_api_key": {"forged"}, "x-api-key": {"forged"}}},
	} {
		w.typeIn(alice, tc.up, "ghp_alice")
		r := message(call)
		for name, values := range tc.header {
			r.Header[name] = values
		}
		recorder := w.mustServe(tc.up, r, &alice, tc.next)
		if recorder.Code != 200 || recorder.Body.String() != "welcome" || recorder.Header().Get("X-Theirs") != "1" {
			t.Errorf("%d %s", recorder.Code, recorder.Body)
		}
		if len(tc.next.got) != 1 || tc.next.got[0] != tc.next.accepts || tc.next.bodies[0] != call {
			t.Errorf("arrived: %q with %q", tc.next.got, tc.next.bodies)
		}
		for name := range r.Header {
			if values := strings.Join(r.Header[name], " "); strings.Contains(values, "forged") {
				t.Errorf("%s: %s went on", name, values)
			}
		}
	}
}

func TestACallerWithoutCredentialIsToldWhereToGo(t *testing.T) {
	w := newWorld(t)
	deaf := message(call)
	deaf.Header.Del("Accept")
	for _, tc := range []struct {
		name   string
		up     *Upstream
		r      *http.Request
		status int
		id     string
		words  string
	}{
		{"a request", w.github, message(call), 200, "7", `"GitHub tools" needs a token of yours. Store it at ` + pageURL},
		{"a request where accounts are connected", w.linear, message(call), 200, "7", `"https://mcp.example.com/linear" needs your account there. Connect it at ` + pageURL},
		{"an id that is a text", w.github, message(`{"method":"ping","id":"a\"b","jsonrpc":"2.0"}`), 200, `"a\"b"`, pageURL},
		{"a request of the older transport", w.github, deaf, 403, "7", pageURL},
		{"a notification", w.github, message(`{"jsonrpc":"2.0","method":"notifications/initialized"}`), 403, "null", pageURL},
		{"a response", w.github, message(`{"jsonrpc":"2.0","id":7,"result":{}}`), 403, "null", pageURL},
		{"a batch", w.github, message("[" + call + "]"), 403, "null", pageURL},
		{"a stream", w.github, httptest.NewRequest(http.MethodGet, githubURI, nil), 403, "null", pageURL},
		{"the end of a session", w.github, httptest.NewRequest(http.MethodDelete, githubURI, nil), 403, "null", pageURL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := &upstream{t: t}
			wantExplained(t, w.mustServe(tc.up, tc.r, &alice, next), tc.status, tc.id, tc.words)
			if len(next.got) != 0 {
				t.Error("the upstream was reached")
			}
		})
	}
}

// Machines and service tokens are nobody's, so they get nobody's credential.
func TestACallerInItsOwnNameGetsNobodysCredential(t *testing.T) {
	w := newWorld(t)
	w.typeIn(sessions.User{}, w.github, "ghp_nobody")
	w.typeIn(alice, w.github, "ghp_alice")
	next := &upstream{t: t}
	r := message(call)
	r.Header.Set("Authorization", "Bearer forged")
	wantExplained(t, w.mustServe(w.github, r, nil, next), 200, "7", "acts in its own name")
	if len(next.got) != 0 {
		t.Errorf("the upstream got %q", next.got)
	}
}

func TestAnErrorReadsNoMoreThanTheBeginning(t *testing.T) {
	w := newWorld(t)
	long := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":"` + strings.Repeat("a", 4*maxKept)
	body := strings.NewReader(long)
	r := httptest.NewRequest(http.MethodPost, githubURI, io.NopCloser(body))
	r.Header.Set("Accept", "application/json")
	wantExplained(t, w.mustServe(w.github, r, &alice, &upstream{t: t}), 200, "7", pageURL)
	if read := len(long) - body.Len(); read > maxKept {
		t.Errorf("%d bytes were read", read)
	}
	late := `{"jsonrpc":"2.0","params":"` + strings.Repeat("a", 2*maxKept) + `","id":7}`
	wantExplained(t, w.mustServe(w.github, message(late), &alice, &upstream{t: t}), 403, "null", pageURL)
}

func TestAnExpiredTokenIsRefreshedOnceAndTheRequestSentAgain(t *testing.T) {
	w := newWorld(t)
	w.server.set(func(s *authServer) { s.life = 0 })
	w.connect(alice, w.linear)
	w.clock.Advance(24 * time.Hour)
	next := &upstream{t: t, accepts: "Bearer access-2"}
	recorder := w.mustServe(w.linear, message(call), &alice, next)
	if recorder.Code != 200 || recorder.Body.String() != "welcome" {
		t.Errorf("%d %s", recorder.Code, recorder.Body)
	}
	if strings.Join(next.got, ",") != "Bearer access-1,Bearer access-2" || next.bodies[1] != call || next.paths[1] != "/github/mcp" {
		t.Errorf("arrived: %q, %q at %q", next.got, next.bodies, next.paths)
	}
	if n := w.server.asked("refresh_token"); n != 1 {
		t.Errorf("%d refreshes", n)
	}

	// Refused again, so soon: nothing is refreshed, and nobody but this person hears of it.
	w.connect(bob, w.linear)
	next = &upstream{t: t, accepts: "never"}
	recorder = w.mustServe(w.linear, message(call), &alice, next)
	wantExplained(t, recorder, 200, "7", "has ended. Connect it again at "+pageURL)
	if n := w.server.asked("refresh_token"); n != 1 || len(next.got) != 1 {
		t.Errorf("%d refreshes, %d requests", n, len(next.got))
	}
	if got := value(t, w.Keeper, bob, w.linear); got != "Bearer access-3" {
		t.Errorf("bob: %q", got)
	}
}

func TestARefusalThatARefreshDoesNotMend(t *testing.T) {
	w := newWorld(t)
	w.server.set(func(s *authServer) { s.life = 0 })
	w.connect(alice, w.linear)
	w.clock.Advance(24 * time.Hour)
	next := &upstream{t: t, accepts: "never"}
	wantExplained(t, w.mustServe(w.linear, message(call), &alice, next), 200, "7", "Connect it again")
	if n := w.server.asked("refresh_token"); n != 1 || len(next.got) != 2 {
		t.Errorf("%d refreshes, %d requests", n, len(next.got))
	}
}

func TestRefusals(t *testing.T) {
	large := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":"` + strings.Repeat("a", 2*maxKept) + `"}`
	for _, tc := range []struct {
		name   string
		oauth  bool
		next   upstream
		body   string
		status int
		id     string
		words  string
	}{
		{"a typed token", false, upstream{}, call, 200, "7", "does not accept the token that you stored. Replace it at " + pageURL},
		{"a request too large to be sent again", true, upstream{accepts: "Bearer access-2"}, large, 200, "7", "just been renewed. Please try again"},
		{"a body that was not read", true, upstream{accepts: "Bearer access-2", unread: true}, call, 403, "null", "try again"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			up := w.github
			if tc.oauth {
				up = w.linear
				w.server.set(func(s *authServer) { s.life = 0 })
				w.connect(alice, up)
			} else {
				w.typeIn(alice, up, "ghp_wrong")
			}
			w.clock.Advance(24 * time.Hour)
			tc.next.t = t
			wantExplained(t, w.mustServe(up, message(tc.body), &alice, &tc.next), tc.status, tc.id, tc.words)
			if len(tc.next.got) != 1 {
				t.Errorf("%d requests", len(tc.next.got))
			}
		})
	}
}

// What a person may not do there is between them and the upstream, but its challenge is none of ours.
func TestA403OfTheUpstreamIsPassedOnWithoutItsChallenge(t *testing.T) {
	w := newWorld(t)
	w.server.set(func(s *authServer) { s.life = 0 })
	w.connect(alice, w.linear)
	w.clock.Advance(24 * time.Hour)
	next := &upstream{t: t, accepts: "never", status: http.StatusForbidden}
	recorder := w.mustServe(w.linear, message(call), &alice, next)
	if recorder.Code != 403 || recorder.Body.String() != "go away" || w.server.asked("refresh_token") != 0 {
		t.Errorf("%d %s, %d refreshes", recorder.Code, recorder.Body, w.server.asked("refresh_token"))
	}
	expired := nextFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("Authorization") == "Bearer access-2" {
			w.WriteHeader(http.StatusAccepted)
			return nil
		}
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusForbidden)
		return nil
	})
	if recorder = w.mustServe(w.linear, httptest.NewRequest(http.MethodGet, linearURI, nil), &alice, expired); recorder.Code != 202 {
		t.Errorf("an expired token that is answered with 403: %d", recorder.Code)
	}
}

type nextFunc func(http.ResponseWriter, *http.Request) error

func (f nextFunc) ServeHTTP(w http.ResponseWriter, r *http.Request) error { return f(w, r) }

func TestWhileSomethingIsDownNothingPasses(t *testing.T) {
	w := newWorld(t)
	next := &upstream{t: t}
	w.store.setDown(true)
	if _, err := w.serve(w.github, message(call), &alice, next); !errors.Is(err, sessions.ErrUnavailable) {
		t.Errorf("without the store: %v", err)
	}
	w.store.setDown(false)
	w.connect(alice, w.linear)
	w.clock.Advance(2 * time.Hour)
	w.server.set(func(s *authServer) { s.status = http.StatusBadGateway })
	if _, err := w.serve(w.linear, message(call), &alice, next); !errors.Is(err, ErrServerDown) {
		t.Errorf("without the authorization server: %v", err)
	}
	if len(next.got) != 0 {
		t.Error("the upstream was reached")
	}
}

func TestAStreamIsPassedOnAsItComes(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "ghp_alice")
	recorder := w.mustServe(w.github, httptest.NewRequest(http.MethodGet, githubURI, nil), &alice, nextFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusEarlyHints)
		rc := http.NewResponseController(w)
		if err := rc.Flush(); err != nil {
			return err
		}
		_, _ = io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		return nil
	}))
	if !recorder.Flushed || recorder.Body.String() != "data: 1\n\n" {
		t.Errorf("flushed %t, %q", recorder.Flushed, recorder.Body)
	}
}

// An error of the chain behind us is the chain's.
func TestAnErrorOfTheNextHandlerIsReturned(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "ghp_alice")
	broken := errors.New("no upstreams")
	r := message(call)
	if _, err := w.serve(w.github, r, &alice, nextFunc(func(http.ResponseWriter, *http.Request) error { return broken })); !errors.Is(err, broken) {
		t.Errorf("Serve: %v", err)
	}
	// An error route gets the same request, and may send it to somebody else.
	if got := r.Header.Get("Authorization"); got != "" {
		t.Errorf("left in the request: %q", got)
	}
}

func TestWhatLaterHandlersAlteredIsPutBack(t *testing.T) {
	w := newWorld(t)
	w.server.set(func(s *authServer) { s.life = 0 })
	w.connect(alice, w.linear)
	w.clock.Advance(24 * time.Hour)
	restored := 0
	g := &Guard{Keeper: w.Keeper, Upstream: w.linear, Page: pageURL, Snapshot: func(*http.Request) func() { return func() { restored++ } }}
	var addresses []url.URL
	next := nextFunc(func(rw http.ResponseWriter, r *http.Request) error {
		addresses = append(addresses, *r.URL)
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != call {
			t.Errorf("the body is %q, %v", body, err)
		}
		r.URL.Path, r.URL.RawQuery, r.Host, r.Method = "/x", "x", "x", "PUT"
		r.Header.Set("X-Added", "1")
		if len(addresses) == 1 {
			rw.WriteHeader(http.StatusUnauthorized)
		}
		return nil
	})
	r := httptest.NewRequest(http.MethodPost, linearURI+"/mcp?a=b", strings.NewReader(call))
	if err := g.Serve(httptest.NewRecorder(), r, &alice, next); err != nil {
		t.Fatal(err)
	}
	if restored != 1 || len(addresses) != 2 || addresses[0] != addresses[1] {
		t.Errorf("restored %d times; %v", restored, addresses)
	}
}

func TestRequestID(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"a request", call, "7"},
		{"a negative number", `{"id":-1,"method":"x"}`, "-1"},
		{"an id at the end", `{"method":"x","params":{"id":9},"id":"a"}`, `"a"`},
		{"cut off after the id", `{"id":7,"method":"x","params":{"a`, "7"},
		{"two ids", `{"id":7,"id":8,"method":"x"}`, ""},
		{"an id that is null", `{"id":null,"method":"x"}`, ""},
		{"an id that is an object", `{"id":{},"method":"x"}`, ""},
		{"a huge id", `{"id":"` + strings.Repeat("a", maxID) + `"}`, ""},
		{"an error", `{"id":7,"error":{}}`, ""},
		{"no object", `"id"`, ""},
		{"nothing", ``, ""},
		{"nonsense", `{id:7}`, ""},
	} {
		if got := requestID([]byte(tc.body)); string(got) != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func FuzzRequestID(f *testing.F) {
	f.Add([]byte(call))
	f.Add([]byte(`{"id":"\u0000","id":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		id := requestID(body)
		if id == nil {
			return
		}
		if !json.Valid(id) || len(id) > maxID {
			t.Errorf("%q gives %q", body, id)
		}
		if _, err := json.Marshal(rpcError{ID: id}); err != nil {
			t.Error(err)
		}
	})
}

// A transport that still reads for an earlier request gets nothing that is the next one's.
func TestABodyThatIsSentAgainIsNotReadByTheEarlierRequest(t *testing.T) {
	r := message(call)
	b := keepBody(r)
	earlier := r.Body
	if _, err := io.ReadAll(earlier); err != nil {
		t.Fatal(err)
	}
	if !b.rewind(r) {
		t.Fatal("it cannot be sent again")
	}
	if n, err := earlier.Read(make([]byte, 8)); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the earlier request reads %d bytes, %v", n, err)
	}
	if got, err := io.ReadAll(r.Body); err != nil || string(got) != call {
		t.Errorf("the next one reads %q, %v", got, err)
	}
}
