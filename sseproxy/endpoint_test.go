package sseproxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// listen opens a stream of the HTTP+SSE transport whose upstream writes chunks, and returns what the client reads.
func (b bound) listen(target string, header http.Header, chunks ...string) string {
	b.t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set("Accept", "text/event-stream")
	rec := httptest.NewRecorder()
	err := b.g.Serve(rec, r, alice, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("Accept-Encoding") != "identity" {
			b.t.Error("the upstream may compress the stream")
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for name, values := range header {
			w.Header()[name] = values
		}
		for _, chunk := range chunks {
			if n, err := io.WriteString(w, chunk); err != nil || n != len(chunk) {
				b.t.Errorf("wrote %d of %d, %v", n, len(chunk), err)
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				b.t.Error(err)
			}
		}
		return nil
	}))
	if err != nil {
		b.t.Fatal(err)
	}
	if got := rec.Header().Get("Content-Length"); got != "" {
		b.t.Errorf("the length %s is no longer true", got)
	}
	return rec.Body.String()
}

func TestEndpointGetsATag(t *testing.T) {
	tail := "event: message\ndata: {\"endpoint\":1}\n\nevent: endpoint\ndata: /second?sessionId=2\n\n"
	for _, tc := range []struct{ name, stream, uri string }{
		{"an absolute path", "event: endpoint\ndata: /messages/?session_id=abc\n\n", "/messages/?session_id=abc"},
		{"a relative reference", "event: endpoint\ndata: message?sessionId=1\n\n", "message?sessionId=1"},
		{"a query alone", "event: endpoint\ndata: ?sessionId=1\n\n", "?sessionId=1"},
		{"an absolute URL", "event: endpoint\ndata: https://mcp.example/m?sessionid=1\n\n", "https://mcp.example/m?sessionid=1"},
		{"an ID in the path", "event: endpoint\ndata: /messages/abc\n\n", "/messages/abc"},
		{"a fragment", "event: endpoint\ndata: /m?sessionId=1#x\n\n", "/m?sessionId=1#x"},
		{"an empty query", "event: endpoint\ndata: /m/abc?\n\n", "/m/abc?"},
		{"encoded characters", "event: endpoint\ndata: /m?sessionId=a%2Bb+c%20d\n\n", "/m?sessionId=a%2Bb+c%20d"},
		{"no blank after the colon", "event:endpoint\ndata:/m?sessionId=1\n\n", "/m?sessionId=1"},
		{"blanks at the end", "event: endpoint\ndata: /m?sessionId=1 \t\n\n", "/m?sessionId=1"},
		{"data first, and an ID", "data: /m?sessionId=1\nid: 7\nevent: endpoint\n\n", "/m?sessionId=1"},
		{"CRLF", "event: endpoint\r\ndata: /m?sessionId=1\r\n\r\n", "/m?sessionId=1"},
		{"CR", "event: endpoint\rdata: /m?sessionId=1\r\r", "/m?sessionId=1"},
		{"a byte order mark", "\ufeffevent: endpoint\ndata: /m?sessionId=1\n\n", "/m?sessionId=1"},
		{"comments before it", ": hello\n\n:\nevent: endpoint\n: within\ndata: /m?sessionId=1\n\n", "/m?sessionId=1"},
		{"a retry before it", "retry: 5\n\nevent: endpoint\ndata: /m?sessionId=1\n\n", "/m?sessionId=1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := binding(t)
			got := b.listen("/github/sse", http.Header{"Content-Length": {"9"}}, tc.stream+tail)
			before, after, _ := strings.Cut(tc.stream, tc.uri)
			if !strings.HasPrefix(got, before) || !strings.HasSuffix(got, after+tail) {
				t.Fatalf("got %q", got)
			}
			uri := got[len(before) : len(got)-len(after+tail)]
			if bytewise := b.listen("/github/sse", nil, strings.Split(tc.stream+tail, "")...); bytewise != got {
				t.Errorf("byte by byte %q, at once %q", bytewise, got)
			}
			base, _ := url.Parse("https://mcp.example/github/sse")
			target, err := base.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := base.Parse(tc.uri)
			if target.Path != want.Path || target.Fragment != want.Fragment || !strings.HasPrefix(target.RawQuery, want.RawQuery) {
				t.Errorf("%q became %q", tc.uri, uri)
			}
			target.Fragment = "" // it stays with the client
			_, up := b.do(alice, post(target.String(), ""), nil, "")
			if up == nil {
				t.Fatal("the message was refused")
			}
			if up.URL.RawQuery != want.RawQuery || up.RequestURI != up.URL.RequestURI() {
				t.Errorf("the upstream got %q, %q, want the query %q", up.URL.RawQuery, up.RequestURI, want.RawQuery)
			}
			bob := another(func(id *Identity) { id.Subject = "bbbb" })
			if res, up := b.do(bob, post(target.String(), ""), nil, ""); up != nil || res.StatusCode != 404 {
				t.Error("another user's message reached the upstream")
			}
		})
	}
}

