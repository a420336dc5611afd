package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestTheReferenceServer(t *testing.T) {
	t.Parallel()
	w := newEverythingWorld(t, "streams {\n heartbeat 1s\n }")
	for _, part := range []struct {
		name string
		test func(*everythingWorld)
	}{
		{"does over every protocol whatever a server can do", (*everythingWorld).useOverEveryProtocol},
		{"resumes", (*everythingWorld).resume},
		{"serves version 1 of the TypeScript SDK", func(w *everythingWorld) { w.useWithTypeScript("v1") }},
		{"serves version 2 of the TypeScript SDK", func(w *everythingWorld) { w.useWithTypeScript("v2") }},
		{"is killed, which breaks its streams and no others", (*everythingWorld).kill},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(w.in(t)) })
	}
}

// useOverEveryProtocol has the server answer, report progress, log on its own, and ask.
func (w *everythingWorld) useOverEveryProtocol() {
	t := w.t
	type tokens struct{ alice, bob string }
	signIn := func(path string) (t tokens) {
		t.alice, _, _ = w.tokenFor(path, idp.Alice)
		t.bob, _, _ = w.tokenFor(path, idp.Bob)
		return t
	}
	root, rootSSE, apps := signIn("/mcp"), signIn("/sse"), signIn(streamablePrefix+"/mcp")
	for name, transport := range w.protocols() {
		for _, tc := range []struct {
			path, prefix string
			legacy       bool
			tokens
		}{
			{"/mcp", "", false, root},
			{streamablePrefix + "/mcp", streamablePrefix, false, apps},
			{"/sse", "", true, rootSSE},
			{legacyPrefix + "/sse", legacyPrefix, true, apps},
		} {
			t.Run(name+" "+tc.path, func(t *testing.T) {
				w := w.in(t)
				seen := &recorder{next: transport}
				client := w.mustUseEverything(tc.path, tc.alice, tc.legacy, seen)
				if !seen.only(name) {
					t.Error("requests went over another protocol")
				}
				bob := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL(), transport: transport}
				if tc.legacy {
					w.nobodyElseMayPost(transport, tc.path, tc.prefix, tc.alice, tc.bob, bob)
					if err := client.Close(); err != nil {
						t.Errorf("closing: %v", err)
					}
					return
				}
				session := seen.session()
				for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
					if a := bob.inSession(method, tc.path, tc.bob, session); a.Status != http.StatusNotFound {
						t.Errorf("somebody else's %s was answered with %d %s", method, a.Status, a.Body)
					}
				}
				if err := client.Ping(w.ctx, nil); err != nil {
					t.Errorf("afterwards the owner was answered with %v", err)
				}
				if err := client.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
				w.wantSessionUnderItsOwnName(session, seen)
				if a := bob.inSession(http.MethodPost, tc.path, tc.alice, session); a.Status != http.StatusBadRequest {
					t.Errorf("after its end the session's owner was answered with %d %s, not as the server does", a.Status, a.Body)
				}
			})
		}
	}
	edge.Eventually(t, "no stream is left", 5*time.Second, func() bool { return w.edge.Metric("caddy_mcp_auth_streams_open") == 0 })
}

// in is the world for a part of its test.
func (w *everythingWorld) in(t *testing.T) *everythingWorld {
	return &everythingWorld{streamWorld: w.streamWorld.in(t), streamable: w.streamable, legacy: w.legacy}
}

