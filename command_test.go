package mcpauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/internal/quickstart"
)

// edgeFrom reads a command line as Caddy does.
func edgeFrom(t *testing.T, args ...string) (*quickEdge, error) {
	t.Helper()
	cmd := new(cobra.Command)
	caddycmd.Commands()["mcp-auth"].CobraFunc(cmd)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	var e *quickEdge
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if e, err = edgeOf(caddycmd.Flags{FlagSet: cmd.Flags()}); err != nil {
			return err
		}
		return e.check()
	}
	cmd.SetArgs(args)
	return e, cmd.Execute()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestTheCommandLine(t *testing.T) {
	t.Setenv("TEST_OIDC_SECRET", "only-for-this-test-4711")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	free := freeAddress(t)
	public := []string{"--from", "mcp.example.com", "--to", "localhost:3000", "--oidc", "https://idp.example.com"}
	with := func(base []string, more ...string) []string { return append(slices.Clone(base), more...) }
	for _, tc := range []struct {
		name string
		args []string
		want string // a part of the error; empty for none
	}{
		{"a laptop", []string{"--from", free, "--to", "3000"}, ""},
		{"a server", with(public, "--client-id", "edge", "--client-secret-env", "TEST_OIDC_SECRET", "--allow-domain", "example.com"), ""},
		{"a server that everybody may use", with(public, "--client-id", "edge", "--allow-any"), ""},
		{"a real sign-in on a laptop", []string{"--from", free, "--to", "3000", "--oidc", "http://127.0.0.1:1", "--client-id", "edge", "--allow-any"}, ""},
		{"no upstream", []string{"--from", free}, "--to is missing"},
		{"an upstream with a path", []string{"--from", free, "--to", "http://localhost:3000/mcp"}, "--to \"http://localhost:3000/mcp\" has a path"},
		{"development mode for others", []string{"--from", "mcp.example.com", "--to", "3000"}, "add --oidc"},
		{"development mode on every address", []string{"--from", "0.0.0.0:8080", "--to", "3000"}, "add --oidc"},
		{"development mode on a name that begins like this computer's", []string{"--from", "localhost.evil.example", "--to", "3000"}, "add --oidc"},
		{"https on this computer", []string{"--from", "https://localhost:8443", "--to", "3000"}, "leave https:// out"},
		{"plain http off this computer", with(public, "--client-id", "edge", "--allow-any", "--from", "http://mcp.example.com"), "write --from mcp.example.com"},
		{"an address instead of a name", with(public, "--client-id", "edge", "--allow-any", "--from", "192.0.2.1"), "no host name"},
		{"all names", with(public, "--client-id", "edge", "--allow-any", "--from", "*.example.com"), "no host name"},
		{"a path", []string{"--from", "localhost:8080/mcp", "--to", "3000"}, "is no address"},
		{"another scheme", []string{"--from", "ftp://localhost:8080", "--to", "3000"}, "is no address"},
		{"the port of plain http", with(public, "--client-id", "edge", "--allow-any", "--from", "mcp.example.com:80"), "no port for https"},
		{"a port that is none", []string{"--from", "localhost:99999", "--to", "3000"}, "no port between"},
		{"a busy port", []string{"--from", busy.Addr().String(), "--to", "3000"}, "in use"},
		{"a rule without a sign-in", []string{"--from", free, "--to", "3000", "--allow-email", "ann@example.com"}, "add --oidc"},
		{"a client id without a sign-in", []string{"--from", free, "--to", "3000", "--client-id", "edge"}, "add --oidc"},
		{"an issuer from a variable that is not set", []string{"--from", free, "--to", "3000", "--oidc", ""}, "--oidc is empty"},
		{"no client id", with(public, "--allow-any"), "--client-id"},
		{"nobody may sign in", with(public, "--client-id", "edge"), "--allow-domain example.com"},
		{"everybody and somebody", with(public, "--client-id", "edge", "--allow-any", "--allow-group", "staff"), "--allow-any"},
		{"two secrets", with(public, "--client-id", "edge", "--allow-any", "--client-secret-env", "TEST_OIDC_SECRET", "--client-secret-file", empty), "two places"},
		{"a variable that is not set", with(public, "--client-id", "edge", "--allow-any", "--client-secret-env", "TEST_UNSET"), "TEST_UNSET is not set"},
		{"a secret instead of a variable", with(public, "--client-id", "edge", "--allow-any", "--client-secret-env", "s3cr3t-4711!"), "not the secret itself"},
		{"a secret in the arguments", with(public, "--client-id", "edge", "--allow-any", "--client-secret", "x"), "unknown flag"},
		{"a file that is not there", with(public, "--client-id", "edge", "--allow-any", "--client-secret-file", "/nonexistent/secret"), "nonexistent"},
		{"an empty file", with(public, "--client-id", "edge", "--allow-any", "--client-secret-file", empty), "no file with something in it"},
		{"an argument", []string{"--to", "3000", "mcp.example.com"}, "unknown command"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := edgeFrom(t, tc.args...)
			if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "4711") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

func TestWhatTheCommandRuns(t *testing.T) {
	const secret = "only-for-this-test-4711"
	t.Setenv("TEST_OIDC_SECRET", secret)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "a secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := []string{"--from", "MCP.example.com", "--to", "localhost:3000", "--oidc", "https://idp.example.com", "--client-id", "edge", "--access-log",
		"--allow-domain", "example.com", "--allow-domain", "example.org", "--allow-email", "ann@example.net", "--allow-group", "the staff", "--resource", "/mcp"}
	for _, tc := range []struct {
		name  string
		args  []string
		wants []string
	}{
		{"a laptop", []string{"--from", freeAddress(t), "--to", "3000", "--to", "3001"},
			[]string{`"provider":"dev"`, `"Host":["{http.reverse_proxy.upstream.hostport}"]`, `"dial":"localhost:3000"`, `"dial":"localhost:3001"`, `"127.0.0.1:`, `"disable":true`}},
		{"a server, its secret in a variable", append(slices.Clone(server), "--client-secret-env", "TEST_OIDC_SECRET"),
			[]string{`"listen":[":443"]`, `"host":["mcp.example.com"]`, `"client_secret":"{env.TEST_OIDC_SECRET}"`, `"domains":["example.com","example.org"]`,
				`"emails":["ann@example.net"]`, `"groups":["the staff"]`, `"paths":["/mcp"]`, `"parameter":"code"`}},
		{"a server, its secret in a file", append(slices.Clone(server), "--client-secret-file", file), []string{`{file.` + file + `}`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := edgeFrom(t, tc.args...)
			if err != nil {
				t.Fatal(err)
			}
			text, err := e.caddyfile()
			if err != nil {
				t.Fatal(err)
			}
			adapted, err := quickstart.Adapt(text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			for _, want := range tc.wants {
				if !strings.Contains(string(adapted), want) {
					t.Errorf("the configuration lacks %s:\n%s", want, adapted)
				}
			}
			if strings.Contains(string(adapted), secret) {
				t.Error("the configuration holds the secret")
			}
			var config caddy.Config
			if err := json.Unmarshal(adapted, &config); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(&config); err != nil {
				t.Errorf("validating: %v", err)
			}
			var said bytes.Buffer
			e.greet(&said)
			for _, want := range []string{e.url() + "/mcp", "claude mcp add", "npx mcp-remote"} {
				if !strings.Contains(said.String(), want) {
					t.Errorf("the greeting does not say %q:\n%s", want, &said)
				}
			}
		})
	}
}

// A value is one word of the configuration, whatever is in it.
func TestNoFlagWritesMoreThanItsValue(t *testing.T) {
	t.Setenv("TEST_OIDC_SECRET", "only-for-this-test-4711")
	for _, value := range []string{"a`b", "{$TEST_OIDC_SECRET}", "{env.TEST_OIDC_SECRET}", "a\n}", "a\x00b", ""} {
		for _, flag := range []string{"--oidc", "--client-id", "--allow-domain", "--allow-group", "--resource", "--to"} {
			e, err := edgeFrom(t, "--from", "mcp.example.com", "--to", "3000", "--oidc", "https://idp.example.com", "--client-id", "edge", "--allow-any")
			if err != nil {
				t.Fatal(err)
			}
			e.allowAny = false
			switch flag {
			case "--oidc":
				e.oidc = value
			case "--client-id":
				e.clientID = value
			case "--allow-domain":
				e.domains = []string{value}
			case "--allow-group":
				e.groups = []string{value}
			case "--resource":
				e.resources = []string{value}
			case "--to":
				e.to = []string{value}
			}
			if flag == "--oidc" && value == "" {
				continue // which is development mode
			}
			if text, err := e.caddyfile(); err == nil || !strings.Contains(err.Error(), flag) {
				t.Errorf("%s %q: %v\n%s", flag, value, err, text)
			}
		}
	}
}

func TestKeygen(t *testing.T) {
	made := make(map[string]bool)
	for range 3 {
		cmd, out := keygenCommand(), new(bytes.Buffer)
		cmd.SetOut(out)
		cmd.SetArgs([]string{})
		if err := cmd.Execute(); err != nil {
			t.Fatal(err)
		}
		key := strings.TrimSuffix(out.String(), "\n")
		raw, err := base64.RawURLEncoding.DecodeString(key)
		if err != nil || len(raw) != 32 || made[key] {
			t.Errorf("key of %d bytes, %v, made before: %t", len(raw), err, made[key])
		}
		if _, err := newRing(nil, [][]byte{[]byte(key)}); err != nil {
			t.Errorf("the key option does not take it: %v", err)
		}
		made[key] = true
	}
}
