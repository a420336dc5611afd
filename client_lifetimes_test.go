package mcpauth

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
)

func TestClientLifetimesAreBounded(t *testing.T) {
	const hour = caddy.Duration(time.Hour)
	for _, tc := range []struct {
		name     string
		profiles []*ClientLifetimes
		want     string
	}{
		{"a longer access token", []*ClientLifetimes{{Client: "claude.ai", AccessTokenLifetime: 24 * hour}}, ""},
		{"the URL of one metadata document", []*ClientLifetimes{{Client: "https://claude.ai/oauth/client", AccessTokenLifetime: hour}}, ""},
		{"more than a day", []*ClientLifetimes{{Client: "claude.ai", AccessTokenLifetime: 25 * hour}}, "client_lifetimes claude.ai: access_token_lifetime is 25h0m0s"},
		{"a grant that ends before the access token of all clients", []*ClientLifetimes{{Client: "ci", RefreshTokenLifetime: hour / 2}}, "clients could never refresh"},
		{"both shorter", []*ClientLifetimes{{Client: "ci", RefreshTokenLifetime: hour / 2, AccessTokenLifetime: hour / 4}}, ""},
		{"the same client twice", []*ClientLifetimes{{Client: "ci", AccessTokenLifetime: hour}, {Client: "ci", AccessTokenLifetime: hour}}, "given twice"},
		{"a loopback address", []*ClientLifetimes{{Client: "127.0.0.1:33418", AccessTokenLifetime: hour}}, "any program"},
		{"a private scheme", []*ClientLifetimes{{Client: "cursor://anysphere.cursor-mcp", AccessTokenLifetime: hour}}, "any program"},
		{"a wildcard", []*ClientLifetimes{{Client: "*.example.com", AccessTokenLifetime: hour}}, "wildcards"},
		{"nobody", []*ClientLifetimes{{AccessTokenLifetime: hour}}, "whose"},
		{"nothing", []*ClientLifetimes{{Client: "ci"}}, "says nothing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := Options{ClientLifetimes: tc.profiles}
			_, err := o.clientLifetimes(authserver.DefaultLifetimes())
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
