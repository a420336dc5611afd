package portal

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func TestThePageShowsWhatIsThePersons(t *testing.T) {
	w := newWorld(t)
	w.connect(alice, "one", "https://claude.ai/oauth/client.json", github)
	w.connect(alice, "two", "dcr-0123456789abcdef", linear)
	w.connect(alice, "three", "three", linear)
	w.connect(bob, "theirs", "theirs", linear)
	if err := w.Vault.RecordSignIn(t.Context(), alice.Key(), sessions.SignIn{At: w.now, ClientAddr: "203.0.113.9", ClientName: "Inspector"}); err != nil {
		t.Fatal(err)
	}
	b := w.signIn(alice)
	w.signIn(alice)
	a := b.get(home)
	if a.status != http.StatusOK || a.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, Cache-Control %q", a.status, a.header.Get("Cache-Control"))
	}
	for _, text := range []string{
		"alice@example.com", "Alice", "Example ID", "App one", "App two", "App three", "GitHub tools", linear, "repo:read",
		"Verified host", "claude.ai", "It registered itself", "Set up by the people", "198.51.100.7", "app.example",
		"Firefox on Linux", "This browser", "203.0.113.9", "Inspector", "/oauth2/logout",
	} {
		if !strings.Contains(a.body, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	for _, text := range []string{"App theirs", "bob@example.com", "is disconnected"} {
		if strings.Contains(a.body, text) {
			t.Errorf("the page has %q", text)
		}
	}
	if n := strings.Count(a.body, `value="disconnect"`); n != 3 {
		t.Errorf("%d buttons to disconnect, want 3", n)
	}
	if n := strings.Count(a.body, `value="end_browser"`); n != 1 {
		t.Errorf("%d buttons to sign a browser out, want one for the other", n)
	}
}

// The label is all that a grant keeps of where its client comes from.
func TestOriginsFollowFromLabels(t *testing.T) {
	dynamic := clients.Client{ID: "mcpid_x", Source: clients.Dynamic}
	document := clients.Client{ID: "https://claude.ai/client.json", Source: clients.MetadataDocument}
	for _, tc := range []struct {
		label string
		want  pages.AppOrigin
		host  string
	}{
		{dynamic.Label(), pages.SelfRegistered, ""},
		{document.Label(), pages.VerifiedHost, document.VerifiedHost()},
		{"https://agents.example:8443/c", pages.VerifiedHost, "agents.example:8443"},
		{"inspector", pages.SetUpByOperator, ""},
		{"http://claude.ai/client.json", pages.SetUpByOperator, ""},
		{"", pages.SelfRegistered, ""},
	} {
		if origin, host := originOf(tc.label); origin != tc.want || host != tc.host {
			t.Errorf("originOf(%q) is %v, %q", tc.label, origin, host)
		}
	}
}

func TestOnlySignedInPeopleSeeThePage(t *testing.T) {
	w := newWorld(t)
	stranger := &browser{w: w, cookies: map[string]string{}}
	for _, path := range []string{home, tokens} {
		if a := stranger.get(path); a.body != "please sign in" {
			t.Errorf("%s: status %d\n%s", path, a.status, a.body)
		}
		a := stranger.post(path, url.Values{"ticket": {"x"}, "do": {"disconnect_all"}})
		if a.status != http.StatusForbidden || !strings.Contains(a.body, "You are signed out") {
			t.Errorf("%s: status %d\n%s", path, a.status, a.body)
		}
	}
	w.store.down = map[string]bool{"List": true}
	for _, path := range []string{home, tokens} {
		if a := w.signIn(alice).get(path); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s while the store is down: status %d", path, a.status)
		}
	}
}

func TestOtherPathsAreNoEndpoints(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"", "/", "/my/", "/My", "//my", "/my/tokens/", "/my/token", "/mytokens", "/my/../my"} {
		if w.Endpoint(path) != nil {
			t.Errorf("%q is an endpoint", path)
		}
	}
	b := w.signIn(alice)
	if a := b.send(httptest.NewRequest("DELETE", origin+home, nil)); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
		t.Errorf("DELETE: status %d, Allow %q", a.status, a.header.Get("Allow"))
	}
	if a := b.send(httptest.NewRequest("HEAD", origin+home, nil)); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD: status %d with %d bytes", a.status, len(a.body))
	}
}

func TestNoticesAreThoseOfThePage(t *testing.T) {
	b := newWorld(t).signIn(alice)
	if a := b.get(home + "?done=withdrawn"); !strings.Contains(a.body, "You will be asked again") {
		t.Errorf("no notice\n%s", a.body)
	}
	for _, query := range []string{"done=You+won", "done=%3Cb%3E", "done=withdrawn&done=disconnected", "done=%zz", "notice=withdrawn"} {
		if a := b.get(home + "?" + query); strings.Contains(a.body, `role="status"`) || strings.Contains(a.body, "You won") {
			t.Errorf("%s: a notice", query)
		}
	}
}

func TestManyApplications(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		w.connect(alice, fmt.Sprint("many-", i), "dcr-"+fmt.Sprint(i), github)
	}
	b := w.signIn(alice)
	if n := strings.Count(b.get(home).body, `value="disconnect"`); n != 50 {
		t.Errorf("%d of 50 applications are there", n)
	}
	b.post(home, url.Values{"do": {"disconnect_all"}}).wantBack(t, "/my?done=all_disconnected")
	w.wantGrants(alice, 0, 0)
	if n := len(w.of(audit.Revocation)); n != 50 {
		t.Errorf("%d revocations were recorded", n)
	}
}
