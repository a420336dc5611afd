package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// secret is the key that both the edges and this program seal with, so that tokens need no sign-in.
const secret = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"

type builtBinary struct{ dir, path string }

// buildCaddy builds the binary that both sides of every comparison use.
func buildCaddy(ctx context.Context) (builtBinary, error) {
	dir, err := os.MkdirTemp("", "caddy-mcp-auth-bench-")
	if err != nil {
		return builtBinary{}, err
	}
	binary := builtBinary{dir, filepath.Join(dir, "caddy")}
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "nobadger,nomysql,nopgx", "-o", binary.path, "./cmd/caddy")
	cmd.Dir, cmd.Stderr = "..", os.Stderr
	if err := cmd.Run(); err != nil {
		return binary, fmt.Errorf("building caddy: %w", err)
	}
	return binary, nil
}

// edge is a running Caddy.
type edge struct {
	cmd    *exec.Cmd
	dir    string
	origin string
}

// site is what tells two edges of a comparison apart.
type site struct {
	guard     bool
	refuse    bool // answer everything with 401, as Caddy does by itself
	resources int  // resource lines; 0 protects the whole site
	tls       bool // serve TLS, and with it HTTP/2
}

// startEdge runs Caddy on a free port, in front of upstreams.
func startEdge(ctx context.Context, s *settings, of site, upstreams ...string) (*edge, error) {
	dir, err := os.MkdirTemp("", "caddy-mcp-auth-bench-edge-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if of.tls {
		scheme = "https"
	}
	e := &edge{dir: dir, origin: fmt.Sprintf("%s://localhost:%d", scheme, port)}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(e.caddyfile(of, upstreams)), 0o600); err != nil {
		return nil, err
	}
	args := []string{s.caddy, "run", "--adapter", "caddyfile", "--config", file}
	if taskset, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		args = append([]string{taskset, "-c", "0"}, args...)
	}
	e.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	e.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "BENCH_KEY="+secret, "GOMAXPROCS=1")
	e.cmd.Stderr, _ = os.Create(filepath.Join(dir, "log"))
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	// The certificate of a TLS site is there a moment after the listener.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	for range 200 {
		if response, err := client.Get(e.origin + "/.well-known/oauth-authorization-server"); err == nil {
			response.Body.Close()
			return e, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	out, _ := os.ReadFile(filepath.Join(dir, "log"))
	e.stop()
	return nil, fmt.Errorf("the edge does not listen:\n%s", out)
}

func (e *edge) caddyfile(of site, upstreams []string) string {
	var b strings.Builder
	b.WriteString("{\n\tadmin off\n\tpersist_config off\n\tskip_install_trust\n\tlog {\n\t\tlevel ERROR\n\t}\n}\n")
	fmt.Fprintf(&b, "%s {\n\tbind 127.0.0.1\n", e.origin)
	if of.tls {
		b.WriteString("\ttls internal\n")
	}
	if of.guard {
		b.WriteString("\tmcp_auth {\n\t\tkey {env.BENCH_KEY}\n\t\toidc http://localhost:1 {\n\t\t\tclient_id bench\n\t\t}\n\t\tallow domain example.com\n")
		// One person opens all streams, and forged tokens come from one address.
		b.WriteString("\t\tmax_bad_tokens off\n\t\tmax_requests_per_user 10000000\n\t\tstreams {\n\t\t\tmax_per_user off\n\t\t}\n")
		for i := range of.resources {
			fmt.Fprintf(&b, "\t\tresource /r%d\n", i)
		}
		b.WriteString("\t}\n")
	}
	if of.refuse {
		b.WriteString("\terror 401\n")
	}
	fmt.Fprintf(&b, "\treverse_proxy %s {\n\t\tlb_policy round_robin\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 256\n\t\t}\n\t}\n}\n", strings.Join(upstreams, " "))
	return b.String()
}

func (e *edge) stop() {
	_ = e.cmd.Process.Signal(syscall.SIGKILL)
	_ = e.cmd.Wait()
	_ = os.RemoveAll(e.dir)
}

// cpu is the processor time that the edge has used so far, to the nanosecond: /proc/<pid>/stat counts in
// ticks of 10 ms, which is too coarse for short slices.
func (e *edge) cpu() (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", e.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var total int64
	for _, thread := range threads {
		stat, err := os.ReadFile(thread)
		if err != nil {
			return 0, err
		}
		spent, _, _ := strings.Cut(string(stat), " ")
		nanos, err := strconv.ParseInt(spent, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading processor time: %w", err)
		}
		total += nanos
	}
	if total == 0 {
		return 0, fmt.Errorf("the kernel does not tell the processor time of %d", e.cmd.Process.Pid)
	}
	return time.Duration(total), nil
}

// rss is the resident memory of the edge in bytes.
func (e *edge) rss() (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", e.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// keepOffFirstProcessor leaves the first processor to the edges.
func keepOffFirstProcessor() {
	if n := runtime.NumCPU(); n > 1 {
		if taskset, err := exec.LookPath("taskset"); err == nil {
			_ = exec.Command(taskset, "-a", "-cp", fmt.Sprintf("1-%d", n-1), strconv.Itoa(os.Getpid())).Run()
		}
	}
}
