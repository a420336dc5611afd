package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// mcp-remote gives clients that only know local servers a server elsewhere. It runs as they run it:
// a process that speaks MCP over its standard input and output and keeps its tokens in a directory.
func TestMCPRemoteSignsInOnceAndComesBack(t *testing.T) {
	t.Parallel()
	npmPackages(t)
	w := newWorld(t)
	for _, tc := range []struct{ name, path, transport string }{
		{"over Streamable HTTP", upstream.StreamablePath, "http-first"},
		{"over HTTP+SSE", upstream.SSEPath, "http-first"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := *w
			w.t = t
			r := &mcpRemote{world: &w, path: tc.path, transport: tc.transport, config: t.TempDir(), port: edge.FreePort(t)}
			if n := r.connect(newPerson(idp.Alice)); n != 1 {
				t.Errorf("the first start opened the browser %d times", n)
			}
			if n := r.connect(nil); n != 0 {
				t.Errorf("the second start opened the browser %d times", n)
			}
			r.spoilAccessToken()
			if n := r.connect(nil); n != 0 {
				t.Errorf("a start with a token that is refused opened the browser %d times: it was not refreshed", n)
			}
		})
	}
}

type mcpRemote struct {
	*world
	path, transport, config string
	port                    int
}

// connect starts the process, calls a tool through it, and ends it. It returns how many addresses it
// asked p to open.
func (r *mcpRemote) connect(p *person) (opened int) {
	t := r.t
	t.Helper()
	callback := fmt.Sprintf("http://localhost:%d/oauth/callback", r.port)
	cmd := r.node(filepath.Join("node_modules", "mcp-remote", "dist", "proxy.js"),
		r.url(r.path), strconv.Itoa(r.port), "--transport", r.transport)
	cmd.Env = append(cmd.Env, "MCP_REMOTE_CONFIG_DIR="+r.config)
	output, input := io.Pipe()
	defer input.Close()
	cmd.Stderr = input
	log := new(edge.Logs)
	watched := make(chan int)
	go func() {
		defer close(watched)
		n := 0
		defer func() { watched <- n }()
		lines := bufio.NewScanner(io.TeeReader(output, log))
		for lines.Scan() {
			address := strings.TrimSpace(lines.Text())
			if !strings.HasPrefix(address, r.edge.URL()+"/oauth2/auth?") {
				continue
			}
			n++
			if p == nil {
				continue
			}
			p.Browser = browser.New(callback)
			if err := r.arrive(p, address); err != nil {
				t.Error(err)
			}
		}
	}()

	client := mcp.NewClient(&mcp.Implementation{Name: "local-client", Version: "1.0.0"}, nil)
	session, err := client.Connect(r.ctx, &mcp.CommandTransport{Command: cmd}, nil)
	if err != nil {
		t.Fatalf("connecting through mcp-remote: %v\n%s", err, log)
	}
	tools, err := session.ListTools(r.ctx, nil)
	if err != nil || !slices.ContainsFunc(tools.Tools, func(tool *mcp.Tool) bool { return tool.Name == "whoami" }) {
		t.Errorf("the tools are %+v, %v\n%s", tools, err, log)
	}
	result, err := session.CallTool(r.ctx, &mcp.CallToolParams{Name: "whoami"})
	if err != nil {
		t.Fatalf("calling whoami: %v\n%s", err, log)
	}
	if content := marshal(t, result.StructuredContent); !strings.Contains(content, idp.Alice.Email) {
		t.Errorf("whoami answered %s", content)
	}
	_ = session.Close() // mcp-remote leaves with a status of its own when its input ends
	_ = input.Close()
	return <-watched
}

// arrive signs in at address and goes where the browser is sent, to the receiver of mcp-remote.
func (r *mcpRemote) arrive(p *person, address string) error {
	landed, err := p.signIn(r.ctx, address)
	if err != nil {
		return fmt.Errorf("signing in: %w", err)
	}
	req, err := http.NewRequestWithContext(r.ctx, http.MethodGet, landed.String(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("arriving at mcp-remote: %w", err.(*url.Error).Err) // without the code
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("mcp-remote answered its callback with %d", resp.StatusCode)
	}
	return nil
}

// spoilAccessToken replaces the access token in the store of mcp-remote by one that nobody issued.
func (r *mcpRemote) spoilAccessToken() {
	t := r.t
	t.Helper()
	spoilt := 0
	err := filepath.WalkDir(r.config, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(entry.Name(), "tokens.json") {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var tokens map[string]any
		if err := json.Unmarshal(body, &tokens); err != nil {
			return err
		}
		tokens["access_token"] = "expired"
		spoilt++
		return os.WriteFile(path, []byte(marshal(t, tokens)), 0o600)
	})
	if err != nil || spoilt != 1 {
		t.Fatalf("%d files of tokens, %v", spoilt, err)
	}
}
