package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
)

// streamsOf opens one stream over each protocol.
func (w *streamWorld) streamsOf(token string) (streams []*bothEnds) {
	w.t.Helper()
	for _, transport := range w.protocols() {
		s := &bothEnds{w.open(transport, http.MethodGet, token), w.raw.Next(w.t)}
		s.pass("data: opened")
		streams = append(streams, s)
	}
	return streams
}

func passAll(streams []*bothEnds, event string) {
	for _, s := range streams {
		s.t.Helper()
		s.pass(event)
	}
}

// expectEnds asserts that all end well by a point in time, at the upstream too.
func expectEnds(t *testing.T, streams []*bothEnds, by time.Time) {
	t.Helper()
	for _, s := range streams {
		s.expectEnd(time.Until(by), true)
		gone(t, s.up)
	}
}

// Two edges of one site, behind one name, with one storage.
func TestARevocationOnOneEdgeEndsStreamsOnTheOther(t *testing.T) {
	t.Parallel()
	storage := t.TempDir()
	near := newStreamWorldAs(t, edge.Config{TLS: true, Storage: storage})
	far := near.in(t)
	far.startAs(edge.Config{TLS: true, Storage: storage, Site: near.site, IP: "127.0.0.2", Port: near.edge.Port()})
	if far.edge.URL() != near.edge.URL() {
		t.Fatalf("the edges are %s and %s", near.edge.URL(), far.edge.URL())
	}
	bob, _, _ := near.token(idp.Bob)
	others := append(near.streamsOf(bob), far.streamsOf(bob)...)
	for _, tc := range []struct {
		name    string
		at      *streamWorld // where the revocation is asked for
		another *streamWorld
	}{{"the second edge", far, near}, {"the first edge", near, far}} {
		alice, c, tokens := near.token(idp.Alice)
		streams := append(near.streamsOf(alice), far.streamsOf(alice)...)
		c.transport = tc.at.edge.Transport()
		revoked := time.Now()
		if a := c.revoke(tokens.RefreshToken); a.Status != http.StatusOK {
			t.Fatalf("%s answered a revocation with %d", tc.name, a.Status)
		}
		expectEnds(t, streams, revoked.Add(2*time.Second))
		t.Logf("a revocation at %s had ended all streams after %v", tc.name, time.Since(revoked))
		c.transport = tc.another.edge.Transport()
		c.mcp("/tools/mcp", alice).wantRefused(t, "a token that was revoked at "+tc.name)
		passAll(others, "data: the others go on")
	}
	for _, w := range []*streamWorld{near, far} {
		edge.Eventually(t, "the streams of the others are left", 5*time.Second, func() bool { return w.edge.Metric("caddy_mcp_auth_streams_open") == 3 })
		if n := w.edge.Metric(ended("revoked")); n != 6 {
			t.Errorf("%v streams of one edge were counted as revoked, want 6", n)
		}
	}
}

// A stream stays on the configuration that it was opened under; what ends streams comes later.
func TestStreamsOfOldConfigurationsEndAtRevocationExpiryAndExit(t *testing.T) {
	t.Parallel()
	const lifetime = 10 * time.Second
	w := newStreamWorldAs(t, edge.Config{TLS: true, Global: "grace_period 10s"}, "access_token_lifetime 10s", "streams {\n heartbeat 1s\n }")
	bob, _, _ := w.token(idp.Bob)
	expiring := w.streamsOf(bob)
	expires := time.Now().Add(lifetime)

	// From here on tokens live longer, and streams are left alone.
	site := replaceOnce(t, w.site, "access_token_lifetime 10s", "access_token_lifetime 1h")
	w.edge.Reload(site)
	alice, c, tokens := w.token(idp.Alice)
	revoked := w.streamsOf(alice)
	lasting, _, _ := w.token(idp.Alice)
	old := w.streamsOf(lasting)
	w.edge.Reload(replaceOnce(t, site, "heartbeat 1s", "heartbeat off"))
	recent := w.streamsOf(lasting)
	all := [][]*bothEnds{expiring, revoked, old, recent}
	for _, streams := range all {
		passAll(streams, "data: after the reloads")
	}
	for _, s := range old {
		s.expect(": keep-alive")
	}

	at := time.Now()
	if a := c.revoke(tokens.RefreshToken); a.Status != http.StatusOK {
		t.Fatalf("revoking was answered with %d", a.Status)
	}
	expectEnds(t, revoked, at.Add(2*time.Second))
	expectEnds(t, expiring, expires.Add(2*time.Second))
	for cause, want := range map[string]float64{"revoked": 3, "expired": 3} {
		edge.Eventually(t, "streams are counted as "+cause, 5*time.Second, func() bool { return w.edge.Metric(ended(cause)) == want })
	}
	passAll(old, "data: still there")
	passAll(recent, "data: still there")

	// What is none of the guard's streams holds up the exit, so that the metrics can still be read.
	holdup := &bothEnds{w.openAt(w.transport, http.MethodGet, "/open/events", lasting), w.raw.Next(t)}
	holdup.pass("data: 1")
	exit := time.Now()
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		w.edge.Stop()
	}()
	expectEnds(t, append(old, recent...), exit.Add(5*time.Second))
	t.Logf("the exit had ended all streams after %v", time.Since(exit))
	edge.Eventually(t, "the streams are counted as ended by the exit", 5*time.Second, func() bool {
		return w.edge.Metric(ended("exit")) == 6 && w.edge.Metric("caddy_mcp_auth_streams_open") == 0
	})
	holdup.pass("data: 2")
	holdup.up.End()
	holdup.expectEnd(5*time.Second, true)
	<-exited
	if took := time.Since(exit); took > 8*time.Second {
		t.Errorf("the exit took %v, although nothing was left of the streams", took)
	}
}
