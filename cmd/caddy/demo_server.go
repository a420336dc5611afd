package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// demoIdentity is what the MCP server knows of the caller: what mcp_auth tells it in headers.
type demoIdentity struct {
	User  string `json:"user" jsonschema:"the subject of the signed-in user"`
	Email string `json:"email" jsonschema:"the user's e-mail address"`
}

type demoText struct {
	Text string `json:"text" jsonschema:"what to say"`
}

type demoSteps struct {
	Seconds int `json:"seconds" jsonschema:"how long to work, one progress report each second, at most 60"`
}

// startDemoServer serves MCP on a loopback port of its own, without any authorization, and returns
// host:port: the server that the edge protects.
func startDemoServer() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listening as the demo's MCP server: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(newDemoMCP, nil))
	mux.Handle("/sse", mcp.NewSSEHandler(newDemoMCP, nil)) // messages are posted to /sse as well
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(ln) }()
	return ln.Addr().String(), nil
}

// newDemoMCP makes a server for the session that opened opens. The legacy transport shows tools no
// headers but those.
func newDemoMCP(opened *http.Request) *mcp.Server {
	connected := opened.Header.Clone()
	server := mcp.NewServer(&mcp.Implementation{Name: "demo", Title: "Demo tools", Version: "1.0.0"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami", Description: "Tells who is signed in."},
		func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, demoIdentity, error) {
			h := connected
			if req.Extra != nil && req.Extra.Header != nil {
				h = req.Extra.Header
			}
			return nil, demoIdentity{User: h.Get("X-Forwarded-User"), Email: h.Get("X-Forwarded-Email")}, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "echo", Description: "Says what you say."},
		func(_ context.Context, _ *mcp.CallToolRequest, in demoText) (*mcp.CallToolResult, any, error) {
			return demoAnswer(in.Text), nil, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "slow_progress", Description: "Works for some seconds and reports its progress."},
		slowProgress)
	return server
}

func slowProgress(ctx context.Context, req *mcp.CallToolRequest, in demoSteps) (*mcp.CallToolResult, any, error) {
	steps := min(max(in.Seconds, 1), 60)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for done := 1; done <= steps; done++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		token := req.Params.GetProgressToken()
		if token == nil {
			continue // the client did not ask for progress
		}
		err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: token, Progress: float64(done), Total: float64(steps),
			Message: fmt.Sprintf("second %d of %d", done, steps),
		})
		if err != nil {
			return nil, nil, fmt.Errorf("reporting progress: %w", err)
		}
	}
	return demoAnswer(fmt.Sprintf("Worked for %d seconds.", steps)), nil, nil
}

func demoAnswer(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}
