package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestClientsOverEveryProtocolBehindAPrefix(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, true)
	for name, transport := range w.protocols() {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			for _, legacy := range []bool{false, true} {
				path := "/tools" + upstream.StreamablePath
				if legacy {
					path = "/tools" + upstream.SSEPath
				}
				seen := &protocols{next: transport}
				alice := newPerson(idp.Alice)
				alice.SetTransport(w.transport)
				client := w.mustConnect(path, alice, mcpclient.Options{LegacySSE: legacy, HTTP: &http.Client{Transport: seen}})
				var who upstream.Identity
				if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject || who.Authorization {
					t.Errorf("%s: whoami answered %+v, %v", path, who, err)
				}
				if err := client.Close(); err != nil {
					t.Errorf("%s: closing: %v", path, err)
				}
				if seen.other(name) {
					t.Errorf("%s: requests went over another protocol", path)
				}
			}
		})
	}
}

func TestTheLifeOfAStreamOverEveryProtocol(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, true, "streams {\n heartbeat 1s\n }")
	for name, transport := range w.protocols() {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+" "+method, func(t *testing.T) {
				w := w.in(t)
				token, c, tokens := w.token(idp.Alice)

				r := w.open(transport, method, token)
				up := w.raw.Next(t)
				if r.resp.Proto != name || r.resp.Header.Get("X-Accel-Buffering") != "no" || r.resp.Header.Get("Content-Encoding") != "" {
					t.Errorf("%s, %v", r.resp.Proto, r.resp.Header)
				}
				up.Write("data: 1\n\n")
				r.expect("data: 1")
				r.expect(": keep-alive") // from the edge: the upstream is silent
				up.Write("data: unfinished\n")
				r.expect("data: unfinished")
				w.edge.Reload(w.site)
				up.Write("data: 2\n\n")
				r.expect("data: 2")
				r.expect(": keep-alive") // the stream belongs to a configuration that is gone
				up.End()
				r.expectEnd(5*time.Second, true)

				killed := w.open(transport, method, token)
				up = w.raw.Next(t)
				up.Write("data: 1\n\n")
				killed.expect("data: 1")
				up.Kill()
				killed.expectEnd(5*time.Second, false)

				vanished := w.open(transport, method, token)
				up = w.raw.Next(t)
				vanished.leave()
				gone(t, up)

				revoked := w.open(transport, method, token)
				up = w.raw.Next(t)
				if a := c.revoke(tokens.RefreshToken); a.Status != http.StatusOK {
					t.Fatalf("revoking answered %d", a.Status)
				}
				revoked.expectEnd(2*time.Second, true)
				gone(t, up)
			})
		}
	}
	edge.Eventually(t, "no stream is left", 10*time.Second, func() bool { return w.edge.Metric("caddy_mcp_auth_streams_open") == 0 })
	for cause, least := range map[string]float64{"upstream": 12, "client": 6, "revoked": 6} {
		if n := w.edge.Metric(`caddy_mcp_auth_streams_ended_total{cause="` + cause + `"}`); n < least {
			t.Errorf("%v streams ended by %s, want at least %v, over all reloads", n, cause, least)
		}
	}
	if n := w.edge.Metric(`caddy_mcp_auth_tokens_issued_total{grant_type="authorization_code"}`); n < 6 {
		t.Errorf("%v tokens were counted", n)
	}
	if n := w.edge.Metric(`caddy_mcp_auth_signins_total{outcome="allowed"}`); n < 6 {
		t.Errorf("%v sign-ins were counted", n)
	}
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, true, "access_token_lifetime 8s", "streams {\n heartbeat 1s\n expiry_grace 1s\n }")
	token, _, _ := w.token(idp.Alice)
	issued := time.Now()
	var readers []*reader
	for _, transport := range w.protocols() {
		r := w.open(transport, http.MethodGet, token)
		w.raw.Next(t).Write("data: 1\n\n")
		r.expect("data: 1")
		readers = append(readers, r)
	}
	for _, r := range readers {
		r.expectEnd(20*time.Second, true)
	}
	if lived := time.Since(issued); lived < 4*time.Second || lived > 20*time.Second {
		t.Errorf("the streams lived for %v", lived)
	}
	if n := w.edge.Metric(`caddy_mcp_auth_streams_ended_total{cause="expired"}`); n != 3 {
		t.Errorf("%v streams were counted as expired", n)
	}
}

