package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

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
	program := chromium.RequireTool(w.t, "node")
	dir := npmPackages(w.t)
	home := w.t.TempDir()
	for _, name := range []string{"open", "xdg-open"} {
		if err := os.WriteFile(filepath.Join(home, name), []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(w.ctx, program, append([]string{script}, args...)...)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + home, "PATH=" + home + string(os.PathListSeparator) + os.Getenv("PATH"),
		"BROWSER=" + filepath.Join(home, "xdg-open"), "NO_COLOR=1",
	}
	return cmd
}

// npmPackages finds the installed packages. Without them a test is skipped, in CI it fails.
func npmPackages(t *testing.T) string {
	t.Helper()
	root, err := edge.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "e2e", "npm")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
		const advice = "the npm packages of this test are not installed; run: npm ci --prefix e2e/npm"
		if os.Getenv("CI") == "true" {
			t.Fatal(advice)
		}
		t.Skip(advice)
	}
	return dir
}

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
