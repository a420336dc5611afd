package upstream

import (
	"context"
	"fmt"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Identity is what whoami answers: the identity headers the server saw.
type Identity struct {
	User          string `json:"user"`
	Email         string `json:"email"`
	Groups        string `json:"groups"`
	Authorization bool   `json:"authorization" jsonschema:"whether an Authorization header arrived"`
	Cookie        string `json:"cookie"`
}

type echoInput struct {
	Text string `json:"text"`
}

type slowInput struct {
	Steps int    `json:"steps"`
	Gate  string `json:"gate" jsonschema:"the name the test opens once for each step"`
}

// newMCP makes a server for one session. connected are the headers of the request that opened it:
// all that a tool of the legacy transport can see, whose messages reach it without theirs.
func (s *Server) newMCP(connected http.Header) *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "upstream", Version: "1.0.0"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami", Description: "Tells who the server thinks is calling."},
		func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, Identity, error) {
			h := connected
			if req.Extra != nil && req.Extra.Header != nil {
				h = req.Extra.Header
			}
			return nil, identityOf(h), nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "echo", Description: "Answers with its input."},
		func(_ context.Context, _ *mcp.CallToolRequest, in echoInput) (*mcp.CallToolResult, any, error) {
			return text(in.Text), nil, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "slow", Description: "Works step by step and reports progress."}, s.slow)
	return server
}

func identityOf(h http.Header) Identity {
	return Identity{
		User:          h.Get("X-Forwarded-User"),
		Email:         h.Get("X-Forwarded-Email"),
		Groups:        h.Get("X-Forwarded-Groups"),
		Authorization: h.Get("Authorization") != "",
		Cookie:        h.Get("Cookie"),
	}
}

// slow reports each step, then waits until the test opens the gate for the next one.
func (s *Server) slow(ctx context.Context, req *mcp.CallToolRequest, in slowInput) (*mcp.CallToolResult, any, error) {
	for i := 1; i <= in.Steps; i++ {
		err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: req.Params.GetProgressToken(), Progress: float64(i), Total: float64(in.Steps),
		})
		if err != nil {
			return nil, nil, fmt.Errorf("reporting step %d: %w", i, err)
		}
		select {
		case <-s.gate(in.Gate):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	return text(fmt.Sprintf("%d steps done", in.Steps)), nil, nil
}

func text(s string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: s}}}
}
