package edge

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second
)

// Edge is a running Caddy.
type Edge struct {
	t       testing.TB
	binary  string
	dir     string
	ip      string
	port    int
	storage string
	secure  bool
	global  string
	servers string
	more    string
	whole   string
	log     string
	extra   string
	env     []string
	logs    *Logs
	process *exec.Cmd
	exited  chan struct{}
	waitErr error // valid once exited is closed
}

// Config says how to start an edge.
type Config struct {
	Port int               // 0: a free one
	TLS  bool              // https, with a certificate of Caddy's internal authority
	Site string            // what stands inside the site's block
	More string            // further site blocks
	Log  string            // more lines of the default log
	Logs string            // further logs
	Env  map[string]string // environment of the process

	// Whole is a whole Caddyfile in the place of all that, with the port in it. Where it keeps its files is
	// added.
	Whole string

	Global  string // further global options
	Servers string // what stands in the global option of that name

	// For edges of one site that share what they know: a loopback address, so that both have the same
	// port and with it the same issuer, and the directory of Caddy's storage. "": 127.0.0.1, and its own.
	IP, Storage string
}

// Start runs an edge until the test ends. Its log is attached to the test when it fails.
func Start(t testing.TB, c Config) *Edge {
	t.Helper()
	// Not t.TempDir: its path may be too long for the name of a Unix socket.
	dir, err := os.MkdirTemp("", "edge-")
	if err != nil {
		t.Fatal(err)
	}
	e := &Edge{t: t, binary: Binary(t), dir: dir, port: c.Port, secure: c.TLS, global: c.Global, servers: c.Servers, more: c.More, whole: c.Whole, log: c.Log, extra: c.Logs, logs: new(Logs)}
	e.ip, e.storage = cmp.Or(c.IP, "127.0.0.1"), cmp.Or(c.Storage, filepath.Join(dir, "storage"))
	if e.port == 0 {
		e.port = FreePort(t)
	}
	e.env = []string{
		"HOME=" + dir, "XDG_DATA_HOME=" + filepath.Join(dir, "data"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "config"),
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, raceOptions,
	}
	for name, value := range c.Env {
		e.env = append(e.env, name+"="+value)
	}
	t.Cleanup(func() {
		e.Stop()
		if t.Failed() {
			t.Logf("log of the edge:\n%s", e.logs)
		}
		for _, race := range races(e.logs.String()) {
			t.Errorf("the edge has a data race:\n%s", race)
		}
		_ = os.RemoveAll(dir)
	})
	e.write(c.Site)
	e.run()
	return e
}

// URL is the site's address, which is the issuer.
func (e *Edge) URL() string { return address(e.port, e.secure) }

func address(port int, secure bool) string {
	if secure {
		return fmt.Sprintf("https://localhost:%d", port)
	}
	return fmt.Sprintf("http://localhost:%d", port)
}

// RootCertificate is the file of the edge's own certificate authority.
func (e *Edge) RootCertificate() string {
	return filepath.Join(e.storage, "pki", "authorities", "local", "root.crt")
}

// Transport trusts the edge's own certificate authority.
func (e *Edge) Transport() *http.Transport {
	e.t.Helper()
	root, err := os.ReadFile(e.RootCertificate())
	if err != nil {
		e.t.Fatalf("reading the root certificate: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(root) {
		e.t.Fatal("the root certificate is not PEM")
	}
	return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DialContext: e.Dial}
}

// Dial connects to the edge, whatever its name resolves to, and to others as usual.
func (e *Edge) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if _, port, _ := net.SplitHostPort(addr); port == strconv.Itoa(e.port) {
		addr = e.Addr()
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// Port is where the edge listens, at its IP.
func (e *Edge) Port() int { return e.port }

// Addr is where the edge listens.
func (e *Edge) Addr() string { return fmt.Sprintf("%s:%d", e.ip, e.port) }

// Dir is the edge's home.
func (e *Edge) Dir() string { return e.dir }

// Logs is all that the edge wrote, access log included.
func (e *Edge) Logs() *Logs { return e.logs }

// Reload replaces what stands in the site's block, or loads the same again, without stopping the
// process.
func (e *Edge) Reload(site string) {
	e.t.Helper()
	e.write(site)
	if out, err := e.Command("reload", "--force", "--config", e.caddyfile(), "--address", "unix/"+e.admin()); err != nil {
		e.t.Fatalf("reloading the edge: %v\n%s", err, out)
	}
}

// Restart ends the process as an init system does and starts it again on the same port.
func (e *Edge) Restart() {
	e.t.Helper()
	e.Stop()
	e.run()
}

// Stop ends the process with SIGTERM and reports a test error if it does not end, or ends badly.
func (e *Edge) Stop() {
	e.t.Helper()
	if e.process == nil {
		return
	}
	if err := e.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		e.t.Errorf("stopping the edge: %v", err)
	}
	select {
	case <-e.exited:
		if e.waitErr != nil {
			e.t.Errorf("the edge ended with: %v", e.waitErr)
		}
	case <-time.After(stopTimeout):
		_ = e.process.Process.Kill()
		<-e.exited
		e.t.Errorf("the edge was still running %v after SIGTERM", stopTimeout)
	}
	e.process = nil
}

