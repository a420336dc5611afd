// Package edge builds the project's Caddy once and runs it as a process of its own, as an operator
// does: from a Caddyfile, with its own storage and home, reloaded, restarted and stopped.
package edge

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Binary is the path of the Caddy under test: $E2E_CADDY if set, else ../cmd/caddy, built once for
// all tests; with the race detector if the tests have it.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatalf("building the edge: %v", err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("E2E_CADDY"); path != "" {
		return filepath.Abs(path)
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "mcp-auth-edge-")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "caddy")
	args := []string{"build"}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "-o", binary, "./cmd/caddy")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	builtIn = dir
	return binary, nil
})

var builtIn string

// RemoveBinary deletes what Binary built; for TestMain, after the tests.
func RemoveBinary() {
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
}

// ModuleRoot is the directory of the module under test.
func ModuleRoot() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "caddy", "main.go")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no cmd/caddy in or above %s", wd)
		}
	}
}

var (
	portMu    sync.Mutex
	portsUsed = make(map[int]bool)
)

// FreePort finds a loopback port that no other caller of this process was given.
func FreePort(t testing.TB) int {
	t.Helper()
	portMu.Lock()
	defer portMu.Unlock()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("looking for a free port: %v", err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		_ = ln.Close()
		if !portsUsed[port] {
			portsUsed[port] = true
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// Eventually waits until condition holds, and fails the test when it does not in time.
func Eventually(t testing.TB, what string, within time.Duration, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
