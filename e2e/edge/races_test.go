package edge

import (
	"strings"
	"testing"
)

func TestRaces(t *testing.T) {
	const line = "==================\n"
	report := func(stacks ...string) string {
		return line + "WARNING: DATA RACE\n" + strings.Join(stacks, "\n") + "\n" + line
	}
	const (
		event = "Read at 0x00c0002eeaa0 by goroutine 52:\n  github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).CaddyModule()\n" +
			"  github.com/caddyserver/caddy/v2/modules/caddyevents.(*App).Emit()"
		start = "Previous write at 0x00c0002eeaa0 by main goroutine:\n  github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).Start()"
		read  = "Read at 0x00c0002eeaa0 by goroutine 7:\n  github.com/caddy-mcp-auth/caddy-mcp-auth.(*Handler).ServeHTTP()"
		write = "Previous write at 0x00c0002eeaa0 by goroutine 8:\n  github.com/caddy-mcp-auth/caddy-mcp-auth.(*Handler).Provision()"
	)
	for _, tc := range []struct {
		name, log string
		want      int
	}{
		{"none", `{"level":"info"}`, 0},
		{"ours", report(read, write), 1},
		{"two of ours", report(read, write) + "{}\n" + report(read, write), 2},
		{"Caddy's own", report(event, start), 0},
		{"ours after Caddy's own", report(event, start) + report(read, write), 1},
		{"ours before Caddy's own", report(read, write) + report(event, start), 1},
		{"an event that reads what we wrote", report(event, write), 1},
		{"a read of ours of what the start wrote", report(read, start), 1},
		{"one that was cut off", line + "WARNING: DATA RACE\n" + read, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := races(tc.log); len(got) != tc.want {
				t.Errorf("%d races, want %d: %q", len(got), tc.want, got)
			}
		})
	}
}
