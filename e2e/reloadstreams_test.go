package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// Streams outlive a reload, but not what the configuration allowed before it. For a service token, which
// nobody can revoke, taking it out is the only way to end what is open.
func TestAReloadEndsTheStreamsOfThoseWhoAreLetGo(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false)
	const token = "token ci {\n\t\t\tvalue {env.CI_TOKEN}\n\t\t}\n\t\tallow email"
	w.edge.Stop()
	w.site = replaceOnce(t, w.site, "allow email", token)
	w.startAs(edge.Config{Site: w.site, Env: map[string]string{"CI_TOKEN": ciToken}})

	streams, ups := map[string]*reader{}, map[string]*upstream.Stream{}
	open := func(who, token string) {
		streams[who] = w.open(nil, http.MethodGet, token)
		ups[who] = w.raw.Next(t)
		ups[who].Write("data: " + who + "\n\n")
		streams[who].expect("data: " + who)
	}
	open("ci", ciToken)
	alice, _, _ := w.token(idp.Alice)
	open("alice", alice)
	bob, _, _ := w.token(idp.Bob)
	open("bob", bob)

	w.edge.Reload(w.site)
	w.edge.Reload(replaceOnce(t, w.site, token, "allow email"))
	streams["ci"].expectEnd(2*time.Second, true)
	w.edge.Reload(replaceOnce(t, replaceOnce(t, w.site, token, "allow email"), "allow domain example.com", ""))
	streams["alice"].expectEnd(2*time.Second, true)
	// Who may stay does.
	ups["bob"].Write("data: still there\n\n")
	streams["bob"].expect("data: still there")
}
