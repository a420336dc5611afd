package mcpauth

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/internal/quickstart"
)

// quickEdge is what one run of the command was asked for.
type quickEdge struct {
	from      string
	to        []string
	resources []string

	oidc, clientID             string
	secretFile, secretVariable string
	domains, emails, groups    []string
	allowAny                   bool

	accessLog, verbose bool

	local      quickstart.Address // where the edge is for this computer only
	host, port string             // where it is for others
}

// develops reports whether nobody is asked who they are.
func (e *quickEdge) develops() bool { return e.oidc == "" }

// public reports whether other computers are answered.
func (e *quickEdge) public() bool { return e.host != "" }

func (e *quickEdge) url() string {
	switch {
	case !e.public():
		return "http://" + e.local.String()
	case e.port == "443":
		return "https://" + e.host
	}
	return "https://" + net.JoinHostPort(e.host, e.port)
}

// check makes sure that the flags go together, and that what they name is there.
func (e *quickEdge) check() error {
	for _, check := range []func() error{e.readTo, e.checkSignIn, e.checkSecret, e.readFrom} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkPorts makes sure that the edge gets its ports for itself.
func (e *quickEdge) checkPorts() error {
	if !e.public() { // done where the address is read
		return nil
	}
	// Certificates are asked for over the first, and visitors redirected from it.
	for _, port := range []string{"80", e.port} {
		if err := quickstart.Free("--from", ":"+port); err != nil {
			return err
		}
	}
	return nil
}

func (e *quickEdge) readTo() error {
	if len(e.to) == 0 {
		return errors.New("--to is missing; write where the MCP server is, for example --to localhost:3000")
	}
	for i, to := range e.to {
		if _, err := strconv.ParseUint(to, 10, 16); err == nil {
			e.to[i] = "localhost:" + to
		}
		if _, rest, found := strings.Cut(to, "://"); found && strings.Contains(strings.TrimSuffix(rest, "/"), "/") {
			return fmt.Errorf("--to %q has a path; leave it out, since paths stay as clients send them", to)
		}
	}
	return nil
}

// checkSignIn makes sure that the flags say either how people sign in and who may, or nothing of it.
func (e *quickEdge) checkSignIn() error {
	rules := len(e.domains) + len(e.emails) + len(e.groups)
	switch {
	case e.develops() && (rules > 0 || e.allowAny):
		return errors.New("allow rules need to know who somebody is; add --oidc <issuer> and --client-id <id>, or leave the rules out")
	case e.develops() && (e.clientID != "" || e.secretFile != "" || e.secretVariable != ""):
		return errors.New("the client id and secret are for an identity provider; add --oidc <issuer>")
	case e.develops():
		return nil
	case e.clientID == "":
		return errors.New("--oidc needs --client-id; write the client id that the provider gave out")
	case rules == 0 && !e.allowAny:
		return errors.New("nobody could sign in; add --allow-domain example.com, or --allow-any for everyone with an account at the provider")
	case rules > 0 && e.allowAny:
		return errors.New("--allow-any lets everyone in who has an account at the provider; leave it or the other allow rules out")
	}
	return nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// checkSecret makes sure that the secret is where the flags say, so that a slip shows with the name
// of its flag. The secret itself is read when the configuration is.
func (e *quickEdge) checkSecret() error {
	switch {
	case e.secretFile != "" && e.secretVariable != "":
		return errors.New("--client-secret-file and --client-secret-env are two places for one secret; give one of them")
	case e.secretVariable != "":
		if !variableName.MatchString(e.secretVariable) {
			return errors.New("--client-secret-env takes the name of an environment variable, not the secret itself")
		}
		if os.Getenv(e.secretVariable) == "" {
			return fmt.Errorf("--client-secret-env: the variable %s is not set", e.secretVariable)
		}
	case e.secretFile != "":
		path, err := filepath.Abs(e.secretFile)
		if err != nil {
			return fmt.Errorf("--client-secret-file: %w", err)
		}
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return fmt.Errorf("--client-secret-file: %w", err)
		case !info.Mode().IsRegular() || info.Size() == 0:
			return fmt.Errorf("--client-secret-file %s is no file with something in it", path)
		}
		e.secretFile = path
	}
	return nil
}

// readFrom decides whether the edge is for this computer or for others.
func (e *quickEdge) readFrom() error {
	scheme, rest, found := strings.Cut(e.from, "://")
	if !found {
		scheme, rest = "", e.from
	}
	host, port := rest, ""
	if h, p, err := net.SplitHostPort(rest); err == nil {
		host, port = h, p
	}
	host = strings.Trim(host, "[]")
	switch {
	case scheme != "" && scheme != "http" && scheme != "https", strings.ContainsAny(rest, "/?#@"):
		return fmt.Errorf("--from %q is no address; write, for example, --from localhost:8080 or --from mcp.example.com", e.from)
	case host == "" && port != "", quickstart.IsLoopback(host):
		if scheme == "https" {
			return fmt.Errorf("--from %q: on this computer it serves plain http, which OAuth allows there; leave https:// out", e.from)
		}
		if port == "" {
			port = "8080"
		}
		var err error
		e.local, err = quickstart.Loopback("--from", net.JoinHostPort(host, port))
		return err
	case e.develops():
		return fmt.Errorf("--from %q: without a sign-in everybody is let in who asks, so it is for localhost only; "+
			"add --oidc <issuer>, --client-id <id> and --allow-domain <domain> to serve others", e.from)
	case scheme == "http":
		return fmt.Errorf("--from %q: OAuth needs TLS off this computer; write --from %s", e.from, rest)
	case !hostName.MatchString(host) || net.ParseIP(host) != nil:
		return fmt.Errorf("--from %q is no host name, for which a certificate could be had; write, for example, --from mcp.example.com", e.from)
	}
	if port == "" {
		port = "443"
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || n == 80 {
		return fmt.Errorf("--from %q has no port for https", e.from)
	}
	e.host, e.port = strings.ToLower(host), port
	return nil
}

// hostName is a name with a dot (RFC 1123, section 2.1).
var hostName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]([A-Za-z0-9-]*[A-Za-z0-9])?$`)
