package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"golang.org/x/crypto/bcrypt"
)

// parseDemoListen splits listen into the address of the site and the addresses to bind, and makes
// sure that they are free: Caddy shares a busy port with another Caddy instead of failing.
func parseDemoListen(listen string) (address string, bind []string, err error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", nil, fmt.Errorf("--listen %q is not host:port, for example --listen %s", listen, demoListen)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", nil, fmt.Errorf("--listen %q has no port between 1 and 65535", listen)
	}
	if host == "" || strings.EqualFold(host, "localhost") {
		host = "localhost"
	}
	if host == "localhost" {
		bind = []string{"127.0.0.1", "::1"}
	} else {
		ip, err := netip.ParseAddr(host)
		if err != nil || !ip.IsLoopback() || ip.Zone() != "" {
			return "", nil, fmt.Errorf("--listen %q is not this computer's own address: the demo has one well-known user "+
				"and no TLS, so it listens on localhost only", listen)
		}
		bind = []string{host}
	}
	usable := bind[:0]
	for _, ip := range bind {
		switch err := probe(net.JoinHostPort(ip, port)); {
		case err == nil:
			usable = append(usable, ip)
		case errors.Is(err, syscall.EADDRINUSE):
			return "", nil, fmt.Errorf("port %s is in use: stop what listens there, or choose another with --listen %s",
				port, net.JoinHostPort(host, "8090"))
		case ip != "::1" || host != "localhost": // not every computer has IPv6
			return "", nil, fmt.Errorf("listening on --listen %s: %w", listen, err)
		}
	}
	return net.JoinHostPort(host, port), usable, nil
}

func probe(address string) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return ln.Close()
}

// demoStorage chooses the directory for keys and sign-ins. A directory below the shared temporary
// one gets an unpredictable name, so that nobody else can have put a key ring there.
func demoStorage(chosen string) (dir string, lasting bool, err error) {
	if chosen == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			dir, err := os.MkdirTemp("", "caddy-mcp-auth-demo-")
			return dir, false, err
		}
		chosen = filepath.Join(cache, "caddy-mcp-auth", "demo")
	}
	if chosen, err = filepath.Abs(chosen); err != nil {
		return "", false, fmt.Errorf("finding the storage directory: %w", err)
	}
	if strings.ContainsAny(chosen, "`{}\n") {
		return "", false, fmt.Errorf("--storage %q: choose a directory without backquotes, braces and line breaks", chosen)
	}
	if err := os.MkdirAll(chosen, 0o700); err != nil {
		return "", false, fmt.Errorf("making the storage directory: %w", err)
	}
	return chosen, true, nil
}

// demoCaddyfile is what somebody would write who wanted the same by hand.
const demoCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	grace_period 2s
	servers {
		protocols h1
	}
	storage file_system ` + "`%[1]s`" + `
	log {
		output stderr
		format console
		%[2]s
	}
}

%[3]s {
	bind %[4]s
	mcp_auth {
		local {
			user %[5]s ` + "`%[6]s`" + `
		}
		allow email %[5]s
		resource /mcp {
			name "Demo tools"
		}
		resource /sse {
			name "Demo tools over the legacy transport"
		}
	}
	reverse_proxy %[7]s
}
`

// sites are the addresses that people may type for the one they were told.
func (d *demo) sites() []string {
	host, port, _ := net.SplitHostPort(d.address)
	sites := []string{"http://" + d.address}
	if host == "localhost" {
		for _, ip := range d.bind {
			sites = append(sites, "http://"+net.JoinHostPort(ip, port))
		}
	}
	return sites
}

// config makes Caddy's JSON.
func (d *demo) config() ([]byte, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(d.password), bcrypt.DefaultCost)
	if err != nil {
		return nil, fmt.Errorf("hashing the password: %w", err)
	}
	logging := "level WARN\n\t\texclude admin" // which warns that it is off, as it should be
	if d.verbose {
		logging = "level DEBUG"
	}
	bind := make([]string, len(d.bind))
	for i, ip := range d.bind {
		if bind[i] = ip; strings.Contains(ip, ":") {
			bind[i] = "[" + ip + "]"
		}
	}
	text := fmt.Sprintf(demoCaddyfile, d.storage, logging, strings.Join(d.sites(), ", "), strings.Join(bind, " "),
		demoUser, hash, d.upstream)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		return nil, fmt.Errorf("adapting the demo's Caddyfile: %w", err)
	}
	return config, nil
}
