package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/chromium"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
)

// nodeClient runs a script of the directory npm as a client, with p at the browser, and decodes what
// it returns into result.
func (w *world) nodeClient(p *person, script string, config map[string]any, result any) {
	w.t.Helper()
	cmd := w.node(script, marshal(w.t, config))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var said struct {
			Open, Error string
			Result      json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			continue // what a library prints
		}
		switch {
		case said.Error != "":
			w.t.Fatalf("%s: %s\n%s", script, said.Error, &stderr)
		case said.Result != nil:
			if err := json.Unmarshal(said.Result, result); err != nil {
				w.t.Fatalf("%s returned %s: %v", script, said.Result, err)
			}
			return
		case said.Open != "":
			landed, err := p.signIn(w.ctx, said.Open)
			if err != nil {
				w.t.Fatalf("%s: signing in: %v", script, err)
			}
			if _, err := stdin.Write([]byte(marshal(w.t, map[string]string{"landed": landed.String()}) + "\n")); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.t.Fatalf("%s ended without a result: %v\n%s", script, lines.Err(), &stderr)
}

// node prepares a run of a script below the directory npm. It gets an environment of its own, in
// which no browser can be opened on somebody's screen.
func (w *world) node(script string, args ...string) *exec.Cmd {
	w.t.Helper()
	dir := npmPackages(w.t)
	home := w.t.TempDir()
	for _, name := range []string{"open", "xdg-open"} {
		if err := os.WriteFile(filepath.Join(home, name), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(w.ctx, "node", append([]string{script}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + home, "PATH=" + home + string(os.PathListSeparator) + os.Getenv("PATH"),
		"BROWSER=" + filepath.Join(home, "xdg-open"), "NO_COLOR=1",
		"NODE_EXTRA_CA_CERTS=" + w.edge.RootCertificate(),
	}
	return cmd
}

// npmPackages finds the packages of the directory npm, and installs them if they are not there yet.
// Where that cannot be done a test is skipped, in CI it fails. To be called before a test's time runs.
func npmPackages(t *testing.T) (dir string) {
	t.Helper()
	chromium.RequireTool(t, "node")
	chromium.RequireTool(t, "npm")
	dir, err := installPackages()
	switch {
	case err == nil:
		return dir
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

var installPackages = sync.OnceValues(func() (dir string, err error) {
	root, err := edge.ModuleRoot()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(root, "e2e", "npm")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err == nil {
		return dir, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("installing the packages of %s with npm ci: %w\n%s", dir, err, out)
	}
	return dir, nil
})

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func unmarshal(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%v: %.300s", err, b)
	}
}
