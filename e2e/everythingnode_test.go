package e2e

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
)

func (w *everythingWorld) useWithTypeScript(sdk string) {
	t := w.t
	alice := newPerson(idp.Alice)
	alice.SetTransport(w.transport)
	var results []struct {
		Echo, Long, Sampled, Logged, Resumed, Session, Afterwards string

		Progress []int
		Asked    []string
		SignIns  int
	}
	type server struct {
		URL    string `json:"url"`
		Legacy bool   `json:"legacy"`
	}
	servers := []server{
		{w.url("/mcp"), false}, {w.url(streamablePrefix + "/mcp"), false}, {w.url("/sse"), true}, {w.url(legacyPrefix + "/sse"), true},
	}
	w.nodeClient(alice, "everything.mjs", map[string]any{"sdk": sdk, "redirectURI": mcpclient.RedirectURI, "servers": servers}, &results)
	if len(results) != len(servers) {
		t.Fatalf("%d results, want %d", len(results), len(servers))
	}
	for i, got := range results {
		progress := []string{"[1 2 3]"}
		if servers[i].Legacy {
			// These SDKs forget a report that the answer follows in the same piece, without an edge too.
			progress = append(progress, "[1 2]")
		}
		if got.Echo != "Echo: hello" || !strings.Contains(got.Long, "Steps: 3") || !slices.Contains(progress, fmt.Sprint(got.Progress)) ||
			!strings.Contains(got.Sampled, "forty-two") || len(got.Asked) != 1 || got.Logged == "" || got.SignIns != 1 {
			t.Errorf("%s: %+v", servers[i].URL, got)
		}
		if servers[i].Legacy {
			continue
		}
		if !strings.Contains(got.Resumed, "Duration: 0.3 seconds") || !strings.Contains(got.Session, ".") || got.Afterwards == "" {
			t.Errorf("%s: %+v", servers[i].URL, got)
		}
		id, _, _ := strings.Cut(got.Session, ".")
		want := "Received session termination request for session " + id
		if lines := w.streamable.Logs().LinesWith(want); len(lines) != 1 || lines[0] != want {
			t.Errorf("the server logged %q, want %q", lines, want)
		}
	}
}
