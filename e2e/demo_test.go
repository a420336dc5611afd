package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// demo is a running `caddy demo`.
type demo struct {
	cmd    *exec.Cmd
	out    *edge.Logs
	errOut *edge.Logs
	exited chan error
}

func startDemo(t *testing.T, home, listen string) *demo {
	t.Helper()
	d := &demo{cmd: exec.Command(edge.Binary(t), "demo", "--listen", listen), out: new(edge.Logs), errOut: new(edge.Logs), exited: make(chan error, 1)}
	d.cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	d.cmd.Stdout, d.cmd.Stderr = d.out, d.errOut
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.exited <- d.cmd.Wait() }()
	t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	edge.Eventually(t, "the demo says how to use it", 20*time.Second, func() bool {
		select {
		case err := <-d.exited:
			t.Fatalf("the demo ended: %v\n%s%s", err, d.out, d.errOut)
		default:
		}
		return strings.Contains(d.out.String(), "Ctrl-C")
	})
	return d
}

// interrupt presses Ctrl-C.
func (d *demo) interrupt(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-d.exited:
		if err != nil {
			t.Errorf("the demo ended with %v\n%s", err, d.errOut)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("the demo was still running 10 s after Ctrl-C\n%s", d.errOut)
	}
}

func TestTheDemoDoesWhatItPrints(t *testing.T) {
	t.Parallel()
	edge.Binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	home := t.TempDir()
	listen := fmt.Sprintf("localhost:%d", edge.FreePort(t))
	d := startDemo(t, home, listen)
	out := d.out.String()
	for _, want := range []string{
		"claude mcp add --transport http demo http://" + listen + "/mcp",
		`code --add-mcp '{"name":"demo","type":"http","url":"http://` + listen + `/mcp"}'`,
		"npx mcp-remote http://" + listen + "/mcp",
		home,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the demo does not print %q:\n%s", want, out)
		}
	}
	if log := d.errOut.String(); log != "" {
		t.Errorf("the demo logs although all is well:\n%s", log)
	}
	field := func(name string) string {
		t.Helper()
		m := regexp.MustCompile(name + ` +(\S+)`).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("the demo prints no %s:\n%s", name, out)
		}
		return m[1]
	}
	somebody := newLocalPerson(field("User"), field("Password"))

	var clients []*mcpclient.Client
	for _, path := range []string{"/mcp", "/sse"} {
		client, err := mcpclient.Connect(ctx, "http://"+listen+path, mcpclient.Options{SignIn: somebody.signIn, LegacySSE: path == "/sse"})
		if err != nil {
			t.Fatalf("%v\n%s", err, d.errOut)
		}
		t.Cleanup(func() { _ = client.Close() })
		var who upstream.Identity
		if err := client.Call(ctx, "whoami", nil, &who); err != nil || who.Email != "demo@example.com" {
			t.Errorf("%s: whoami answered %+v, %v", path, who, err)
		}
		var text string
		if err := client.Call(ctx, "slow_progress", map[string]any{"seconds": 1}, &text); err != nil || text == "" {
			t.Errorf("%s: slow_progress answered %q, %v", path, text, err)
		}
		clients = append(clients, client)
	}

	busy := exec.CommandContext(ctx, edge.Binary(t), "demo", "--listen", listen)
	busy.Env = d.cmd.Env
	if out, err := busy.CombinedOutput(); err == nil || !strings.Contains(string(out), "--listen") {
		t.Errorf("a second demo on the same port: %v\n%s", err, out)
	}

	d.interrupt(t)
	startDemo(t, home, listen)
	again, err := mcpclient.Connect(ctx, "http://"+listen+"/mcp", mcpclient.Options{Token: clients[0].Token()})
	if err != nil {
		t.Fatalf("after a restart of the demo: %v", err)
	}
	defer again.Close()
	if err := again.Call(ctx, "echo", map[string]any{"text": "still here"}, new(string)); err != nil || again.SignIns() != 0 {
		t.Errorf("after a restart of the demo: %v, %d sign-ins", err, again.SignIns())
	}
}

func TestTheDemoListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"0.0.0.0:8080", ":8080x", "example.com:8080", "192.0.2.1:8080"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd := exec.CommandContext(ctx, edge.Binary(t), "demo", "--listen", listen)
		cmd.Env = []string{"HOME=" + t.TempDir()}
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), "--listen") {
			t.Errorf("--listen %s: %v\n%s", listen, err, out)
		}
	}
}

// The demo has a well-known user and no TLS, so nobody else may reach it; on this computer it answers
// by every name of it.
func TestTheDemoAnswersOnLoopbackAndNowhereElse(t *testing.T) {
	t.Parallel()
	port := edge.FreePort(t)
	startDemo(t, t.TempDir(), fmt.Sprintf("localhost:%d", port))
	for _, host := range []string{"localhost", "127.0.0.1"} {
		response, err := http.Get(fmt.Sprintf("http://%s:%d/mcp", host, port))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("by %s: %s, want 401", host, response.Status)
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if !ok || network.IP.IsLoopback() || network.IP.IsLinkLocalUnicast() {
			continue
		}
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(network.IP.String(), strconv.Itoa(port)), time.Second)
		if err == nil {
			conn.Close()
			t.Errorf("the demo listens on %s", network.IP)
		}
	}
}
