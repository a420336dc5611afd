package sseproxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// Whether a session exists must not show: what is somebody else's, what never was and what lost its tag are
// answered alike to the byte, whatever is asked of it (SE-01 to SE-03).
func TestAForeignSessionLooksLikeOneThatNeverWas(t *testing.T) {
	b := binding(t)
	tagged := b.open("1868a90c")
	bob := another(func(id *Identity) { id.Subject = "bbbb" })
	stream := b.listen("/sse", nil, "event: endpoint\ndata: /messages?sessionId=mine\n\n")
	tag := stream[strings.Index(stream, tagParameter):strings.Index(stream, "\n\n")]
	answers := make(map[string]*httptest.ResponseRecorder)
	for _, method := range []string{"POST", "GET", "DELETE"} {
		for name, r := range map[string]*http.Request{
			"somebody else's":       httptest.NewRequest(method, "/mcp", nil),
			"one that never was":    httptest.NewRequest(method, "/mcp", nil),
			"one that is guessed":   httptest.NewRequest(method, "/mcp", nil),
			"one without its tag":   httptest.NewRequest(method, "/mcp", nil),
			"the other transport's": httptest.NewRequest(method, "/messages?sessionId=mine&"+tag, nil),
			"one that is no URL's":  httptest.NewRequest(method, "/messages?sessionId=never&"+tag, nil),
		} {
			r.Header = http.Header{"Accept": {"application/json, text/event-stream"}, "Last-Event-Id": {"42"}, "Content-Type": {"application/json"}}
			switch name {
			case "somebody else's":
				r.Header[sessionName] = []string{tagged}
			case "one that never was":
				r.Header[sessionName] = []string{"ffffffff." + tagged[strings.IndexByte(tagged, '.')+1:]}
			case "one that is guessed":
				r.Header[sessionName] = []string{"ffffffff.AAAAAAAAAAAAAAAAAAAAAA"}
			case "one without its tag":
				r.Header[sessionName] = []string{"1868a90c"}
			}
			rec := httptest.NewRecorder()
			err := b.g.Serve(rec, r, bob, handlerFunc(func(http.ResponseWriter, *http.Request) error {
				t.Errorf("%s, %s: the upstream was asked", name, method)
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			answers[name+", "+method] = rec
		}
	}
	want := answers["one that never was, POST"]
	if want.Code != http.StatusNotFound {
		t.Fatalf("status %d", want.Code)
	}
	for name, got := range answers {
		if got.Code != want.Code || got.Body.String() != want.Body.String() || !reflect.DeepEqual(got.Header(), want.Header()) {
			t.Errorf("%s: %d %v %q, not %d %v %q", name, got.Code, got.Header(), got.Body, want.Code, want.Header(), want.Body)
		}
	}
}

// MCP 2026-07-28 has no sessions; its messages and answers pass as they are.
func TestStatelessTrafficIsLeftAlone(t *testing.T) {
	b := binding(t)
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}`
	sent := http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {"2026-07-28"},
		"Mcp-Method": {"tools/call"}, "Mcp-Name": {"=?base64?eA==?="}, "Mcp-Param-Region": {"eu west"}, "Accept-Encoding": {"gzip"},
	}
	for _, contentType := range []string{"application/json", "text/event-stream"} {
		for _, answer := range []string{
			`{"jsonrpc":"2.0","id":1,"result":{}}`,
			"event: endpoint\ndata: /messages?sessionId=x\n\n", // means nothing in the answer to a POST
		} {
			r := httptest.NewRequest("POST", "/mcp?sessions=all", strings.NewReader(body))
			r.Header = sent.Clone()
			if refusal := b.g.CheckMessage(r); refusal != nil {
				t.Fatal(refusal)
			}
			rec := httptest.NewRecorder()
			err := b.g.Serve(rec, r, alice, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				got, _ := io.ReadAll(r.Body)
				if string(got) != body || r.URL.RawQuery != "sessions=all" {
					t.Errorf("the upstream got %q, query %q", got, r.URL.RawQuery)
				}
				for name, values := range sent {
					if !reflect.DeepEqual(r.Header[name], values) {
						t.Errorf("the upstream got %s: %q", name, r.Header[name])
					}
				}
				w.Header().Set("Content-Type", contentType)
				_, err := io.WriteString(w, answer)
				return err
			}))
			if err != nil || rec.Body.String() != answer || rec.Header().Get(sessionName) != "" {
				t.Errorf("%s: the client got %q, %v, %v", contentType, rec.Body, rec.Header(), err)
			}
		}
	}
}

// No answer is shared: what the upstream says to one person reaches that person, however many ask the same
// at the same time (SE-08).
func TestAnswersOfTwoPeopleAreNeverCrossed(t *testing.T) {
	g := New(Config{Streams: NewRegistry(), BindSessions: Sessions{Tagger: tagger(t, "k")}})
	var people sync.WaitGroup
	for i := range 32 {
		people.Go(func() {
			name := fmt.Sprintf("person-%d", i)
			id := another(func(id *Identity) { id.Subject = name })
			for j := range 50 {
				contentType := []string{"application/json", "text/event-stream"}[j%2]
				rec := httptest.NewRecorder()
				err := g.Serve(rec, httptest.NewRequest("POST", "/mcp", nil), id, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
					w.Header().Set("Content-Type", contentType)
					w.Header().Set(sessionName, name)
					_, err := io.WriteString(w, "data: "+r.Header.Get("X-Forwarded-User")+"\n\n")
					return err
				}))
				if err != nil || rec.Body.String() != "data: "+name+"\n\n" || !strings.HasPrefix(rec.Header().Get(sessionName), name+".") {
					t.Errorf("%s got %q, %v, %v", name, rec.Body, rec.Header(), err)
				}
			}
		})
	}
	people.Wait()
}
