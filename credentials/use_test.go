package credentials

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func (w *world) typeIn(person sessions.User, up *Upstream, secret string) {
	w.t.Helper()
	if _, err := w.Put(w.t.Context(), person, up, secret); err != nil {
		w.t.Fatal(err)
	}
}

func TestACredentialGoesToItsResourceForItsPersonOnly(t *testing.T) {
	w := newWorld(t)
	other := &Upstream{Resource: tenant + "/gitlab", Header: w.github.Header}
	w.typeIn(alice, w.github, "ghp_alice")
	w.typeIn(bob, w.github, "ghp_bob")
	if got := value(t, w.Keeper, alice, w.github); got != "Bearer ghp_alice" {
		t.Errorf("alice: %q", got)
	}
	if got := value(t, w.Keeper, bob, w.github); got != "Bearer ghp_bob" {
		t.Errorf("bob: %q", got)
	}
	wantUse(t, w.Keeper, alice, other, ErrMissing)
	wantUse(t, w.Keeper, sessions.User{Issuer: "https://other.example", Subject: "alice"}, w.github, ErrMissing)
	wantUse(t, w.Keeper, alice, w.linear, ErrMissing)
}

// A configuration that now connects accounts elsewhere must not send them what was given for another.
func TestACredentialFromElsewhereIsNone(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "ghp_alice")
	connecting := *w.linear
	connecting.Resource = githubURI
	wantUse(t, w.Keeper, alice, &connecting, ErrMissing)

	w.connect(alice, w.linear)
	moved := *w.linear
	server := newAuthServer(t, w.clock)
	moved.OAuth = w.connecting(linearURI, server.URL).OAuth
	wantUse(t, w.replica(), alice, &moved, ErrMissing)
	w.clock.Advance(2 * time.Hour)
	wantUse(t, w.replica(), alice, &moved, ErrMissing)
	if n := len(server.forms); n != 0 {
		t.Errorf("the other server was asked %d times", n)
	}
}

func TestTheStoreIsAskedOnceAMinute(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "ghp_alice")
	value(t, w.Keeper, alice, w.github)
	before := w.store.count()
	for range 100 {
		value(t, w.Keeper, alice, w.github)
	}
	if n := w.store.count() - before; n != 0 {
		t.Errorf("%d reads for 100 uses", n)
	}
	w.clock.Advance(fresh)
	value(t, w.Keeper, alice, w.github)
	value(t, w.Keeper, alice, w.github)
	if n := w.store.count() - before; n != 1 {
		t.Errorf("%d reads after a minute, want 1", n)
	}
}

func TestAThousandFirstUsesAreOneRead(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "ghp_alice")
	before := w.store.count()
	start := make(chan struct{})
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			<-start
			if held, err := w.Use(t.Context(), alice, w.github); err != nil || held.value != "Bearer ghp_alice" {
				t.Errorf("%q, %v", held.value, err)
			}
		})
	}
	close(start)
	all.Wait()
	if n := w.store.count() - before; n > 20 {
		t.Errorf("%d reads", n)
	}
}

func TestAChangeActsHereAtOnceAndElsewhereWhenItIsHeardOf(t *testing.T) {
	w := newWorld(t)
	other := w.replica()
	w.typeIn(alice, w.github, "first")
	if got := value(t, other, alice, w.github); got != "Bearer first" {
		t.Fatalf("%q", got)
	}
	replaced, err := w.Put(t.Context(), alice, w.github, "second")
	if err != nil || !replaced {
		t.Fatalf("Put: %t, %v", replaced, err)
	}
	if got := value(t, w.Keeper, alice, w.github); got != "Bearer second" {
		t.Errorf("here: %q", got)
	}
	hear(t, other)
	if got := value(t, other, alice, w.github); got != "Bearer second" {
		t.Errorf("elsewhere: %q", got)
	}
	if removal, err := w.Remove(t.Context(), alice, w.github); err != nil || removal != (Removal{Found: true}) {
		t.Errorf("Remove: %+v, %v", removal, err)
	}
	wantUse(t, w.Keeper, alice, w.github, ErrMissing)
	hear(t, other)
	wantUse(t, other, alice, w.github, ErrMissing)
	if removal, err := w.Remove(t.Context(), alice, w.github); err != nil || removal.Found {
		t.Errorf("removed twice: %+v, %v", removal, err)
	}
}

