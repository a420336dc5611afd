package e2e

import (
	"fmt"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// everythingWorld is a world with the official reference server behind its edge, in both its modes, each
// at its own paths and below a prefix that is taken off; /apps/raw is an upstream that the test writes.
type everythingWorld struct {
	*streamWorld
	streamable, legacy *upstream.Everything
}

// The prefixes below which the modes are reached.
const (
	streamablePrefix = "/apps/everything"
	legacyPrefix     = "/apps/legacy"
)

func newEverythingWorld(t *testing.T, extra ...string) *everythingWorld {
	t.Helper()
	npm := npmPackages(t)
	w := &everythingWorld{streamable: upstream.StartEverything(t, npm, "streamableHttp"), legacy: upstream.StartEverything(t, npm, "sse")}
	w.streamWorld = &streamWorld{world: prepareWorld(t), raw: upstream.StartRaw(t)}
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.site = "\tencode zstd gzip\n" + w.guard(append(extra, "resource /apps/*", "resource /mcp", "resource /sse /message")...) + fmt.Sprintf(`	handle_path /apps/raw/* {
		reverse_proxy %s
	}
	handle_path %s/* {
		reverse_proxy %s
	}
	handle_path %s/* {
		reverse_proxy %[5]s
	}
	handle /mcp {
		reverse_proxy %[3]s
	}
	handle {
		reverse_proxy %[5]s
	}
`, w.raw.Addr(), streamablePrefix, w.streamable.Addr(), legacyPrefix, w.legacy.Addr())
	w.startAs(edge.Config{Site: w.site, TLS: true})
	w.transport = w.edge.Transport()
	return w
}
