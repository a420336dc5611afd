package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestAClientThatKnowsOnlyTheAddressSignsInAndCallsTools(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tc := range []struct {
		name, path string
		legacy     bool
	}{
		{"Streamable HTTP with sessions", upstream.StreamablePath, false},
		{"Streamable HTTP without sessions", upstream.StatelessPath, false},
		{"HTTP+SSE", upstream.SSEPath, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := *w
			w.t = t
			gate := tc.path
			client := w.mustConnect(tc.path, newPerson(idp.Alice), mcpclient.Options{
				LegacySSE:  tc.legacy,
				OnProgress: func(*mcp.ProgressNotificationParams) { w.up.Open(gate) },
			})
			var who upstream.Identity
			if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
				t.Fatal(err)
			}
			want := upstream.Identity{User: idp.Alice.Subject, Email: idp.Alice.Email, Groups: "engineering"}
			if who != want {
				t.Errorf("the server saw %+v, want %+v", who, want)
			}
			var text string
			if err := client.Call(w.ctx, "echo", map[string]any{"text": "hello"}, &text); err != nil || text != "hello" {
				t.Errorf("echo answered %q, %v", text, err)
			}
			err := client.Call(w.ctx, "slow", map[string]any{"steps": 2, "gate": gate}, &text)
			if err != nil || text != "2 steps done" {
				t.Errorf("slow answered %q, %v", text, err)
			}
			if n := client.SignIns(); n != 1 {
				t.Errorf("signed in %d times, want once", n)
			}
		})
	}
}

func TestASecondServerOfTheSameSiteNeedsNoSecondPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := newPerson(idp.Alice)
	w.mustConnect(upstream.StreamablePath, alice, mcpclient.Options{})
	w.mustConnect(upstream.StatelessPath, alice, mcpclient.Options{})
	if n := w.idp.Logins(); n != 1 {
		t.Errorf("%d passwords were asked for, want 1", n)
	}
	consents := 0
	for _, p := range alice.seen {
		if atConsent(p) {
			consents++
		}
	}
	if consents != 2 {
		t.Errorf("%d consent pages, want one for each client and server", consents)
	}
}

func TestAForgedIdentityNeverReachesTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const forged = "sub-forged"
	header := http.Header{"Connection": {"close, X-Forwarded-User, X-Forwarded-Email"}}
	for _, name := range []string{
		"X-Forwarded-User", "x-forwarded-user", "X_Forwarded_User", "X-Forwarded_User", "X.Forwarded.User",
		"X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
		"X-Auth-Request-User", "X-Auth-Request-Email", "Remote-User", "X-Remote-User", "X-User",
		"X-Goog-Authenticated-User-Email", "Tailscale-User-Login",
	} {
		header[name] = []string{forged, forged}
	}
	client := w.mustConnect(upstream.StreamablePath, newPerson(idp.Alice), mcpclient.Options{Header: header})
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
		t.Fatal(err)
	}
	if who.User != idp.Alice.Subject || who.Email != idp.Alice.Email || who.Authorization {
		t.Errorf("the server saw %+v", who)
	}
	for _, seen := range w.up.Seen() {
		identity := 0
		for name, values := range seen.Header {
			for _, v := range values {
				if strings.Contains(v, forged) && name != "X-User" { // not a name that anybody reserves
					t.Errorf("%s %s arrived with %s: %s", seen.Method, seen.Path, name, v)
				}
			}
			if name == "X-Forwarded-User" {
				identity = len(values)
			}
		}
		if identity != 1 || seen.Header.Get("X-Forwarded-User") != idp.Alice.Subject {
			t.Errorf("%s %s arrived with %d values of X-Forwarded-User", seen.Method, seen.Path, identity)
		}
	}
	if len(w.up.Seen()) == 0 {
		t.Error("nothing arrived")
	}
}

func TestARequestWithoutATokenIsToldWhereToGetOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StreamablePath)
	for _, path := range []string{upstream.StreamablePath, upstream.StatelessPath, upstream.SSEPath} {
		a := c.mcp(path, "")
		challenge := a.Header.Get("WWW-Authenticate")
		metadata := w.edge.URL() + "/.well-known/oauth-protected-resource" + path
		if a.Status != http.StatusUnauthorized || !strings.HasPrefix(challenge, "Bearer ") ||
			!strings.Contains(challenge, `resource_metadata="`+metadata+`"`) || strings.Contains(challenge, "error=") {
			t.Errorf("%s: %d, WWW-Authenticate: %s", path, a.Status, challenge)
		}
	}
	for _, path := range []string{
		"/.well-known/oauth-protected-resource/mcp", "/mcp/.well-known/oauth-protected-resource",
		"/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/mcp",
		"/.well-known/openid-configuration", "/.well-known/openid-configuration/mcp", "/mcp/.well-known/openid-configuration",
	} {
		a := c.do(http.MethodGet, path, nil, nil)
		if a.Status != http.StatusOK || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") ||
			!strings.Contains(string(a.Body), w.edge.URL()) || strings.Contains(string(a.Body), "null") {
			t.Errorf("%s: %d %s %.300s", path, a.Status, a.Header.Get("Content-Type"), a.Body)
		}
	}
	if n := len(w.up.Seen()); n != 0 {
		t.Errorf("%d requests reached the server without a token", n)
	}
}

func TestDenialAtConsentIsToldToTheClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StreamablePath)
	alice := newPerson(idp.Alice)
	alice.decision = "deny"
	page, err := alice.walk(w.ctx, c.open(alice), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !page.Landed {
		t.Fatalf("the browser was left at %s: %s", page.URL, page.Text)
	}
	q := page.URL.Query()
	want := url.Values{"error": {"access_denied"}, "state": {c.state}, "iss": {w.edge.URL()}}
	for name := range want {
		if q.Get(name) != want.Get(name) {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want.Get(name))
		}
	}
	if q.Has("code") || w.idp.Logins() != 0 {
		t.Error("a denial led on to a code or to the sign-in")
	}
}

func TestSomebodyWhoMayNotComeInIsToldSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tc := range []struct {
		name string
		user idp.User
		says string
	}{
		{"an address of another domain", idp.Bob, idp.Bob.Email},
		{"an address that the provider has not verified", idp.Mallory, "not verified"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := w.newOAuthClient(upstream.StreamablePath)
			p := newPerson(tc.user)
			page, err := p.walk(w.ctx, c.open(p), nil)
			if err != nil {
				t.Fatal(err)
			}
			if page.Landed {
				t.Fatalf("the browser was sent to the client: %s", page.URL.Redacted())
			}
			if page.Status != http.StatusForbidden || !strings.Contains(page.Text, tc.says) {
				t.Errorf("status %d, the page says: %s", page.Status, page.Text)
			}
			wantReadablePage(t, page, http.StatusForbidden)
		})
	}
}
