package upstream

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
)

// Everything is the official reference server, which is made with the TypeScript SDK: a process of its own,
// which can be killed. It listens on a Unix socket, so that it needs no free port.
type Everything struct {
	t       testing.TB
	npm     string
	mode    string
	socket  string
	logs    *edge.Logs
	process *exec.Cmd
}

// StartEverything runs the program of the package in the directory npm until the test ends. mode is the
// transport, as the program calls it: streamableHttp, at /mcp, or sse, at /sse and /message.
func StartEverything(t testing.TB, npm, mode string) *Everything {
	t.Helper()
	// Not t.TempDir: its path may be too long for the name of a Unix socket.
	dir, err := os.MkdirTemp("", "everything-")
	if err != nil {
		t.Fatal(err)
	}
	e := &Everything{t: t, npm: npm, mode: mode, socket: filepath.Join(dir, "socket"), logs: new(edge.Logs)}
	t.Cleanup(func() {
		e.Kill()
		if t.Failed() {
			t.Logf("log of the server %s:\n%s", mode, e.logs)
		}
		_ = os.RemoveAll(dir)
	})
	e.Start()
	return e
}

// Start runs the server, again after Kill.
func (e *Everything) Start() {
	e.t.Helper()
	_ = os.Remove(e.socket) // which a killed process leaves behind
	cmd := exec.Command(filepath.Join(e.npm, "node_modules", ".bin", "mcp-server-everything"), e.mode)
	cmd.Env = []string{"HOME=" + filepath.Dir(e.socket), "PATH=" + os.Getenv("PATH"), "PORT=" + e.socket}
	cmd.Stdout, cmd.Stderr = e.logs, e.logs
	if err := cmd.Start(); err != nil {
		e.t.Fatalf("starting the server %s: %v", e.mode, err)
	}
	e.process = cmd
	edge.Eventually(e.t, "the server "+e.mode+" listens", 30*time.Second, func() bool {
		// The file is there a moment before somebody listens.
		connection, err := net.Dial("unix", e.socket)
		if err != nil {
			return false
		}
		return connection.Close() == nil
	})
}

// Kill ends the process as the kernel does that is out of memory.
func (e *Everything) Kill() {
	if e.process == nil {
		return
	}
	_ = e.process.Process.Kill()
	_ = e.process.Wait() // the error is that it was killed
	e.process = nil
}

// Addr is what reverse_proxy wants.
func (e *Everything) Addr() string { return "unix/" + e.socket }

// Logs is what the server wrote.
func (e *Everything) Logs() *edge.Logs { return e.logs }
