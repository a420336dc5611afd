package credentials

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func TestATokenIsRefreshedBeforeItEnds(t *testing.T) {
	w := newWorld(t)
	w.connect(alice, w.linear)
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-1" {
		t.Fatalf("%q", got)
	}
	w.clock.Advance(time.Hour - maxMargin - time.Second)
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-1" {
		t.Errorf("too early: %q", got)
	}
	w.clock.Advance(2 * time.Second)
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-2" {
		t.Errorf("%q", got)
	}
	if form := w.server.forms[1]; form.Get("refresh_token") != "refresh-1" || form.Get("client_secret") != "" {
		t.Errorf("the server was sent %v", form)
	}
	// The rotated refresh token was kept.
	w.clock.Advance(time.Hour)
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-3" || w.server.reuse {
		t.Errorf("%q, reused %t", got, w.server.reuse)
	}
}

// Of any number of calls on any number of replicas one refreshes: a server that rotates refresh tokens takes
// a second use for theft, and ends everything.
func TestARefreshHappensOnceForAllReplicas(t *testing.T) {
	w := newWorld(t)
	w.connect(alice, w.linear)
	replicas := []*Keeper{w.Keeper, w.replica(), w.replica()}
	w.clock.Advance(time.Hour)
	hold := make(chan struct{})
	w.server.set(func(s *authServer) { s.hold = hold })
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			if held, err := replicas[i%len(replicas)].Use(t.Context(), alice, w.linear); err != nil || held.value != "Bearer access-2" {
				t.Errorf("%q, %v", held.value, err)
			}
		})
	}
	close(hold)
	all.Wait()
	if n := w.server.asked("refresh_token"); n != 1 || w.server.reuse {
		t.Errorf("%d refreshes, reused %t", n, w.server.reuse)
	}
}

func TestARefreshThatIsRefusedEndsTheCredential(t *testing.T) {
	w := newWorld(t)
	other := w.replica()
	w.connect(alice, w.linear)
	value(t, other, alice, w.linear)
	w.server.set(func(s *authServer) { s.refresh = "none" })
	w.clock.Advance(time.Hour)
	wantUse(t, w.Keeper, alice, w.linear, ErrEnded)
	wantUse(t, w.Keeper, alice, w.linear, ErrEnded)
	hear(t, other)
	wantUse(t, other, alice, w.linear, ErrEnded)
	if n := w.server.asked("refresh_token"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if state, err := w.State(t.Context(), alice, w.linear); err != nil || !state.Stored || !state.Ended {
		t.Errorf("State: %+v, %v", state, err)
	}
	c, err := w.Vault.LoadCredential(t.Context(), alice.Key(), linearURI)
	if err != nil || c.Secret != "" || c.Refresh != "" {
		t.Errorf("what is left: %+v, %v", c, err)
	}
	events := w.trail.all()
	want := audit.Event{
		Type: audit.CredentialRefresh, Reason: "the authorization server refused to refresh it",
		Subject: "alice", Email: "alice@example.com", Resource: linearURI,
	}
	if len(events) != 1 || events[0] != want {
		t.Errorf("audited: %+v", events)
	}
	w.connect(alice, w.linear)
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-2" {
		t.Errorf("connected again: %q", got)
	}
}

func TestARefreshWhileTheServerIsDown(t *testing.T) {
	w := newWorld(t)
	w.connect(alice, w.linear)
	w.server.set(func(s *authServer) { s.status = http.StatusBadGateway })
	w.clock.Advance(time.Hour - maxMargin + time.Second)
	for range 10 {
		if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-1" {
			t.Errorf("still good, but %q", got)
		}
	}
	if n := w.server.asked("refresh_token"); n != 1 {
		t.Errorf("asked %d times within five seconds", n)
	}
	w.clock.Advance(maxMargin)
	wantUse(t, w.Keeper, alice, w.linear, ErrServerDown)
	w.clock.Advance(retryPause)
	w.server.set(func(s *authServer) { s.status = 0 })
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-2" {
		t.Errorf("after the outage: %q", got)
	}
}

