package sseproxy

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func tagger(t testing.TB, keys ...string) Tagger {
	t.Helper()
	raw := make([][]byte, len(keys))
	for i, key := range keys {
		raw[i] = bytes.Repeat([]byte(key), minKey)
	}
	made, err := NewTagger(raw...)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestTagger(t *testing.T) {
	old, rotated, other := tagger(t, "a"), tagger(t, "b", "a"), tagger(t, "c")
	message := []byte("message")
	tag, err := old.Tag(message)
	if err != nil || len(tag) != tagSize {
		t.Fatalf("tag of %d bytes, %v", len(tag), err)
	}
	again, _ := old.Tag(message)
	for name, wrong := range map[string]bool{
		"another tag for the same message":      !bytes.Equal(tag, again),
		"refused with its key":                  !old.Verify(message, tag),
		"refused after rotation":                !rotated.Verify(message, tag),
		"accepted with another key":             other.Verify(message, tag),
		"accepted for another message":          old.Verify([]byte("massage"), tag),
		"accepted when cut":                     old.Verify(message, tag[:tagSize-1]),
		"accepted when empty":                   old.Verify(message, nil),
		"accepted when longer":                  old.Verify(message, append(tag[:tagSize:tagSize], 0)),
		"accepted with one bit of it changed":   old.Verify(message, append([]byte{tag[0] ^ 1}, tag[1:]...)),
		"an old key tags although there is one": func() bool { t2, _ := rotated.Tag(message); return bytes.Equal(t2, tag) }(),
	} {
		if wrong {
			t.Error(name)
		}
	}
	for name, keys := range map[string][][]byte{"no key": nil, "a short key": {make([]byte, minKey-1)}} {
		if _, err := NewTagger(keys...); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// bound is a guard that binds sessions, and what it hands to an upstream that answers with answer.
type bound struct {
	t *testing.T
	g *Guard
}

func binding(t *testing.T) bound {
	return bound{t, New(Config{BindSessions: Sessions{Tagger: tagger(t, "k"), Tenant: "https://mcp.example"}})}
}

// do returns the answer, and the request as the upstream got it, nil if it got none.
func (b bound) do(id *Identity, r *http.Request, answer http.Header, body string) (*http.Response, *http.Request) {
	b.t.Helper()
	rec := httptest.NewRecorder()
	var got *http.Request
	err := b.g.Serve(rec, r, id, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		got = r
		for name, values := range answer {
			w.Header()[name] = values
		}
		_, err := io.WriteString(w, body)
		return err
	}))
	if err != nil {
		b.t.Fatal(err)
	}
	return rec.Result(), got
}

func post(target, session string) *http.Request {
	r := httptest.NewRequest("POST", target, nil)
	if session != "" {
		r.Header.Set(sessionName, session)
	}
	return r
}

func another(change func(*Identity)) *Identity {
	id := *alice
	change(&id)
	return &id
}

// open starts a session that the upstream calls by id, and returns the client's name for it.
func (b bound) open(id string) string {
	b.t.Helper()
	res, _ := b.do(alice, post("/mcp", ""), http.Header{sessionName: {id}}, "{}")
	tagged := res.Header.Get(sessionName)
	if !strings.HasPrefix(tagged, id+".") {
		b.t.Fatalf("session %q is %q to the client", id, tagged)
	}
	return tagged
}

func TestSessionsOpenForTheirOwnerOnly(t *testing.T) {
	b := binding(t)
	tagged := b.open("1868a90c.x")
	other := b.open("other")
	for _, tc := range []struct {
		name, method string
		id           *Identity
		session      []string
		ok           bool
	}{
		{"the owner", "POST", alice, []string{tagged}, true},
		{"the owner's stream", "GET", alice, []string{tagged}, true},
		{"the owner closing it", "DELETE", alice, []string{tagged}, true},
		{"the owner with another client and a renewed token", "POST", another(func(id *Identity) { id.ClientID = "x"; id.ID = sessions.ID{7} }), []string{tagged}, true},
		{"no session", "POST", alice, nil, true},
		{"another user", "POST", another(func(id *Identity) { id.Subject = "bbbb" }), []string{tagged}, false},
		{"another user's DELETE", "DELETE", another(func(id *Identity) { id.Subject = "bbbb" }), []string{tagged}, false},
		{"another user's GET", "GET", another(func(id *Identity) { id.Subject = "bbbb" }), []string{tagged}, false},
		{"another resource", "POST", another(func(id *Identity) { id.Resource += "x" }), []string{tagged}, false},
		{"a boundary moved between user and resource", "POST", another(func(id *Identity) {
			id.Subject, id.Resource = id.Subject+id.Resource[:1], id.Resource[1:]
		}), []string{tagged}, false},
		{"without the tag", "POST", alice, []string{"1868a90c.x"}, false},
		{"without a dot", "POST", alice, []string{"guess"}, false},
		{"with an empty tag", "POST", alice, []string{"1868a90c.x."}, false},
		{"with the tag of another", "POST", alice, []string{"1868a90c.x" + other[strings.LastIndex(other, "."):]}, false},
		{"with something after the tag", "POST", alice, []string{tagged + "A"}, false},
		{"with a tag in another case", "POST", alice, []string{"1868a90c.x" + strings.ToUpper(tagged[10:])}, false},
		{"with a line end in the tag", "POST", alice, []string{tagged[:len(tagged)-4] + "\n" + tagged[len(tagged)-4:]}, false},
		{"with a very long tag", "POST", alice, []string{"x." + strings.Repeat("A", 1<<16)}, false},
		{"twice", "POST", alice, []string{tagged, tagged}, false},
		{"hidden behind another", "POST", alice, []string{tagged, "victim"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, "/mcp", nil)
			r.Header.Set("Last-Event-ID", "42")
			if tc.session != nil {
				r.Header[sessionName] = tc.session
			}
			res, got := bound{t, b.g}.do(tc.id, r, http.Header{sessionName: {"1868a90c.x"}}, "{}")
			if (got != nil) != tc.ok {
				t.Fatalf("reached the upstream: %v", got != nil)
			}
			if !tc.ok {
				body, _ := io.ReadAll(res.Body)
				if res.StatusCode != 404 || res.Header.Get("Content-Type") != "application/json" || !bytes.Contains(body, []byte(`"code":-32001`)) {
					t.Errorf("answered %s %s", res.Status, body)
				}
				return
			}
			if tc.session != nil && got.Header.Get(sessionName) != "1868a90c.x" {
				t.Errorf("the upstream got %q", got.Header.Get(sessionName))
			}
			if got.Header.Get("Last-Event-ID") != "42" {
				t.Error("Last-Event-ID is gone")
			}
			if session := res.Header.Get(sessionName); tc.id == alice && session != tagged {
				t.Errorf("the client got %q, want %q", session, tagged)
			}
		})
	}
}

