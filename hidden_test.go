package mcpauth

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// A client that gets a challenge must find what the challenge leads to.
func TestNoMatcherHidesTheEndpoints(t *testing.T) {
	const local = "local {\n user alice@example.com $2a$04$O9HJpFTcqDZYbZ8jQ0yfDuyyGJnWKnMVKCBfzvXs2ncrFZoo1TRXq\n }\n allow any\n store memory\n"
	const guard = "mcp_auth {\n issuer https://mcp.example.com\n" + local + "}\n"
	const proxy = "reverse_proxy 127.0.0.1:1\n"
	for _, tc := range []struct {
		name, address, site string
		hidden              bool
	}{
		{"no block", "http://a.localhost:18080", guard + proxy, false},
		{"a block for everything", "http://a.localhost:18080", "handle {\n" + guard + proxy + "}", false},
		{"what other blocks leave", "http://a.localhost:18080", "handle /open/* {\nrespond 200\n}\nhandle {\n" + guard + proxy + "}", false},
		{"a block for some paths", "http://a.localhost:18080", "handle /mcp/* {\n" + guard + proxy + "}", true},
		{"a block that takes off a prefix", "http://a.localhost:18080", "handle_path /tools/* {\n" + guard + proxy + "}", true},
		{"a route block for some paths", "http://a.localhost:18080", "route /mcp* {\n" + guard + proxy + "}", true},
		{"a site for some paths", "http://a.localhost:18080/mcp/*", guard + proxy, true},
		{"two blocks deep", "http://a.localhost:18080", "handle {\nroute /mcp* {\n" + guard + proxy + "}\n}", true},
		{"without a host", ":18080", "handle /mcp/* {\n" + guard + proxy + "}", true},
		{"a matcher that takes the endpoints too", "http://a.localhost:18080",
			"@mcp path /mcp/* /.well-known/* /oauth2/*\nhandle @mcp {\n" + guard + proxy + "}", false},
		{"a matcher that takes half of them", "http://a.localhost:18080",
			"@mcp path /mcp/* /.well-known/*\nhandle @mcp {\n" + guard + proxy + "}", true},
		{"a matcher of something else", "http://a.localhost:18080", "@get method GET POST\nhandle @get {\n" + guard + proxy + "}", false},
		{"all paths but some", "http://a.localhost:18080", "@mcp not path /open/*\nhandle @mcp {\n" + guard + proxy + "}", false},
		{"another guard that has them, after", "http://a.localhost:18080", "handle /mcp/* {\n" + guard + proxy + "}\nhandle {\n" + guard + proxy + "}", false},
		{"another guard that has them, before, without a host", ":18080", "handle /oauth2/* {\n" + guard + "}\nhandle /.well-known/* {\n" + guard + "}", false},
		{"tokens that need no endpoints", "http://a.localhost:18080",
			"handle /mcp/* {\nmcp_auth {\n store memory\n token ci {\n sha256 HASH\n }\n}\n" + proxy + "}", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			site := strings.Replace(tc.site, "HASH", strings.Repeat("ab", 32), 1)
			text, err := adapt(t, "{\nadmin off\nstorage file_system "+t.TempDir()+"\n}\n"+tc.address+" {\n"+site+"\n}\n")
			if err != nil {
				t.Fatal(err)
			}
			var config caddy.Config
			if err := json.Unmarshal([]byte(text), &config); err != nil {
				t.Fatal(err)
			}
			err = caddy.Validate(&config)
			if (err != nil) != tc.hidden || err != nil && !strings.Contains(err.Error(), "no client can sign in") {
				t.Errorf("got %v, hidden %v", err, tc.hidden)
			}
		})
	}
}

// What no request could be answered for is told before the first one (derived.go tells it then).
func TestASiteWithoutTLSNeedsItsIssuer(t *testing.T) {
	for _, tc := range []struct {
		name, site, issuer string
		warned             bool
	}{
		{"a host without TLS", "http://mcp.example.com", "", true},
		{"with its issuer", "http://mcp.example.com", "issuer https://mcp.example.com", false},
		{"a host with TLS", "mcp.example.com", "", false},
		{"this computer", "http://localhost:8080", "", false},
		{"every host", ":8080", "", false},
		{"this computer among others", "http://mcp.example.com, http://localhost", "", false},
		{"a host that is not known yet", "http://{$TEST_HOST:*.example.com}", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			err := validate(t, "{\nlog {\noutput file "+log+"\n}\n}\n"+
				tc.site+" {\nmcp_auth {\n"+tc.issuer+"\noidc https://idp.example.com {\nclient_id edge\n}\nallow any\n}\n}\n")
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(log)
			if err != nil || len(text) == 0 {
				t.Fatalf("the log: %q, %v", text, err)
			}
			if strings.Contains(string(text), "will answer no request") != tc.warned {
				t.Errorf("logged %s", text)
			}
		})
	}
}