// Command runs another command of the same binary with the edge's environment.
func (e *Edge) Command(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.binary, args...)
	cmd.Env, cmd.Dir = e.env, e.dir
	out, err := cmd.CombinedOutput()
	if found := races(string(out)); err == nil && len(found) > 0 {
		err = errors.New("a data race in the command")
	}
	return string(out), err
}

func (e *Edge) run() {
	e.t.Helper()
	cmd := exec.Command(e.binary, "run", "--config", e.caddyfile())
	cmd.Env, cmd.Dir = e.env, e.dir
	cmd.Stdout, cmd.Stderr = e.logs, e.logs
	if err := cmd.Start(); err != nil {
		e.t.Fatalf("starting the edge: %v", err)
	}
	exited := make(chan struct{})
	e.process, e.exited, e.waitErr = cmd, exited, nil
	go func() {
		e.waitErr = cmd.Wait()
		close(exited)
	}()
	Eventually(e.t, "the edge listens", startTimeout, func() bool {
		select {
		case <-exited:
			e.process = nil
			e.t.Fatalf("the edge ended while starting: %v", e.waitErr)
		default:
		}
		return e.listens()
	})
}

func (e *Edge) listens() bool {
	// The admin endpoint tells the configuration once all of it has been started. Before that a handshake
	// would find Caddy's TLS app half made.
	resp, err := e.ask("/config/")
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	conn, err := net.DialTimeout("tcp", e.Addr(), time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return !e.secure || e.certified()
}

// certified tells whether the site has its certificate already; Caddy gets it beside serving. Whose
// it is does not matter here.
func (e *Edge) certified() bool {
	conn, err := tls.Dial("tcp", e.Addr(), &tls.Config{ServerName: "localhost", InsecureSkipVerify: true})
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func (e *Edge) caddyfile() string { return filepath.Join(e.dir, "Caddyfile") }
func (e *Edge) admin() string     { return filepath.Join(e.dir, "admin.sock") }

func (e *Edge) write(site string) {
	e.t.Helper()
	text := Caddyfile(e.URL(), e.dir, site)
	text = strings.Replace(text, "bind 127.0.0.1", "bind "+e.ip, 1)
	text = strings.Replace(text, filepath.Join(e.dir, "storage")+"\n", e.storage+"\n", 1)
	text += e.more
	if e.global != "" {
		text = strings.Replace(text, "{\n", "{\n\t"+e.global+"\n", 1)
	}
	if e.servers != "" {
		text = strings.Replace(text, "{\n", "{\n\tservers {\n\t\t"+e.servers+"\n\t}\n", 1)
	}
	if e.log+e.extra != "" {
		const end = "\t\tlevel DEBUG\n\t}\n"
		text = strings.Replace(text, end, "\t\tlevel DEBUG\n\t\t"+e.log+"\n\t}\n\t"+e.extra+"\n", 1)
	}
	if e.whole != "" {
		text = placed(e.whole, e.dir)
	}
	if err := os.WriteFile(e.caddyfile(), []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// placed adds to a whole Caddyfile where it keeps its files, in its global options if it has any.
func placed(text, dir string) string {
	options := fmt.Sprintf("{\n\tadmin unix/%[1]s/admin.sock\n\tstorage file_system %[1]s/storage\n\tskip_install_trust\n", dir)
	at := 0
	for line := range strings.Lines(text) {
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" || trimmed[0] == '#':
			at += len(line)
			continue
		case trimmed == "{":
			return text[:at] + options + text[at+len(line):]
		}
		break
	}
	return options + "}\n" + text
}

// Caddyfile wraps a site block's content into a whole configuration. It logs at debug level, so
// that a search for secrets sees the most that an operator can switch on, and it keeps codes and
// states out of the access log with the filter that the documentation recommends.
func Caddyfile(address, dir, site string) string {
	return fmt.Sprintf(`{
	admin unix/%[2]s/admin.sock
	storage file_system %[2]s/storage
	auto_https disable_redirects
	skip_install_trust
	log {
		output stderr
		level DEBUG
	}
}

%[1]s {
	bind 127.0.0.1
	log {
		output stderr
		format filter {
			wrap json
			fields {
				request>uri query {
					replace code REDACTED
					replace state REDACTED
				}
				resp_headers>Location query {
					replace code REDACTED
					replace state REDACTED
				}
			}
		}
	}
%[3]s
}
`, address, dir, site)
}
