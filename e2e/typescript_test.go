package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// The official TypeScript SDKs: most MCP clients are made of one of them.
func TestTheTypeScriptSDKsConnectAndRefresh(t *testing.T) {
	t.Parallel()
	const document = "https://client.example/oauth/metadata.json"
	npmPackages(t)
	w := newWorld(t, pinnedDocuments(t))
	for _, tc := range []struct {
		name, sdk, path string
		legacy          bool
		document        string
		protocol        string
	}{
		{name: "version 1 over Streamable HTTP", sdk: "v1", path: upstream.StreamablePath},
		{name: "version 1 over HTTP+SSE", sdk: "v1", path: upstream.SSEPath, legacy: true},
		{name: "version 2 over Streamable HTTP", sdk: "v2", path: upstream.StreamablePath},
		{name: "version 2 with the protocol negotiated", sdk: "v2", path: upstream.StatelessPath, protocol: "auto"},
		{name: "version 2 over HTTP+SSE", sdk: "v2", path: upstream.SSEPath, legacy: true},
		{name: "version 1 with a metadata document", sdk: "v1", path: upstream.StreamablePath, document: document},
		{name: "version 2 with a metadata document", sdk: "v2", path: upstream.StreamablePath, document: document},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := *w
			w.t = t
			var got struct {
				Tools              []string
				Before, After      upstream.Identity
				Client             string
				SignIns, Refreshes int
				Invalidated        []string
			}
			w.nodeClient(newPerson(idp.Alice), "connect.mjs", map[string]any{
				"sdk": tc.sdk, "url": w.url(tc.path), "legacy": tc.legacy, "redirectURI": mcpclient.RedirectURI,
				"clientMetadataURL": tc.document, "protocol": tc.protocol,
			}, &got)
			want := upstream.Identity{User: idp.Alice.Subject, Email: idp.Alice.Email, Groups: "engineering"}
			if got.Before != want || got.After != want {
				t.Errorf("the server saw %+v, after the refresh %+v; want %+v", got.Before, got.After, want)
			}
			if !slices.Contains(got.Tools, "whoami") {
				t.Errorf("the tools are %q", got.Tools)
			}
			if got.SignIns != 1 || got.Refreshes != 1 || len(got.Invalidated) != 0 {
				t.Errorf("%d sign-ins and %d refreshes, want one of each; the SDK forgot %q", got.SignIns, got.Refreshes, got.Invalidated)
			}
			if tc.protocol != "" && !slices.ContainsFunc(w.up.Seen(), func(seen upstream.Seen) bool {
				return seen.Path == tc.path && seen.Header.Get("MCP-Protocol-Version") == "2026-07-28" && seen.Header.Get("Mcp-Method") == "tools/call"
			}) {
				t.Error("no call of revision 2026-07-28 reached the server")
			}
			if tc.document != "" && got.Client != tc.document || tc.document == "" && !strings.HasPrefix(got.Client, "mcpid_") {
				t.Errorf("the client's id is %q", got.Client)
			}
		})
	}
}