func TestStreamsThatBeginOtherwisePassUnchanged(t *testing.T) {
	for _, tc := range []struct {
		name, stream string
		header       http.Header
	}{
		{"a message first", "data: 1\n\nevent: endpoint\ndata: /m?sessionId=1\n\n", nil},
		{"nothing", "", nil},
		{"comments alone", ": a\n: b\n\n", nil},
		{"an event that stays unfinished", "event: endpoint\ndata: /m?sess", nil},
		{"an endpoint of two lines", "event: endpoint\ndata: /m\ndata: x\n\n", nil},
		{"an endpoint without data", "event: endpoint\n\ndata: x\n\n", nil},
		{"a first event beyond the bound", "event: endpoint\ndata: /m?sessionId=" + strings.Repeat("x", maxFirstEvent) + "\n\n", nil},
		{"an opaque URI", "event: endpoint\ndata: mailto:x\n\n", nil},
		{"no URI", "event: endpoint\ndata: http://[x\n\n", nil},
		{"a tag of somebody's", "event: endpoint\ndata: /m?mcp_session_tag=x\n\n", nil},
		{"a compressed stream", "event: endpoint\ndata: /m?sessionId=1\n\n", http.Header{"Content-Encoding": {"br"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := binding(t)
			if got := b.listen("/sse", tc.header, tc.stream); got != tc.stream {
				t.Errorf("got %.200q, want %.200q", got, tc.stream)
			}
			if got := b.listen("/sse", tc.header, strings.Split(tc.stream, "")...); got != tc.stream {
				t.Errorf("byte by byte %.200q, want %.200q", got, tc.stream)
			}
		})
	}
}

func TestCommentsAreNotHeldBack(t *testing.T) {
	e := &endpointEvent{rewrite: func(uri string) (string, bool) { return uri + "!", true }}
	var out bytes.Buffer
	for _, step := range []struct{ in, want string }{
		{": hello\n", ": hello\n"}, {"\n", "\n"}, {"event: endpoint\n", ""}, {"data: /x\n", ""}, {"\nrest", "event: endpoint\ndata: /x!\n\nrest"},
	} {
		if got := string(e.feed([]byte(step.in))); got != step.want {
			t.Errorf("%q let %q pass, want %q", step.in, got, step.want)
		}
	}
	if !e.done || out.Len() != 0 {
		t.Error("the search goes on")
	}
}

func TestMessagesWithoutATag(t *testing.T) {
	b := binding(t)
	stream := b.listen("/sse", nil, "event: endpoint\ndata: /messages?sessionId=mine\n\n")
	tag := stream[strings.Index(stream, tagParameter):strings.Index(stream, "\n\n")]
	for _, tc := range []struct {
		name, method, target string
		ok                   bool
	}{
		{"the announced one", "POST", "/messages?sessionId=mine&" + tag, true},
		{"with the tag in front", "POST", "/messages?" + tag + "&sessionId=mine", true},
		{"below a prefix that a proxy took away", "POST", "/github/messages?sessionId=mine&" + tag, true},
		{"no session in it", "POST", "/mcp?v=1", true},
		{"no query", "POST", "/mcp", true},
		{"a GET", "GET", "/sse?sessionId=x", true},
		{"no tag", "POST", "/messages?sessionId=mine", false},
		{"no tag, as PUT", "PUT", "/messages?sessionId=mine", false},
		{"no tag, in another spelling", "POST", "/messages?session_id=victim", false},
		{"no tag, in another case", "POST", "/messages?SESSIONID=victim", false},
		{"no tag, encoded", "POST", "/messages?session%49d=victim", false},
		{"no tag, as an array", "POST", "/messages?sessionId[]=victim", false},
		{"no tag, behind a semicolon", "POST", "/messages?a=b;sessionId=victim", false},
		{"another session", "POST", "/messages?sessionId=victim&" + tag, false},
		{"a second session", "POST", "/messages?sessionId=mine&sessionId=victim&" + tag, false},
		{"a second tag", "POST", "/messages?sessionId=mine&" + tag + "&" + tag, false},
		{"another endpoint", "POST", "/other?sessionId=mine&" + tag, false},
		{"an empty tag", "POST", "/messages?sessionId=mine&" + tagParameter + "=", false},
		{"a wrong tag", "POST", "/messages?sessionId=mine&" + tagParameter + "=AAAAAAAAAAAAAAAAAAAAAA", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(tc.method, tc.target, nil)
			res, up := bound{t, b.g}.do(alice, r, nil, "")
			if (up != nil) != tc.ok || !tc.ok && res.StatusCode != http.StatusNotFound {
				t.Fatalf("answered %s", res.Status)
			}
			if tc.ok && strings.Contains(up.URL.RawQuery, tagParameter) {
				t.Errorf("the upstream got %q", up.URL.RawQuery)
			}
		})
	}
}

