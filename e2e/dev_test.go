package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// command is a running `caddy mcp-auth`.
type command struct {
	cmd         *exec.Cmd
	out, errOut *edge.Logs
	exited      chan error
}

func startCommand(t *testing.T, env []string, args ...string) *command {
	t.Helper()
	c := &command{cmd: exec.Command(edge.Binary(t), append([]string{"mcp-auth"}, args...)...), out: new(edge.Logs), errOut: new(edge.Logs), exited: make(chan error, 1)}
	c.cmd.Env = append([]string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}, env...)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.errOut
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.exited <- c.cmd.Wait() }()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the command wrote:\n%s%s", c.out, c.errOut)
		}
	})
	edge.Eventually(t, "the command says how to connect", 20*time.Second, func() bool {
		select {
		case err := <-c.exited:
			t.Fatalf("the command ended: %v\n%s%s", err, c.out, c.errOut)
		default:
		}
		return strings.Contains(c.out.String(), "Ctrl-C")
	})
	return c
}

func TestOneCommandConnectsAClientWithNothingSetUp(t *testing.T) {
	t.Parallel()
	edge.Binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	up := upstream.Start(t)
	address := fmt.Sprintf("localhost:%d", edge.FreePort(t))
	c := startCommand(t, nil, "--from", address, "--to", up.Addr(), "--access-log")
	for _, want := range []string{"DEVELOPMENT MODE", "claude mcp add --transport http tools http://" + address + "/mcp"} {
		if !strings.Contains(c.out.String(), want) {
			t.Errorf("the command does not print %q:\n%s", want, c.out)
		}
	}
	if len(c.errOut.LinesWith("DEVELOPMENT MODE")) != 1 {
		t.Errorf("the log does not warn once:\n%s", c.errOut)
	}

	for _, path := range []string{upstream.StreamablePath, upstream.SSEPath} {
		// Nobody presses anything: the browser is only sent along.
		somebody := newLocalPerson("", "")
		client, err := mcpclient.Connect(ctx, "http://"+address+path, mcpclient.Options{SignIn: somebody.signIn, LegacySSE: path == upstream.SSEPath})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		t.Cleanup(func() { _ = client.Close() })
		if len(somebody.seen) != 1 {
			t.Errorf("%s: the browser saw %d pages, want none but the client's own", path, len(somebody.seen))
		}
		var who upstream.Identity
		if err := client.Call(ctx, "whoami", nil, &who); err != nil || who.Email != "dev@example.com" || who.User == "" || who.Authorization {
			t.Errorf("%s: whoami answered %+v, %v", path, who, err)
		}
	}
	edge.Eventually(t, "the access log has the calls", 10*time.Second, func() bool { return len(c.errOut.LinesWith("/mcp")) > 0 })

	busy := exec.CommandContext(ctx, edge.Binary(t), "mcp-auth", "--from", address, "--to", up.Addr())
	busy.Env = c.cmd.Env
	if out, err := busy.CombinedOutput(); err == nil || !strings.Contains(string(out), "in use") || !strings.Contains(string(out), "--from") {
		t.Errorf("a second one on the same port: %v\n%s", err, out)
	}
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.exited:
		if err != nil {
			t.Errorf("after Ctrl-C: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("still running 10 s after Ctrl-C")
	}
}

// A website can have its visitors' browsers send requests to this computer, under its own name or
// with a link, and a tunnel can bring strangers.
func TestDevelopmentModeAnswersItsOwnerOnly(t *testing.T) {
	t.Parallel()
	edge.Binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	up := upstream.Start(t)
	port := edge.FreePort(t)
	startCommand(t, nil, "--from", fmt.Sprintf("localhost:%d", port), "--to", up.Addr())
	url := fmt.Sprintf("http://localhost:%d", port)
	for _, tc := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"itself", func(*http.Request) {}, http.StatusUnauthorized},
		{"another host", func(r *http.Request) { r.Host = fmt.Sprintf("evil.example:%d", port) }, http.StatusForbidden},
		{"a tunnel", func(r *http.Request) { r.Header.Set("X-Forwarded-For", "127.0.0.1") }, http.StatusForbidden},
	} {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+upstream.StreamablePath, nil)
		if err != nil {
			t.Fatal(err)
		}
		tc.change(r)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.want || resp.Header.Get("Mcp-Auth-Mode") != "dev" {
			t.Errorf("%s: %s, mode %q, want %d", tc.name, resp.Status, resp.Header.Get("Mcp-Auth-Mode"), tc.want)
		}
	}

	// A link on a website leads to a page, and the page is not enough.
	for _, site := range []string{"https://evil.example/", fmt.Sprintf("http://localhost:%d/", port+1)} {
		var page *browser.Page
		_, err := mcpclient.Connect(ctx, url+upstream.StreamablePath, mcpclient.Options{
			SignIn: func(ctx context.Context, address string) (*neturl.URL, error) {
				var err error
				if page, err = newLocalPerson("", "").Follow(ctx, site, address); err != nil {
					return nil, err
				}
				return nil, errors.New("the link was followed")
			},
		})
		if err == nil || page == nil || !atConsent(page) {
			t.Errorf("a link at %s led to %+v, %v", site, page, err)
		}
	}
}