// Streams survive a reload, but not the end of the permission to have them.
func TestAReloadEndsTheStreamsOfWhomItShutsOut(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, true, "streams {\n heartbeat 1s\n }")
	alice, _, _ := w.token(idp.Alice)
	bob, _, _ := w.token(idp.Bob)
	for name, transport := range w.protocols() {
		out := w.open(transport, http.MethodGet, alice)
		up := w.raw.Next(t)
		stays := w.open(transport, http.MethodGet, bob)
		other := w.raw.Next(t)
		w.edge.Reload(replaceOnce(t, w.site, "allow domain example.com", "allow domain elsewhere.example"))
		out.expectEnd(20*time.Second, true)
		gone(t, up)
		other.Write("data: still here\n\n")
		stays.expect("data: still here")
		stays.leave()
		gone(t, other)
		w.edge.Reload(w.site)
		t.Logf("over %s", name)
	}
	if n := w.edge.Metric(`caddy_mcp_auth_streams_ended_total{cause="revoked"}`); n != 3 {
		t.Errorf("%v streams were counted as revoked, want 3", n)
	}
}

func TestLimitsOfStreamsAreForOnePersonAndForAll(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, false, "streams {\n max_per_user 2\n max 3\n }")
	alice, _, _ := w.token(idp.Alice)
	other, _, _ := w.token(idp.Alice) // of the same person
	bob, _, _ := w.token(idp.Bob)
	refuse := func(token, why string) {
		t.Helper()
		r := w.ask(nil, http.MethodGet, "/tools/raw/events", token)
		if r.resp.StatusCode != http.StatusTooManyRequests || r.resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: status %d, Retry-After %q", why, r.resp.StatusCode, r.resp.Header.Get("Retry-After"))
		}
		if w.raw.Opened() != 0 {
			t.Errorf("%s: the upstream was asked", why)
		}
	}
	first := w.open(nil, http.MethodGet, alice)
	up := w.raw.Next(t)
	w.open(nil, http.MethodPost, other)
	w.raw.Next(t)
	refuse(alice, "a third stream of one person")
	w.open(nil, http.MethodGet, bob)
	w.raw.Next(t)
	refuse(bob, "a fourth stream")
	first.leave()
	gone(t, up)
	edge.Eventually(t, "there is room again", 10*time.Second, func() bool { return w.edge.Metric("caddy_mcp_auth_streams_open") == 2 })
	w.open(nil, http.MethodGet, bob)
	w.raw.Next(t)
	if n := w.edge.Metric(`caddy_mcp_auth_requests_refused_total{reason="too_many_streams"}`); n != 2 {
		t.Errorf("%v refusals were counted, want 2", n)
	}
}

// protocols notes over what a client was answered.
type protocols struct {
	next http.RoundTripper
	seen []string
}

func (p *protocols) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := p.next.RoundTrip(r)
	if err == nil {
		p.seen = append(p.seen, resp.Proto)
	}
	return resp, err
}

func (p *protocols) other(want string) bool {
	for _, proto := range p.seen {
		if proto != want {
			return true
		}
	}
	return len(p.seen) == 0
}

// Directives in front of the guard may change the path; which resource it is is what the client asked for.
func TestARewriteBeforeTheGuardChangesNoResource(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	site := w.oidcSite()
	site = replaceOnce(t, site, "resource "+upstream.StreamablePath+" {", "resource /tools/* {")
	site = replaceOnce(t, site, "resource "+upstream.SSEPath+" "+upstream.MessagePath, "resource /other")
	w.start("\troute {\n\turi strip_prefix /tools\n" + site + "\t}\n")
	for _, legacy := range []bool{false, true} {
		path := "/tools" + upstream.StreamablePath
		if legacy {
			path = "/tools" + upstream.SSEPath
		}
		client := w.mustConnect(path, newPerson(idp.Alice), mcpclient.Options{LegacySSE: legacy})
		var who upstream.Identity
		if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject {
			t.Errorf("%s: whoami answered %+v, %v", path, who, err)
		}
	}
	c := w.newOAuthClient("/tools/mcp")
	tokens := c.signIn(newPerson(idp.Alice))
	c.mcp(upstream.StatelessPath, tokens.AccessToken).wantRefused(t, "a token of another resource")
	if a := c.mcp("/tools"+upstream.StatelessPath, tokens.AccessToken); a.Status != http.StatusOK {
		t.Errorf("the path that was asked for was answered with %d", a.Status)
	}
}
