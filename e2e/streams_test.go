package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestTheLifeOfAStreamOverEveryProtocol(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, true, "streams {\n heartbeat 1s\n }")
	bob, _, _ := w.token(idp.Bob)
	for name, transport := range w.protocols() {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(name+" "+method, func(t *testing.T) {
				w := w.in(t)
				token, c, tokens := w.token(idp.Alice)
				other := &bothEnds{w.open(transport, http.MethodGet, bob), w.raw.Next(t)}

				s := &bothEnds{w.open(transport, method, token), w.raw.Next(t)}
				if s.resp.Proto != name || s.resp.Header.Get("X-Accel-Buffering") != "no" || s.resp.Header.Get("Content-Encoding") != "" {
					t.Errorf("%s, %v", s.resp.Proto, s.resp.Header)
				}
				s.pass("data: 1")
				s.expect(": keep-alive") // from the edge: the upstream is silent
				s.up.Write("data: unfinished\n")
				s.expect("data: unfinished")
				w.edge.Reload(w.site)
				s.up.Write("data: 2\n\n")
				s.expect("data: 2")
				s.expect(": keep-alive") // the stream belongs to a configuration that is gone
				w.cut(other, s, cut{"upstream", true, s.up.End})

				open := func() *bothEnds { return &bothEnds{w.open(transport, method, token), w.raw.Next(t)} }
				s = open()
				w.cut(other, s, cut{"upstream", false, s.up.Kill})
				s = open()
				w.cut(other, s, cut{"client", false, s.leave})
				s = open()
				w.cut(other, s, cut{"revoked", true, func() {
					if a := c.revoke(tokens.RefreshToken); a.Status != http.StatusOK {
						t.Errorf("revoking was answered with %d", a.Status)
					}
				}})
				w.cut(nil, other, cut{"upstream", true, other.up.End})
			})
		}
	}
	for cause, want := range map[string]float64{"upstream": 18, "client": 6, "revoked": 6} {
		if n := w.edge.Metric(ended(cause)); n != want {
			t.Errorf("%v streams ended by %s, want %v, over all reloads", n, cause, want)
		}
	}
	if n := w.edge.Metric(`caddy_mcp_auth_tokens_issued_total{grant_type="authorization_code"}`); n != 7 {
		t.Errorf("%v tokens were counted, want 7", n)
	}
	if n := w.edge.Metric(`caddy_mcp_auth_signins_total{outcome="allowed"}`); n != 7 {
		t.Errorf("%v sign-ins were counted, want 7", n)
	}
}

// A stream that is compressed on the way and ended early would be broken off in the middle of the compressed data.
func TestNoStreamIsCompressedOnTheWayWithoutHeartbeatsEither(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, true, "streams {\n heartbeat off\n }")
	for name, transport := range w.protocols() {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			token, c, tokens := w.token(idp.Alice)
			s := &bothEnds{w.open(transport, method, token), w.raw.Next(t)}
			if got := s.resp.Header; got.Get("Content-Encoding") != "" || !strings.Contains(got.Get("Cache-Control"), "no-transform") {
				t.Errorf("%s %s: %v", name, method, got)
			}
			w.cut(nil, s, cut{"revoked", true, func() { c.revoke(tokens.RefreshToken) }})
		}
	}
}

func TestClientsThatVanishLeaveNothingOpen(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, true, "streams {\n heartbeat 1s\n }")
	token, _, _ := w.token(idp.Alice)
	other := &bothEnds{w.open(w.transport, http.MethodGet, token), w.raw.Next(t)}
	over := make(map[string][]*bothEnds)
	var vanish []func()
	for name := range w.protocols() {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			transport, v := w.vanishing(name)
			s := &bothEnds{w.open(transport, method, token), w.raw.Next(t)}
			if s.resp.Proto != name {
				t.Errorf("a stream came over %s instead of %s", s.resp.Proto, name)
			}
			s.pass("data: 1")
			over[name], vanish = append(over[name], s), append(vanish, v)
		}
	}
	for _, v := range vanish {
		v()
	}
	for _, s := range slices.Concat(over["HTTP/1.1"], over["HTTP/2.0"]) {
		gone(t, s.up)
	}
	edge.Eventually(t, "the streams over TCP are closed", 5*time.Second, func() bool { return w.edge.Metric("caddy_mcp_auth_streams_open") <= 3 })
	// What is sent to a client that has fallen silent is not acknowledged. QUIC waits once more from there.
	edge.Eventually(t, "the streams over QUIC are closed", quicPatience+5*time.Second, func() bool { return w.edge.Metric("caddy_mcp_auth_streams_open") == 1 })
	for _, s := range over["HTTP/3.0"] {
		gone(t, s.up)
	}
	other.pass("data: the other stream goes on")
	if n := w.edge.Metric(ended("client")); n != 6 {
		t.Errorf("%v streams were counted as ended by the client, want 6", n)
	}
}

func TestAStreamEndsWithItsTokenOrAfterItsGrace(t *testing.T) {
	t.Parallel()
	// The grace is longer than what a machine may be late, and the life than what it takes to open three streams.
	const lifetime, grace, late = 8 * time.Second, 7 * time.Second, 6 * time.Second
	var all sync.WaitGroup
	for option, grace := range map[string]time.Duration{"": 0, "expiry_grace " + grace.String(): grace} {
		w := newStreamWorld(t, true, fmt.Sprintf("access_token_lifetime %s", lifetime), "streams {\n heartbeat 1s\n "+option+"\n }")
		before := time.Now()
		token, _, _ := w.token(idp.Alice)
		issued := time.Now()
		for name, transport := range w.protocols() {
			s := &bothEnds{w.open(transport, http.MethodGet, token), w.raw.Next(t)}
			s.pass("data: 1")
			all.Go(func() {
				s.expectEnd(40*time.Second, true)
				now := time.Now()
				// Expiry is a whole second.
				if now.Before(before.Add(lifetime+grace-time.Second)) || now.After(issued.Add(lifetime+grace+late)) {
					t.Errorf("%s: with %v of grace the stream of a token for %v ended after %v", name, grace, lifetime, now.Sub(issued))
				}
				gone(t, s.up)
			})
		}
		all.Go(func() {
			edge.Eventually(t, "no stream is left", 40*time.Second, func() bool { return w.edge.Metric("caddy_mcp_auth_streams_open") == 0 })
			if n := w.edge.Metric(ended("expired")); n != 3 {
				t.Errorf("%v streams were counted as expired, want 3", n)
			}
		})
	}
	all.Wait()
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