func TestSessionsOfOneTenantAreNoneOfAnother(t *testing.T) {
	tagged := binding(t).open("s")
	other := bound{t, New(Config{BindSessions: Sessions{Tagger: tagger(t, "k"), Tenant: "https://other.example"}})}
	if _, got := other.do(alice, post("/mcp", tagged), nil, ""); got != nil {
		t.Error("the session reached the upstream")
	}
}

func TestUnboundSessionsPassUnchanged(t *testing.T) {
	b := bound{t, New(Config{})}
	res, got := b.do(alice, post("/mcp?sessionId=x", "plain"), http.Header{sessionName: {"plain"}}, "{}")
	if got == nil || got.Header.Get(sessionName) != "plain" || res.Header.Get(sessionName) != "plain" {
		t.Errorf("upstream %v, client %v", got, res.Header)
	}
}

type brokenTagger struct{ Tagger }

func (brokenTagger) Tag([]byte) ([]byte, error) { return nil, errors.New("no key") }

func TestSessionsThatCannotBeBoundDoNotLeave(t *testing.T) {
	broken := New(Config{BindSessions: Sessions{Tagger: brokenTagger{}}})
	for _, tc := range []struct {
		name, session string
		guard         *Guard
	}{
		{"no key", "s", broken},
		{"a blank in it", "a b", binding(t).g},
		{"not ASCII", "é", binding(t).g},
		{"too long", strings.Repeat("x", maxSession+1), binding(t).g},
		{"empty", "", binding(t).g},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, _ := bound{t, tc.guard}.do(alice, post("/mcp", ""), http.Header{sessionName: {tc.session}}, "{}")
			if session, ok := res.Header[sessionName]; ok {
				t.Errorf("the client got %q", session)
			}
		})
	}
}

func TestAKeyThatRotatesKeepsSessions(t *testing.T) {
	b := binding(t)
	tagged := b.open("s")
	raw := New(Config{BindSessions: Sessions{Tagger: tagger(t, "n", "k"), Tenant: "https://mcp.example"}})
	res, got := bound{t, raw}.do(alice, post("/mcp", tagged), http.Header{sessionName: {"s"}}, "{}")
	if got == nil || res.Header.Get(sessionName) != tagged {
		t.Errorf("after rotation the client got %q, want %q", res.Header.Get(sessionName), tagged)
	}
}

func FuzzSessionHeader(f *testing.F) {
	f.Add("s.AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("..")
	g := New(Config{BindSessions: Sessions{Tagger: tagger(f, "k")}})
	f.Fuzz(func(t *testing.T, session string) {
		r := post("/", "")
		r.Header[sessionName] = []string{session}
		if _, ok := g.sessions.admit(r, alice); ok {
			t.Errorf("%q was never handed out", session)
		}
		if !visible(session) {
			return
		}
		h := http.Header{sessionName: {session}}
		g.sessions.tagHeader(h, alice, &sessionHeader{})
		r.Header[sessionName] = h[sessionName]
		if got, ok := g.sessions.admit(r, alice); !ok || got.id != session || r.Header.Get(sessionName) != session {
			t.Errorf("%q came back as %q, %v", session, got.id, ok)
		}
	})
}

func BenchmarkAdmitSession(b *testing.B) {
	g := New(Config{BindSessions: Sessions{Tagger: tagger(b, "k"), Tenant: "https://mcp.example"}})
	h := http.Header{sessionName: {"0123456789abcdef0123456789abcdef"}}
	g.sessions.tagHeader(h, alice, &sessionHeader{})
	tagged := h.Get(sessionName)
	r := post("/", tagged)
	b.ReportAllocs()
	for b.Loop() {
		r.Header[sessionName][0] = tagged
		if _, ok := g.sessions.admit(r, alice); !ok {
			b.Fatal("refused")
		}
	}
}
