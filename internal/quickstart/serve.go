package quickstart

import (
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// Token writes the value of a flag as one token of a Caddyfile that stands for nothing but itself. A
// value that could end the token, or that Caddy would replace by something else, is refused.
func Token(flag, value string) (string, error) {
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune("`{}", r) }) {
		return "", fmt.Errorf("%s %q: give a value without backquotes, braces and line breaks", flag, value)
	}
	return "`" + value + "`", nil
}

// Serve runs a Caddyfile until the process is told to end. It calls started once it serves, and
// returns only with an error.
func Serve(caddyfile string, started func()) (exitCode int, err error) {
	caddy.TrapSignals()
	// Caddy logs from its start on; what it says before the configuration has set the level is
	// held back and judged by that level.
	_, early, _ := caddy.BufferedLog()
	defer caddy.UnbufferDefaultLogger(early)

	config, err := Adapt(caddyfile)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if err := caddy.Load(config, false); err != nil {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("starting: %w", err)
	}
	started()
	select {} // TrapSignals ends the process
}

// Adapt makes Caddy's JSON of a Caddyfile.
func Adapt(caddyfile string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		return nil, fmt.Errorf("adapting the configuration: %w", err)
	}
	return config, nil
}

// HowToConnect tells how to add the MCP server at address to clients, under a short name.
func HowToConnect(name, address string) string {
	return fmt.Sprintf(`  Claude Code   claude mcp add --transport http %[1]s %[2]s
  VS Code       code --add-mcp '{"name":"%[1]s","type":"http","url":"%[2]s"}'
  mcp-remote    npx mcp-remote %[2]s
`, name, address)
}
