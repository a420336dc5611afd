package mcpauth

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func TestNothingAnswersBeforeTheGuard(t *testing.T) {
	const guard = "mcp_auth {\n issuer https://mcp.example.com\n local {\n user alice@example.com $2a$04$O9HJpFTcqDZYbZ8jQ0yfDuyyGJnWKnMVKCBfzvXs2ncrFZoo1TRXq\n }\n allow any\n store memory\n}\n"
	for _, tc := range []struct{ name, global, site, says string }{
		{"the usual order, whatever is written first", "", "reverse_proxy 127.0.0.1:1\n" + guard, ""},
		{"a route block in order", "", "route {\n" + guard + "reverse_proxy 127.0.0.1:1\n}", ""},
		{"a proxy above", "", "route {\nreverse_proxy 127.0.0.1:1\n" + guard + "}", "reverse_proxy runs before mcp_auth"},
		{"a proxy of some paths above", "", "route {\nreverse_proxy /mcp* 127.0.0.1:1\n" + guard + "}", "write mcp_auth above reverse_proxy"},
		{"a proxy above, with others between", "", "route {\nreverse_proxy 127.0.0.1:1\nheader X-A b\nrespond /x 200\n" + guard + "}", "reverse_proxy runs before"},
		{"a proxy above the block with the guard", "", "route {\nreverse_proxy 127.0.0.1:1\nroute {\n" + guard + "}\n}", "reverse_proxy runs before"},
		{"files for everything above", "", "route {\nfile_server\n" + guard + "}", "file_server runs before"},
		{"an answer to everything above", "", "route {\nrespond 200\n" + guard + "}", "respond runs before"},
		{"an answer to some paths above", "", "route {\nrespond /healthz 200\n" + guard + "reverse_proxy 127.0.0.1:1\n}", ""},
		{"open paths in a handle block", "", "handle /public/* {\nreverse_proxy 127.0.0.1:1\n}\nhandle {\n" + guard + "reverse_proxy 127.0.0.1:2\n}", ""},
		{"a proxy in a block for everything above", "", "route {\nhandle {\nreverse_proxy 127.0.0.1:1\n}\n" + guard + "}", "reverse_proxy runs before"},
		{"a proxy for what other blocks leave above", "", "route {\nhandle /a/* {\nrespond 200\n}\nhandle {\nreverse_proxy 127.0.0.1:1\n}\n" + guard + "}", "reverse_proxy runs before"},
		{"a proxy two blocks deep above", "", "route {\nroute {\nroute {\nreverse_proxy 127.0.0.1:1\n}\n}\n" + guard + "}", "reverse_proxy runs before"},
		{"an answer to everything in a block above", "", "route {\nroute {\nrespond 200\n}\n" + guard + "}", "respond runs before"},
		{"a PHP application above", "", "route {\nphp_fastcgi 127.0.0.1:1\n" + guard + "}", "reverse_proxy runs before"},
		{"a proxy of some paths in a block above", "", "route {\nhandle /public/* {\nreverse_proxy 127.0.0.1:1\n}\n" + guard + "reverse_proxy 127.0.0.1:2\n}", ""},
		{"a guarded block above", "", "route {\nroute {\n" + guard + "reverse_proxy 127.0.0.1:1\n}\n" + guard + "}", ""},
		{"another order for all sites", "order mcp_auth after reverse_proxy\n", "reverse_proxy 127.0.0.1:1\n" + guard, "reverse_proxy runs before"},
		{"a prefix taken off before", "", "route {\nuri strip_prefix /tools\n" + guard + "reverse_proxy 127.0.0.1:1\n}", ""},
		{"another site with a proxy", "", guard + "reverse_proxy 127.0.0.1:1\n}\nhttp://b.localhost:18081 {\nreverse_proxy 127.0.0.1:1\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text, err := adapt(t, "{\nadmin off\nstorage file_system "+t.TempDir()+"\n"+tc.global+"}\nhttp://a.localhost:18080 {\n"+tc.site+"\n}\n")
			if err != nil {
				t.Fatal(err)
			}
			var config caddy.Config
			if err := json.Unmarshal([]byte(text), &config); err != nil {
				t.Fatal(err)
			}
			err = caddy.Validate(&config)
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want it to say %q", err, tc.says)
			}
		})
	}
}
