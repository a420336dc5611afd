// Package redisserver runs a Redis server for tests, as a process of its own that keeps nothing.
package redisserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/chromium"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
)

const startTimeout = 20 * time.Second

// Server is a server on a port of loopback.
type Server struct {
	t       testing.TB
	program string
	port    int
	config  []string
	args    []string
	dir     string
	process *exec.Cmd
	output  *edge.Logs
}

// Start runs redis-server with more lines of configuration until the test ends; with "port 0" it speaks only TLS; without the program the test is skipped.
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	return start(t, append([]string{"save \"\"", "appendonly no", "loglevel warning"}, config...))
}

// StartSentinel runs a Sentinel that watches over main and its replicas, under the name "main".
func StartSentinel(t testing.TB, main *Server) *Server {
	t.Helper()
	return start(t, []string{
		fmt.Sprintf("sentinel monitor main 127.0.0.1 %d 1", main.port),
		"sentinel down-after-milliseconds main 1000", "sentinel failover-timeout main 5000",
	}, "--sentinel")
}

func start(t testing.TB, config []string, args ...string) *Server {
	t.Helper()
	program := chromium.RequireTool(t, "redis-server")
	// Not t.TempDir: what a server writes late would keep it from being removed.
	dir, err := os.MkdirTemp("", "redis-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, program: program, port: edge.FreePort(t), config: config, args: args, dir: dir, output: new(edge.Logs)}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("log of redis-server:\n%s", s.output)
		}
		_ = os.RemoveAll(dir)
	})
	s.Run()
	return s
}

// Addr is the server's host and port.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Port is the server's port.
func (s *Server) Port() int { return s.port }

// Run starts the server again, empty, after Kill.
func (s *Server) Run() {
	s.t.Helper()
	// The configuration is a file, since a password must not be an argument that everybody can read.
	lines := append([]string{"bind 127.0.0.1", "dir " + s.dir}, s.config...)
	if slices.Contains(s.config, "port 0") {
		lines = append(lines, fmt.Sprintf("tls-port %d", s.port))
	} else {
		lines = append(lines, fmt.Sprintf("port %d", s.port))
	}
	file := filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(s.program, append([]string{file}, s.args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, s.output, s.output
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("starting redis-server: %v", err)
	}
	s.process = cmd
	edge.Eventually(s.t, "redis-server listens", startTimeout, func() bool {
		conn, err := net.DialTimeout("tcp", s.Addr(), time.Second)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

// Kill ends the server as a crash does.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
	s.process = nil
}
