package upstream_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestClientAndServerTalkWithoutAnEdgeBetweenThem(t *testing.T) {
	t.Parallel()
	server := upstream.Start(t)
	for _, tc := range []struct {
		name, path string
		legacy     bool
	}{
		{"Streamable HTTP with sessions", upstream.StreamablePath, false},
		{"Streamable HTTP without sessions", upstream.StatelessPath, false},
		{"HTTP+SSE", upstream.SSEPath, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			gate := t.Name()
			var steps atomic.Int32
			client, err := mcpclient.Connect(ctx, server.URL(tc.path), mcpclient.Options{
				LegacySSE: tc.legacy,
				OnProgress: func(*mcp.ProgressNotificationParams) {
					steps.Add(1)
					server.Open(gate)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			var answer string
			if err := client.Call(ctx, "echo", map[string]any{"text": "hello"}, &answer); err != nil || answer != "hello" {
				t.Fatalf("echo answered %q, %v", answer, err)
			}
			var who upstream.Identity
			if err := client.Call(ctx, "whoami", nil, &who); err != nil || who != (upstream.Identity{}) {
				t.Fatalf("whoami answered %+v, %v", who, err)
			}
			if err := client.Call(ctx, "slow", map[string]any{"steps": 3, "gate": gate}, &answer); err != nil || answer != "3 steps done" {
				t.Fatalf("slow answered %q, %v", answer, err)
			}
			if steps.Load() != 3 || client.SignIns() != 0 {
				t.Fatalf("%d progress notifications, %d sign-ins", steps.Load(), client.SignIns())
			}
		})
	}
}