// A copy that was loaded just before a change, and kept just after it, must not live on.
func TestALoadThatWasOvertakenIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "first")
	old, err := w.find(t.Context(), alice, w.github)
	if err != nil {
		t.Fatal(err)
	}
	w.typeIn(alice, w.github, "second")
	if _, err := w.hold(w.github, old, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := value(t, w.Keeper, alice, w.github); got != "Bearer second" {
		t.Errorf("%q", got)
	}
}

func TestAnOutageOfTheStore(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "ghp_alice")
	value(t, w.Keeper, alice, w.github)
	w.store.setDown(true)
	w.clock.Advance(stale - time.Second)
	if got := value(t, w.Keeper, alice, w.github); got != "Bearer ghp_alice" {
		t.Errorf("%q", got)
	}
	wantUse(t, w.Keeper, bob, w.github, sessions.ErrUnavailable)
	for name, err := range map[string]error{
		"Put":    func() error { _, err := w.Put(t.Context(), alice, w.github, "second"); return err }(),
		"Remove": func() error { _, err := w.Remove(t.Context(), alice, w.github); return err }(),
		"State":  func() error { _, err := w.State(t.Context(), alice, w.github); return err }(),
	} {
		if !errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.clock.Advance(time.Second)
	wantUse(t, w.Keeper, alice, w.github, sessions.ErrUnavailable)
	w.store.setDown(false)
	if got := value(t, w.Keeper, alice, w.github); got != "Bearer ghp_alice" {
		t.Errorf("after the outage: %q", got)
	}
}

// Whoever leaves leaves nothing behind for ever; whoever is there loses nothing.
func TestACredentialThatNobodyUsesEnds(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "ghp_alice")
	w.typeIn(bob, w.github, "ghp_bob")
	for range 4 {
		w.clock.Advance(unusedLife / 3)
		value(t, w.Keeper, alice, w.github)
	}
	wantUse(t, w.Keeper, bob, w.github, ErrMissing)
	state, err := w.State(t.Context(), alice, w.github)
	if err != nil || !state.Stored || state.Used.Before(w.clock.Now().Add(-useNoted)) {
		t.Errorf("State: %+v, %v", state, err)
	}
	keys, err := w.store.List(t.Context(), "")
	if err != nil || len(keys) != 2 { // the key ring and alice's
		t.Errorf("records %v, %v", keys, err)
	}
}

func TestPutRefuses(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Put(t.Context(), alice, w.github, "a\r\nX-Admin: 1"); !errors.Is(err, ErrSecret) {
		t.Errorf("a line break: %v", err)
	}
	if _, err := w.Put(t.Context(), alice, w.linear, "typed"); err == nil {
		t.Error("a token was typed in where accounts are connected")
	}
	wantUse(t, w.Keeper, alice, w.github, ErrMissing)
}

// Changes from several tabs and replicas at once leave one of them, and no copy of another.
func TestRacingChanges(t *testing.T) {
	w := newWorld(t)
	replicas := []*Keeper{w.Keeper, w.replica(), w.replica()}
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			k := replicas[i%len(replicas)]
			if _, err := k.Put(t.Context(), alice, w.github, "secret-"+strconv.Itoa(i)); err != nil && !errors.Is(err, errOvertaken) {
				t.Error(err)
			}
			_, _ = k.Use(t.Context(), alice, w.github)
		})
	}
	all.Wait()
	c, err := w.Vault.LoadCredential(t.Context(), alice.Key(), githubURI)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range replicas {
		hear(t, k)
		if got := value(t, k, alice, w.github); got != "Bearer "+c.Secret {
			t.Errorf("replica %d has %q, the store %q", i, got, c.Secret)
		}
	}
}

func TestTheCacheForgetsWhatWasNotUsedForLongest(t *testing.T) {
	c := newCache(2)
	for i := range 3 {
		c.put(owner{user: strconv.Itoa(i)}, copied{Held: Held{value: strconv.Itoa(i)}})
		c.get(owner{user: "0"})
	}
	for user, want := range map[string]bool{"0": true, "1": false, "2": true} {
		if _, ok := c.get(owner{user: user}); ok != want {
			t.Errorf("%s is there: %t", user, ok)
		}
	}
	c.put(owner{user: "0"}, copied{Held: Held{value: "new"}})
	if got, _ := c.get(owner{user: "0"}); got.value != "new" || len(c.copies) != 2 {
		t.Errorf("%q of %d", got.value, len(c.copies))
	}
	c.remove(owner{user: "0"})
	c.remove(owner{user: "0"})
	if _, ok := c.get(owner{user: "0"}); ok || c.order.Len() != 1 {
		t.Error("removed, and still there")
	}
}
