package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
)

func TestTheBinaryListsAndValidates(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	out, err := exec.CommandContext(w.ctx, edge.Binary(t), "list-modules").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	modules := strings.Fields(string(out))
	for _, want := range []string{"http.handlers.mcp_auth", "mcp_auth"} {
		if !slices.Contains(modules, want) {
			t.Errorf("list-modules lacks %s", want)
		}
	}

	dir := t.TempDir()
	validate := func(site string) (string, error) {
		file := filepath.Join(dir, "Caddyfile")
		if err := os.WriteFile(file, []byte(edge.Caddyfile("http://localhost:8080", dir, site)), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(w.ctx, edge.Binary(t), "validate", "--config", file)
		cmd.Env = []string{"HOME=" + dir, "OIDC_CLIENT_SECRET=" + clientSecret}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	good := w.oidcSite()
	if out, err := validate(good); err != nil { // the provider is down: validating asks nobody
		t.Errorf("a good configuration is refused: %v\n%s", err, out)
	}
	for _, tc := range []struct{ name, old, new, says string }{
		{"nobody may come in", "allow domain example.com", "", "allow"},
		{"a word that does not exist", "allow domain example.com", "alow domain example.com", "alow"},
		{"a secret that is not set", "{env.OIDC_CLIENT_SECRET}", "{env.NOT_SET_ANYWHERE}", "client_secret"},
		{"a provider over plain HTTP", "oidc http://127.0.0.1", "oidc http://idp.example", "http"},
		{"a matcher", "mcp_auth {", "mcp_auth /mcp {", "resource"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := validate(replaceOnce(t, good, tc.old, tc.new))
			if err == nil || !strings.Contains(out, tc.says) {
				t.Errorf("%v: %.1000s", err, out)
			}
			if strings.Contains(out, clientSecret) {
				t.Error("the error contains the client secret")
			}
		})
	}
}

// A Caddy built with the module must not carry the SDK of the demo and the tests.
func TestAFreshBuildHasTheModuleAndNotTheSDK(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	root, err := edge.ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const ours = "github.com/caddy-mcp-auth/caddy-mcp-auth"
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("main.go", `package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "`+ours+`"
)

func main() { caddycmd.Main() }
`)
	version, err := exec.CommandContext(w.ctx, "go", "-C", root, "list", "-m", "-f", "{{.GoVersion}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	write("go.mod", "module example.com/fresh\n\ngo "+strings.TrimSpace(string(version))+"\n\nrequire "+ours+" v0.0.0\n\nreplace "+ours+" => "+root+"\n")
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	write("go.sum", string(sums))
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(w.ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("go", "build", "-mod=mod", "-o", "caddy", ".")
	if !strings.Contains(run(filepath.Join(dir, "caddy"), "list-modules"), "http.handlers.mcp_auth") {
		t.Error("the fresh build lacks http.handlers.mcp_auth")
	}
	for _, list := range []string{run("go", "version", "-m", "caddy"), run("go", "list", "-mod=mod", "-deps", ".")} {
		for _, unwanted := range []string{"modelcontextprotocol", "zitadel", "chromedp", "caddytest"} {
			if strings.Contains(list, unwanted) {
				t.Errorf("the fresh build contains %s", unwanted)
			}
		}
	}
}