// mustUseEverything connects with the Go SDK and has the server send all that it can.
func (w *everythingWorld) mustUseEverything(path, token string, legacy bool, seen *recorder) *mcpclient.Client {
	w.t.Helper()
	progress, logged, sampled := make(chan float64, 8), make(chan string, 8), make(chan string, 8)
	client, err := mcpclient.Connect(w.ctx, w.url(path), mcpclient.Options{
		Token: &oauth2.Token{AccessToken: token, TokenType: "Bearer"}, LegacySSE: legacy, HTTP: &http.Client{Transport: seen},
		OnProgress: func(p *mcp.ProgressNotificationParams) { progress <- p.Progress },
		Configure: func(o *mcp.ClientOptions) {
			o.LoggingMessageHandler = func(_ context.Context, r *mcp.LoggingMessageRequest) { logged <- fmt.Sprint(r.Params.Data) }
			o.CreateMessageHandler = func(_ context.Context, r *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
				sampled <- r.Params.SystemPrompt
				return &mcp.CreateMessageResult{Content: &mcp.TextContent{Text: "forty-two"}, Model: "none", Role: "assistant"}, nil
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = client.Close() })
	call := func(tool string, args map[string]any, want string) {
		w.t.Helper()
		var text string
		if err := client.Call(w.ctx, tool, args, &text); err != nil || !strings.Contains(text, want) {
			w.t.Errorf("%s answered %q, %v; want %q", tool, text, err, want)
		}
	}
	call("echo", map[string]any{"message": "hello"}, "Echo: hello")
	call("trigger-long-running-operation", map[string]any{"duration": 0.15, "steps": 3}, "Steps: 3")
	for step := 1.0; step <= 3; step++ {
		if got := next(w.t, progress, "progress"); got != step {
			w.t.Errorf("progress %v, want %v", got, step)
		}
	}
	call("trigger-sampling-request", map[string]any{"prompt": "?"}, "forty-two")
	next(w.t, sampled, "question of the server")
	call("toggle-simulated-logging", map[string]any{}, "Started")
	for want := 2; want > 0; want-- { // in whichever order: that it got an answer to its question for roots, and what was asked for
		got := next(w.t, logged, "log message")
		if !strings.HasPrefix(got, "Roots updated") && !strings.Contains(got, "message - SessionId ") {
			w.t.Errorf("the server logged %q", got)
		}
	}
	return client
}

// next waits for what a client is sent.
func next[T any](t *testing.T, from <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(10 * time.Second):
		t.Errorf("no %s arrived", what)
	}
	return got
}

// wantSessionUnderItsOwnName asserts that a session had a tag between edge and client, and none between
// edge and server.
func (w *everythingWorld) wantSessionUnderItsOwnName(session string, seen *recorder) {
	w.t.Helper()
	id, tag, _ := strings.Cut(session, ".")
	if tag == "" {
		w.t.Errorf("the session %q has no tag", session)
	}
	for _, e := range seen.all() {
		if got := e.got.Get("Mcp-Session-Id"); got != "" && got != session {
			w.t.Errorf("the session was %q and then %q", session, got)
		}
	}
	logs := w.streamable.Logs()
	for _, want := range []string{"Session initialized with ID: " + id, "Received session termination request for session " + id} {
		edge.Eventually(w.t, "the server logs: "+want, 5*time.Second, func() bool {
			lines := logs.LinesWith(want)
			return len(lines) == 1 && lines[0] == want
		})
	}
	if n := seen.answered(http.StatusOK, http.MethodDelete, "Mcp-Session-Id"); n != 1 {
		w.t.Errorf("%d sessions were ended, want 1", n)
	}
}

// nobodyElseMayPost opens a session of HTTP+SSE by hand and posts to it as its owner and as somebody else.
func (w *everythingWorld) nobodyElseMayPost(transport http.RoundTripper, path, prefix, alice, bob string, c *oauthClient) {
	w.t.Helper()
	stream := w.ask(transport, http.MethodGet, path, alice)
	stream.expect("event: endpoint")
	endpoint, _ := strings.CutPrefix(next(w.t, stream.lines, "endpoint"), "data: ")
	if !strings.HasPrefix(endpoint, prefix+"/message?sessionId=") || !strings.Contains(endpoint, "&mcp_session_tag=") {
		w.t.Fatalf("the endpoint is %q", endpoint)
	}
	untagged, _, _ := strings.Cut(endpoint, "&")
	for _, tc := range []struct{ name, token, path string }{
		{"somebody else's endpoint", bob, endpoint},
		{"somebody else's endpoint without its tag", bob, untagged},
		{"one's own endpoint without its tag", alice, untagged},
	} {
		if a := c.mcp(tc.path, tc.token); a.Status != http.StatusNotFound {
			w.t.Errorf("%s: %d %s", tc.name, a.Status, a.Body)
		}
	}
	if a := c.mcp(endpoint, alice); a.Status != http.StatusAccepted {
		w.t.Errorf("the owner's message was answered with %d %s", a.Status, a.Body)
	}
	stream.expect("event: message")
	_, id, _ := strings.Cut(untagged, "=")
	if lines := w.legacy.Logs().LinesWith("Client Message from " + id); len(lines) != 1 || lines[0] != "Client Message from "+id {
		w.t.Errorf("the server saw %q, want one message of %s", lines, id)
	}
	stream.leave()
}

func (w *everythingWorld) resume() {
	t := w.t
	for name, transport := range w.protocols() {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			token, _, _ := w.tokenFor(streamablePrefix+"/mcp", idp.Alice)
			seen := &recorder{next: transport}
			lossy := &lossy{next: seen, tool: "trigger-long-running-operation"}
			progress := make(chan float64, 8)
			client, err := mcpclient.Connect(w.ctx, w.url(streamablePrefix+"/mcp"), mcpclient.Options{
				Token:      &oauth2.Token{AccessToken: token, TokenType: "Bearer"},
				HTTP:       &http.Client{Transport: lossy},
				OnProgress: func(p *mcp.ProgressNotificationParams) { progress <- p.Progress },
			})
			if err != nil {
				t.Fatal(err)
			}
			var text string
			if err := client.Call(w.ctx, lossy.tool, map[string]any{"duration": 0.15, "steps": 3}, &text); err != nil || !strings.Contains(text, "Steps: 3") {
				t.Errorf("the call answered %q, %v", text, err)
			}
			for step := 1.0; step <= 3; step++ {
				if got := next(t, progress, "progress"); got != step {
					t.Errorf("progress %v, want %v", got, step)
				}
			}
			if !lossy.lost.Load() || seen.answered(http.StatusOK, http.MethodGet, "Last-Event-Id") != 1 {
				t.Errorf("the answer was lost: %t; the requests were %+v", lossy.lost.Load(), seen.all())
			}
			if err := client.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		})
	}
}

