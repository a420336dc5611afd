package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/internal/quickstart"
)

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
	if _, err := quickstart.Token("--storage", chosen); err != nil {
		return "", false, err
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
	%[4]s
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

// config fills the Caddyfile in.
func (d *demo) config() (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(d.password), bcrypt.DefaultCost)
	if err != nil {
		return "", fmt.Errorf("hashing the password: %w", err)
	}
	logging := "level WARN\n\t\texclude admin" // which warns that it is off, as it should be
	if d.verbose {
		logging = "level DEBUG"
	}
	return fmt.Sprintf(demoCaddyfile, d.storage, logging, d.address.Sites(), d.address.Bind(), demoUser, hash, d.upstream), nil
}
