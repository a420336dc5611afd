package e2e

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestClientsOverEveryProtocolAtTheRootAndBehindAPrefix(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, true)
	for name, transport := range w.protocols() {
		for _, path := range []string{upstream.StreamablePath, upstream.SSEPath, "/tools" + upstream.StreamablePath, "/tools" + upstream.SSEPath} {
			t.Run(name+" "+path, func(t *testing.T) {
				w := w.in(t)
				seen := &recorder{next: transport}
				alice := newPerson(idp.Alice)
				alice.SetTransport(w.transport)
				var steps atomic.Int32
				client := w.mustConnect(path, alice, mcpclient.Options{
					LegacySSE: strings.HasSuffix(path, upstream.SSEPath), HTTP: &http.Client{Transport: seen},
					OnProgress: func(*mcp.ProgressNotificationParams) {
						steps.Add(1)
						w.up.Open(t.Name())
					},
				})
				var who upstream.Identity
				if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject || who.Authorization {
					t.Errorf("whoami answered %+v, %v", who, err)
				}
				var text string
				if err := client.Call(w.ctx, "slow", map[string]any{"steps": 3, "gate": t.Name()}, &text); err != nil || text != "3 steps done" || steps.Load() != 3 {
					t.Errorf("slow answered %q, %v, after %d reports", text, err, steps.Load())
				}
				if err := client.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
				if !seen.only(name) {
					t.Error("requests went over another protocol")
				}
			})
		}
	}
	edge.Eventually(t, "no stream is left", 5*time.Second, func() bool { return w.edge.Metric("caddy_mcp_auth_streams_open") == 0 })
}

// A client whose connection breaks in the middle of an answer asks for the rest of it with Last-Event-ID.
func TestClientsResumeOverEveryProtocol(t *testing.T) {
	t.Parallel()
	w := newEverythingWorld(t)
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

// lossy loses the answer to a call of a tool after its first event. The server has sent all of it by then.
type lossy struct {
	next http.RoundTripper
	tool string
	lost atomic.Bool
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := l.next.RoundTrip(r)
	if err == nil && bytes.Contains(body, []byte(`"`+l.tool+`"`)) && !l.lost.Swap(true) {
		resp.Body = &losing{ReadCloser: resp.Body}
	}
	return resp, err
}

type losing struct {
	io.ReadCloser
	first []byte
	read  bool
}

func (l *losing) Read(p []byte) (int, error) {
	if !l.read {
		l.read = true
		all, err := io.ReadAll(l.ReadCloser)
		if err != nil {
			return 0, err
		}
		l.first, _, _ = bytes.Cut(all, []byte("\n\n"))
		l.first = append(l.first, "\n\n"...)
	}
	if len(l.first) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, l.first)
	l.first = l.first[n:]
	return n, nil
}