// Some servers let a client come back to its stream with the session in the URL. Whoever has found that
// URL in a log must not read along, whatever they say they accept.
func TestNobodyReadsAStreamByItsURLAlone(t *testing.T) {
	b := binding(t)
	stream := b.listen("/sse", nil, "event: endpoint\ndata: /sse?sessionId=mine\n\n")
	tag := stream[strings.Index(stream, tagParameter):strings.Index(stream, "\n\n")]
	events := http.Header{"Content-Type": {"text/event-stream"}}
	for _, tc := range []struct {
		name, target, accept string
		id                   *Identity
		answer               http.Header
		asked, ok            bool // the upstream was; the client got its answer
	}{
		{"a stream that is asked for", "/sse?sessionId=mine", "text/event-stream", alice, events, false, false},
		{"by somebody else", "/sse?sessionId=mine", "text/event-stream", another(func(id *Identity) { id.Subject = "bbbb" }), events, false, false},
		{"with somebody else's tag", "/sse?sessionId=mine&" + tag, "text/event-stream", another(func(id *Identity) { id.Subject = "bbbb" }), events, false, false},
		{"a stream that is not asked for", "/sse?session_id=mine", "*/*", alice, events, true, false},
		{"no stream", "/report?session_id=mine", "*/*", alice, http.Header{"Content-Type": {"text/html"}}, true, true},
		{"with the tag of whoever opened it", "/sse?sessionId=mine&" + tag, "text/event-stream", alice, events, true, true},
		{"without a session", "/sse?v=1", "text/event-stream", alice, events, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", tc.target, nil)
			r.Header.Set("Accept", tc.accept)
			rec := httptest.NewRecorder()
			asked := false
			err := b.g.Serve(rec, r, tc.id, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				asked = true
				for name, values := range tc.answer {
					w.Header()[name] = values
				}
				w.Header().Set("Mcp-Session-Id", "mine")
				_, err := io.WriteString(w, "data: secret\n\n")
				if err != nil && r.Context().Err() == nil {
					t.Error("the upstream goes on")
				}
				return err
			}))
			if err != nil {
				t.Error(err)
			}
			if asked != tc.asked || (rec.Code == http.StatusOK) != tc.ok || strings.Contains(rec.Body.String(), "secret") != tc.ok {
				t.Errorf("asked: %v; answered %d %q", asked, rec.Code, rec.Body)
			}
			if !tc.ok {
				want := httptest.NewRecorder()
				_ = unknownSession(want)
				if rec.Code != want.Code || rec.Body.String() != want.Body.String() || rec.Header().Get("Mcp-Session-Id") != "" {
					t.Errorf("answered %d %q %v, not as an unknown session", rec.Code, rec.Body, rec.Header())
				}
			}
		})
	}
}

// A tag for a header's session is none for a URL.
func TestTagsOfHeadersAndURLsDiffer(t *testing.T) {
	b := binding(t)
	tagged := b.open("x")
	target := "/x?" + tagParameter + "=" + strings.TrimPrefix(tagged, "x.")
	if _, up := b.do(alice, post(target, ""), nil, ""); up != nil {
		t.Error("the tag was accepted")
	}
}

// However the stream is cut, it comes out whole, with at most one URI longer by a tag.
func FuzzEndpointEvent(f *testing.F) {
	f.Add("event: endpoint\ndata: /m?sessionId=1\n\ndata: 2\n\n", uint64(0))
	f.Add(": c\r\n\r\nevent: endpoint\r\ndata: /m\r\n\r\n", ^uint64(0))
	f.Add("\xef\xbb\xbfdata:x\revent:endpoint\r\r", uint64(0x5555))
	f.Add("retry: 1\n\nid: 2\n\n: x\nevent: endpoint\ndata: a\n\n", uint64(0xf0f0))
	const mark = "\x00tag\x00"
	f.Fuzz(func(t *testing.T, stream string, cuts uint64) {
		if strings.Contains(stream, "\x00") {
			return
		}
		run := func(chunks []string) string {
			e := &endpointEvent{rewrite: func(uri string) (string, bool) { return uri + mark, true }}
			var out bytes.Buffer
			for _, chunk := range chunks {
				if e.done {
					out.WriteString(chunk)
					continue
				}
				out.Write(e.feed([]byte(chunk)))
				if len(e.held) > maxFirstEvent+len(chunk) {
					t.Fatalf("%d bytes held", len(e.held))
				}
			}
			out.Write(e.rest())
			return out.String()
		}
		var chunks []string
		for i, begin := 1, 0; i <= len(stream); i++ {
			if i == len(stream) || cuts>>(i%64)&1 == 1 {
				chunks = append(chunks, stream[begin:i])
				begin = i
			}
		}
		whole, cut := run([]string{stream}), run(chunks)
		if whole != cut {
			t.Errorf("at once %q, in %d chunks %q", whole, len(chunks), cut)
		}
		for _, out := range []string{whole, cut} {
			if n := strings.Count(out, mark); n > 1 || strings.ReplaceAll(out, mark, "") != stream {
				t.Errorf("%q became %q", stream, out)
			}
		}
		if n := strings.Count(whole, mark); n == 1 && !strings.Contains(stream, "endpoint") {
			t.Errorf("%q has no endpoint", stream)
		}
	})
}
