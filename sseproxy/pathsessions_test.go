package sseproxy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Some servers name the session by the last segment of the path alone.
func TestSessionsThatArePartOfThePath(t *testing.T) {
	const session = "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
	streams := NewRegistry()
	config := Config{Streams: streams, BindSessions: Sessions{Tagger: tagger(t, "k"), Tenant: "https://mcp.example"}}
	b := bound{t, New(config)}
	bob := another(func(id *Identity) { id.Subject = "bbbb" })
	ask := func(b bound, id *Identity, method, target string) bool {
		r := httptest.NewRequest(method, target, nil)
		res, up := b.do(id, r, nil, "")
		if up == nil && res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d", target, res.StatusCode)
		}
		return up != nil
	}
	if !ask(b, alice, "POST", "/mcp/messages/"+session) {
		t.Fatal("an address that nobody has announced was refused")
	}
	stream := b.listen("/mcp/sse", nil, "event: endpoint\ndata: http://127.0.0.1:8080/mcp/messages/"+session+"\n\n")
	_, endpoint, _ := strings.Cut(strings.TrimSpace(stream), "data: ")
	reloaded := bound{t, New(config)} // of a later configuration
	for name, b := range map[string]bound{"at once": b, "after a reload": reloaded} {
		for _, tc := range []struct {
			name, method, target string
			id                   *Identity
			ok                   bool
		}{
			{"the announced one", "POST", endpoint, alice, true},
			{"of somebody else", "POST", endpoint, bob, false},
			{"without its tag", "POST", "/mcp/messages/" + session, bob, false},
			{"without its tag, with parameters", "POST", "/mcp/messages/" + session + "?v=1", bob, false},
			{"without its tag, by its owner", "POST", "/mcp/messages/" + session, alice, false},
			{"another session", "POST", "/mcp/messages/ffffffff-4e5f-6789-abcd-ef0123456789", bob, false},
			{"another message path", "POST", "/mcp/other/" + session, alice, true},
			{"the other transport beside it", "POST", "/mcp", alice, true},
			{"a page below it", "GET", "/mcp/messages/help", alice, true},
			{"another resource", "POST", "/mcp/messages/" + session, another(func(id *Identity) { id.Resource = "https://mcp.example/linear" }), true},
		} {
			t.Run(name+", "+tc.name, func(t *testing.T) {
				if got := ask(b, tc.id, tc.method, tc.target); got != tc.ok {
					t.Errorf("reached the upstream: %v", got)
				}
			})
		}
	}
}

func TestEndpointsThatNameNoSessionNeedNoTag(t *testing.T) {
	for _, endpoint := range []string{"/messages", "/", "message", "/messages/?session_id=0a1b2c3d4e5f6789abcd", "/v1/model-context-protocol"} {
		b := binding(t)
		b.listen("/sse", nil, "event: endpoint\ndata: "+endpoint+"\n\n")
		for _, target := range []string{"/messages", "/mcp", "/", "/v1/other"} {
			if _, up := b.do(alice, post(target, ""), nil, ""); up == nil {
				t.Errorf("after %s, %s was refused", endpoint, target)
			}
		}
	}
}

func TestPathSessionsAreBounded(t *testing.T) {
	var p pathSessions
	for i := range 2 * maxPathSessions {
		p.learn("r", fmt.Sprintf("/%d/0123456789abcdef", i))
	}
	if n := len(*p.known.Load()); n != maxPathSessions {
		t.Errorf("%d directories", n)
	}
}