// A site that somebody opened to the network by mistake still lets nobody else in.
func TestDevelopmentModeRefusesOtherInterfaces(t *testing.T) {
	t.Parallel()
	outside := outsideAddress(t)
	w := prepareWorld(t)
	w.edge = edge.Start(t, edge.Config{Site: "\tbind " + outside + "\n\tmcp_auth {\n\t\tdev\n\t}\n\treverse_proxy " + w.up.Addr() + "\n"})
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(w.edge.URL(), "http://"))
	r, err := http.NewRequestWithContext(w.ctx, http.MethodGet, "http://"+net.JoinHostPort(outside, port)+"/oauth2/auth", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "localhost:" + port
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get("Mcp-Auth-Mode") != "dev" {
		t.Errorf("by %s: %s", outside, resp.Status)
	}
	before := len(w.edge.Logs().LinesWith("DEVELOPMENT MODE"))
	w.edge.Reload("\tmcp_auth {\n\t\tdev\n\t}\n\treverse_proxy " + w.up.Addr() + "\n")
	if after := len(w.edge.Logs().LinesWith("DEVELOPMENT MODE")); before == 0 || after != before+1 {
		t.Errorf("the log warned %d times at the start and %d times after a reload", before, after)
	}
}

// outsideAddress is an address of this computer that others can reach.
func outsideAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && !network.IP.IsLoopback() && !network.IP.IsLinkLocalUnicast() {
			return network.IP.String()
		}
	}
	t.Skip("this computer has no address but its own")
	return ""
}

func TestOneCommandSignsPeopleInAtAProvider(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("localhost:%d", edge.FreePort(t))
	w.idp.AddClient("edge", clientSecret, "http://"+address+"/oauth2/callback")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(clientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startCommand(t, nil, "--from", address, "--to", w.up.Addr(), "--oidc", w.idp.Issuer(), "--client-id", "edge",
		"--client-secret-file", secret, "--allow-domain", "example.com", "--resource", upstream.StreamablePath, "--verbose")
	alice := newPerson(idp.Alice)
	client, err := mcpclient.Connect(w.ctx, "http://"+address+upstream.StreamablePath, mcpclient.Options{SignIn: alice.signIn})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.Email != idp.Alice.Email {
		t.Errorf("whoami answered %+v, %v", who, err)
	}
	if !strings.Contains(c.out.String(), "http://"+address+"/oauth2/callback") {
		t.Errorf("the command does not say which redirect URL to register:\n%s", c.out)
	}
	if strings.Contains(c.errOut.String()+c.out.String(), clientSecret) {
		t.Error("the command wrote the client secret")
	}
}