// A person who disconnects while a refresh is under way is disconnected, and what the refresh brought is
// revoked.
func TestDisconnectingWhileARefreshIsUnderWay(t *testing.T) {
	w := newWorld(t)
	w.connect(alice, w.linear)
	w.clock.Advance(time.Hour)
	hold := make(chan struct{})
	w.server.set(func(s *authServer) { s.hold = hold })
	done := make(chan error)
	go func() {
		_, err := w.Use(t.Context(), alice, w.linear)
		done <- err
	}()
	waitFor(t, func() bool {
		c, err := w.Vault.LoadCredential(t.Context(), alice.Key(), linearURI)
		return err == nil && !c.AskedAt.IsZero()
	})
	if _, err := w.Remove(t.Context(), alice, w.linear); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if err := <-done; err != ErrMissing {
		t.Errorf("Use: %v", err)
	}
	wantUse(t, w.Keeper, alice, w.linear, ErrMissing)
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for _, token := range []string{"access-1", "refresh-1", "access-2", "refresh-2"} {
		if !slices.Contains(w.server.revoked, token) {
			t.Errorf("%s lives on; revoked: %v", token, w.server.revoked)
		}
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); {
		if time.Now().After(deadline) {
			t.Fatal("waited for too long")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRenewAfterTheUpstreamRefused(t *testing.T) {
	w := newWorld(t)
	w.server.set(func(s *authServer) { s.life = 0 }) // nobody says when tokens end
	w.connect(alice, w.linear)
	held, err := w.Use(t.Context(), alice, w.linear)
	if err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Second)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if renewed, err := w.Renew(t.Context(), alice, w.linear, held); err != nil || renewed.value != "Bearer access-2" {
				t.Errorf("%q, %v", renewed.value, err)
			}
		})
	}
	all.Wait()
	if n := w.server.asked("refresh_token"); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-2" {
		t.Errorf("kept: %q", got)
	}
	// A token that is as fresh as that is refused for another reason than its age.
	if held, err = w.Use(t.Context(), alice, w.linear); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Renew(t.Context(), alice, w.linear, held); err != ErrRejected {
		t.Errorf("right after a refresh: %v", err)
	}
	w.clock.Advance(rejectedPause)
	if renewed, err := w.Renew(t.Context(), alice, w.linear, held); err != nil || renewed.value != "Bearer access-3" {
		t.Errorf("later: %q, %v", renewed.value, err)
	}

	w.typeIn(alice, w.github, "ghp_old")
	held, err = w.Use(t.Context(), alice, w.github)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Renew(t.Context(), alice, w.github, held); err != ErrRejected {
		t.Errorf("a typed token: %v", err)
	}
	w.typeIn(alice, w.github, "ghp_new")
	if renewed, err := w.Renew(t.Context(), alice, w.github, held); err != nil || renewed.value != "Bearer ghp_new" {
		t.Errorf("a typed token that was replaced meanwhile: %q, %v", renewed.value, err)
	}
}

func TestATokenThatCannotBeRefreshedIsGoodToItsEnd(t *testing.T) {
	w := newWorld(t)
	if _, err := w.put(t.Context(), alice, w.linear, oauthclient.Tokens{Access: "short", Expires: w.clock.Now().Add(time.Hour)}, w.server.URL); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour - time.Second)
	before := w.store.count()
	for range 10 {
		if got := value(t, w.Keeper, alice, w.linear); got != "Bearer short" {
			t.Errorf("%q", got)
		}
	}
	if n := w.store.count() - before; n > 1 {
		t.Errorf("%d reads", n)
	}
	w.clock.Advance(time.Second)
	wantUse(t, w.Keeper, alice, w.linear, ErrEnded)
	if state, err := w.State(t.Context(), alice, w.linear); err != nil || !state.Ended {
		t.Errorf("State: %+v, %v", state, err)
	}
	if w.server.asked("refresh_token") != 0 {
		t.Error("the server was asked without a refresh token")
	}
}

// A replica that died while it refreshed must not keep the others from it for ever.
func TestAClaimThatWasNotFollowedUp(t *testing.T) {
	w := newWorld(t)
	w.connect(alice, w.linear)
	w.clock.Advance(time.Hour)
	if _, err := w.Vault.UpdateCredential(t.Context(), alice.Key(), linearURI, time.Hour, func(c *sessions.Credential) error {
		c.AskedAt = w.clock.Now()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := w.Use(t.Context(), alice, w.linear)
		done <- err
	}()
	w.clock.Advance(refreshLease)
	if err := <-done; err != nil && err != ErrServerDown {
		t.Errorf("while it was claimed: %v", err)
	}
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-2" {
		t.Errorf("%q", got)
	}
}

func TestRemovingRevokesThere(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(*authServer)
		untold  bool
		revoked []string
	}{
		{"with a revocation endpoint", func(*authServer) {}, false, []string{"refresh-1", "access-1"}},
		{"without", func(s *authServer) {
			document := s.metadata()
			delete(document, "revocation_endpoint")
			s.documents["/.well-known/oauth-authorization-server"] = document
		}, true, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.server.set(tc.prepare)
			w.connect(alice, w.linear)
			removal, err := w.Remove(t.Context(), alice, w.linear)
			if err != nil || removal != (Removal{Found: true, Untold: tc.untold}) {
				t.Errorf("Remove: %+v, %v", removal, err)
			}
			w.server.mu.Lock()
			defer w.server.mu.Unlock()
			if !slices.Equal(w.server.revoked, tc.revoked) {
				t.Errorf("revoked %v, want %v", w.server.revoked, tc.revoked)
			}
		})
	}
}

// The server that is gone cannot be told, and that must not keep anybody from removing what is here.
func TestRemovingWhileTheServerIsGone(t *testing.T) {
	w := newWorld(t)
	w.connect(alice, w.linear)
	w.server.Close()
	if removal, err := w.Remove(t.Context(), alice, w.linear); err != nil || !removal.Found || !removal.Untold {
		t.Errorf("Remove: %+v, %v", removal, err)
	}
	wantUse(t, w.Keeper, alice, w.linear, ErrMissing)
}
