package e2e

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
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
	w := newStreamWorld(t, true)
	const path = "/tools" + upstream.ResumablePath
	token, _, _ := w.token(idp.Alice)
	for name, transport := range w.protocols() {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			seen := &recorder{next: transport}
			progress := make(chan float64, 8)
			client, err := mcpclient.Connect(w.ctx, w.url(path), mcpclient.Options{
				Token:      &oauth2.Token{AccessToken: token, TokenType: "Bearer"},
				HTTP:       &http.Client{Transport: &lossy{next: seen, tool: "slow", cut: true}},
				OnProgress: func(p *mcp.ProgressNotificationParams) { progress <- p.Progress },
			})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			var text string
			go func() { done <- client.Call(w.ctx, "slow", map[string]any{"steps": 3, "gate": t.Name()}, &text) }()
			id, _, _ := strings.Cut(seen.session(), ".")
			edge.Eventually(t, "the client asks the server for the rest", 10*time.Second, func() bool {
				return slices.ContainsFunc(w.up.Seen(), func(s upstream.Seen) bool {
					return s.Method == http.MethodGet && s.Header.Get("Mcp-Session-Id") == id && s.Header.Get("Last-Event-Id") != ""
				})
			})
			for step := 1.0; step <= 3; step++ {
				if got := next(t, progress, "progress"); got != step {
					t.Errorf("progress %v, want %v", got, step)
				}
				w.up.Open(t.Name())
			}
			if err := <-done; err != nil || text != "3 steps done" {
				t.Errorf("the call ended with %q, %v", text, err)
			}
			if err := client.Close(); err != nil {
				t.Errorf("closing: %v", err)
			}
		})
	}
	edge.Eventually(t, "no stream is left", 5*time.Second, func() bool { return w.edge.Metric("caddy_mcp_auth_streams_open") == 0 })
}

// lossy loses what comes after the first notification in the answer to a call of a tool: what is on the way to
// the client, or, if it cuts, what is not even there yet.
type lossy struct {
	next http.RoundTripper
	tool string
	cut  bool
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
		resp.Body = &losing{ReadCloser: resp.Body, cut: l.cut}
	}
	return resp, err
}

type losing struct {
	io.ReadCloser
	cut bool

	read []byte // that the client has not got yet
	lost bool
}

func (l *losing) Read(p []byte) (int, error) {
	if !l.lost {
		if err := l.lose(); err != nil {
			return 0, err
		}
		l.lost = true
	}
	if len(l.read) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, l.read)
	l.read = l.read[n:]
	return n, nil
}

func (l *losing) lose() error {
	for lines := bufio.NewReader(l.ReadCloser); ; {
		line, err := lines.ReadBytes('\n')
		l.read = append(l.read, line...)
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(line)) > 0 || !bytes.Contains(l.read, []byte("notifications/")) {
			continue
		}
		if l.cut {
			return l.Close()
		}
		_, err = io.Copy(io.Discard, lines)
		return err
	}
}
