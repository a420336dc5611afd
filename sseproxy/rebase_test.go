package sseproxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestStrippedPrefix(t *testing.T) {
	for _, tc := range []struct{ name, requested, forwarded, want string }{
		{"nothing", "/sse", "/sse", ""},
		{"a prefix", "/tools/sse", "/sse", "/tools"},
		{"several segments", "/a/b/sse", "/sse", "/a/b"},
		{"the whole path", "/tools", "/", "/tools"},
		{"the whole path with a slash", "/tools/", "/", "/tools"},
		{"a rewrite to something else", "/tools/sse", "/events", ""},
		{"a rewrite to less than a segment", "/tools/sse", "se", ""},
		{"characters that need escapes", "/a b/sse", "/sse", "/a%20b"},
		{"something that would be a host", "//evil.example/sse", "/sse", ""},
		{"no path", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := strippedPrefix(tc.requested, tc.forwarded); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestRebase(t *testing.T) {
	for _, tc := range []struct{ name, uri, prefix, want string }{
		{"an absolute path", "/messages/?session_id=1", "/tools", "/tools/messages/?session_id=1"},
		{"one that has the prefix", "/tools/messages?session_id=1", "/tools", "/tools/messages?session_id=1"},
		{"one that begins like the prefix", "/toolshed/messages", "/tools", "/tools/toolshed/messages"},
		{"a relative reference", "messages?sessionId=1", "/tools", "messages?sessionId=1"},
		{"a query alone", "?sessionId=1", "/tools", "?sessionId=1"},
		{"the upstream's own address", "http://127.0.0.1:3000/messages?sessionId=1#x", "/tools", "/tools/messages?sessionId=1#x"},
		{"the upstream's own address without a path", "http://127.0.0.1:3000?sessionId=1", "", "/?sessionId=1"},
		{"the edge's address over plain http", "http://mcp.example/tools/messages", "/tools", "/tools/messages"},
		{"an address without a scheme", "//127.0.0.1:3000/messages", "/tools", "/tools/messages"},
		{"an address that hides another", "http://a.example//evil.example/m", "", "/evil.example/m"},
		{"an empty address", "///evil.example/m", "/tools", "/tools/evil.example/m"},
		{"another scheme", "ws://a.example/m", "/tools", "ws://a.example/m"},
		{"no URI", "http://[x", "/tools", "http://[x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := rebase(tc.uri, tc.prefix, "/sse"); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// The bridges that people put before a server of the older transport write its message address in every
// form, knowing of the prefix before them or not. Resolved as a client does, and with the prefix taken off
// again, it must be the address that the server meant.
func TestEveryFormOfAnEndpointLeadsToTheServer(t *testing.T) {
	for _, tc := range []struct{ name, requested, forwarded, prefix, uri, want string }{
		{"Python SDK", "/tools/sse", "/sse", "/tools", "/messages/?session_id=1", "/messages/"},
		{"Python SDK, told of the prefix (root_path)", "/tools/sse", "/sse", "/tools", "/tools/messages/?session_id=1", "/messages/"},
		{"Python SDK, mounted in an application", "/tools/app/sse", "/app/sse", "/tools", "/app/messages/?session_id=1", "/app/messages/"},
		{"TypeScript SDK", "/tools/sse", "/sse", "/tools", "/messages?sessionId=1", "/messages"},
		{"TypeScript SDK, relative", "/tools/sse", "/sse", "/tools", "message?sessionId=1", "/message"},
		{"Go SDK, the stream's own address", "/tools/sse", "/sse", "/tools", "/sse?sessionid=1", "/sse"},
		{"Go SDK, a query alone", "/tools/sse", "/sse", "/tools", "?sessionid=1", "/sse"},
		{"a bridge that names itself", "/tools/sse", "/sse", "/tools", "http://127.0.0.1:8000/messages/?session_id=1", "/messages/"},
		{"a bridge at the end of the prefix", "/tools", "/", "/tools", "/messages/?session_id=1", "/messages/"},
		{"a bridge at the end of the prefix, relative", "/tools", "/", "/tools", "messages?session_id=1", "/messages"},
		{"a bridge at the end of the prefix, below it", "/tools/", "/", "/tools", "messages?session_id=1", "/messages"},
		{"a bridge at the end of the prefix, a query alone", "/tools", "/", "/tools", "?session_id=1", "/"},
		{"a server whose own paths begin like the prefix", "/mcp/mcp/sse", "/mcp/sse", "/mcp", "/mcp/messages?sessionId=1", "/mcp/messages"},
		{"the same, told of the prefix", "/mcp/mcp/sse", "/mcp/sse", "/mcp", "/mcp/mcp/messages?sessionId=1", "/mcp/messages"},
		{"no prefix", "/sse", "/sse", "", "/messages?sessionId=1", "/messages"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := strippedPrefix(tc.requested, tc.forwarded); got != tc.prefix {
				t.Fatalf("the prefix is %q", got)
			}
			base, err := url.Parse("https://mcp.example" + tc.requested)
			if err != nil {
				t.Fatal(err)
			}
			target, err := base.Parse(rebase(tc.uri, tc.prefix, tc.forwarded))
			if err != nil || target.Host != base.Host {
				t.Fatalf("the client goes to %v, %v", target, err)
			}
			path, ok := strings.CutPrefix(target.Path, tc.prefix)
			if path == "" {
				path = "/"
			}
			if !ok || path != tc.want {
				t.Errorf("%q leads to %q of the server, want %q", target.Path, path, tc.want)
			}
		})
	}
}

// What takes the prefix off may stand before the guard or behind it.
func TestEndpointsBehindAPrefix(t *testing.T) {
	for _, tc := range []struct {
		name, target, path, strip string
	}{
		{"taken off behind the guard", "/tools/sse", "", "/tools"},
		{"taken off before the guard", "/sse", "/tools/sse", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := binding(t)
			r := httptest.NewRequest("GET", tc.target, nil)
			r.Header.Set("Accept", "text/event-stream")
			rec := httptest.NewRecorder()
			call := &Call{Identity: *alice, Path: tc.path}
			err := b.g.ServeCall(rec, r, call, handlerFunc(func(w http.ResponseWriter, r *http.Request) error {
				r.URL.Path = strings.TrimPrefix(r.URL.Path, tc.strip)
				w.Header().Set("Content-Type", "text/event-stream")
				_, err := io.WriteString(w, "event: endpoint\ndata: http://127.0.0.1:3000/messages?sessionId=1\n\n")
				return err
			}))
			if err != nil {
				t.Fatal(err)
			}
			_, uri, _ := strings.Cut(strings.TrimSpace(rec.Body.String()), "data: ")
			endpoint, err := url.Parse(uri)
			if err != nil || endpoint.Host != "" || endpoint.Path != "/tools/messages" {
				t.Fatalf("got %q, %v", uri, err)
			}
			if _, up := b.do(alice, post("https://mcp.example"+uri, ""), nil, ""); up == nil {
				t.Error("the message was refused")
			}
		})
	}
}

// Wherever an upstream says that messages go, they go to the edge.
func FuzzRebase(f *testing.F) {
	f.Add("/messages?sessionId=1", "/tools")
	f.Add("http://127.0.0.1:3000//messages#x", "")
	f.Add("//evil.example?x", "/a/b")
	base, err := url.Parse("https://mcp.example/tools/sse")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, uri, requested string) {
		prefix := strippedPrefix(requested+"/sse", "/sse")
		if prefix != "" && (prefix[0] != '/' || strings.HasPrefix(prefix, "//") || strings.HasSuffix(prefix, "/")) {
			t.Fatalf("%q gave the prefix %q", requested, prefix)
		}
		parsed, err := url.Parse(uri)
		if err != nil || parsed.Opaque != "" || parsed.Scheme != "" && parsed.Scheme != "http" && parsed.Scheme != "https" {
			return
		}
		target, err := base.Parse(rebase(uri, prefix, "/sse"))
		if err == nil && target.Host != base.Host && parsed.Host != "" {
			t.Errorf("%q became %q", uri, target)
		}
	})
}