func (w *everythingWorld) kill() {
	t := w.t
	const ended = `caddy_mcp_auth_streams_ended_total{cause="upstream"}`
	before := w.edge.Metric(ended)
	token, c, _ := w.tokenFor(streamablePrefix+"/mcp", idp.Alice)
	var broken, others []*reader
	var theirs []*upstream.Stream
	var protocols []string
	for name, transport := range w.protocols() {
		protocols = append(protocols, name)
		broken = append(broken, w.ask(transport, http.MethodGet, legacyPrefix+"/sse", token))
		others = append(others, w.openAt(transport, http.MethodGet, "/apps/raw/events", token))
		theirs = append(theirs, w.raw.Next(t))
	}
	for _, r := range broken {
		r.expect("event: endpoint")
		next(t, r.lines, "endpoint")
		r.expect(": keep-alive")
	}
	w.legacy.Kill()
	for i, r := range broken {
		select {
		case err := <-r.ended:
			if err == nil {
				t.Errorf("%s: to the client the stream of a killed server ended well", protocols[i])
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the stream of a killed server is still open", protocols[i])
		}
	}
	edge.Eventually(t, "the streams of the others are left", 5*time.Second, func() bool {
		return w.edge.Metric("caddy_mcp_auth_streams_open") == float64(len(others))
	})
	if n := w.edge.Metric(ended) - before; n != 3 {
		t.Errorf("%v streams were ended by the upstream, want 3", n)
	}
	for i, r := range others {
		theirs[i].Write("data: 1\n\n")
		r.expect("data: 1")
	}
	if a := c.do(http.MethodGet, legacyPrefix+"/sse", http.Header{"Authorization": {"Bearer " + token}}, nil); a.Status != http.StatusBadGateway {
		t.Errorf("without the server a client was answered with %d", a.Status)
	}
	w.legacy.Start()
	again := w.ask(w.transport, http.MethodGet, legacyPrefix+"/sse", token)
	again.expect("event: endpoint")
}
