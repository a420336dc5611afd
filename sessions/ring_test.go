package sessions_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const day = 24 * time.Hour

func newRing(t testing.TB, store sessions.Store, now func() time.Time) *sessions.Ring {
	t.Helper()
	r, err := sessions.NewRing(sessions.RingConfig{Store: store, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t testing.TB, rings ...*sessions.Ring) {
	t.Helper()
	for _, r := range rings {
		if err := r.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func opens(r *sessions.Ring, sealed string) bool {
	_, err := r.Open(sessions.AccessToken, tenant, sealed)
	return err == nil
}

func TestRingBeforeLoad(t *testing.T) {
	c := newClock()
	r := newRing(t, memstore.New(c.Now), c.Now)
	if r.Loaded() {
		t.Error("the ring is loaded before Load")
	}
	_, err := r.Seal(sessions.AccessToken, tenant, nil)
	wantErr(t, "Seal", err, sessions.ErrUnavailable)
	_, err = r.Open(sessions.AccessToken, tenant, "mcpat_"+strings.Repeat("A", 100))
	wantErr(t, "Open", err, sessions.ErrUnavailable)
	_, err = r.SealRecord(tenant, "a/b", nil)
	wantErr(t, "SealRecord", err, sessions.ErrUnavailable)
	_, err = r.OpenRecord(tenant, "a/b", make([]byte, 100))
	wantErr(t, "OpenRecord", err, sessions.ErrUnavailable)
	_, err = r.Derive(sessions.ClientSecret, tenant, "mcpid_"+strings.Repeat("A", 100))
	wantErr(t, "Derive", err, sessions.ErrUnavailable)
}

func TestReplicasAgreeOnOneRing(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		rings := make([]*sessions.Ring, 20)
		for i := range rings {
			rings[i] = newRing(t, replica(), c.Now)
		}
		agree := func(moment string) {
			t.Helper()
			var wg sync.WaitGroup
			for _, r := range rings {
				wg.Go(func() {
					if err := r.Load(t.Context()); err != nil {
						t.Errorf("Load: %v", err)
					}
				})
			}
			wg.Wait()
			for i, r := range rings {
				sealed := seal(t, r, sessions.AccessToken, tenant, "plain")
				for j, other := range rings {
					if !opens(other, sealed) {
						t.Fatalf("%s, ring %d does not open what ring %d sealed", moment, j, i)
					}
				}
			}
		}
		agree("at the first start")
		c.Advance(90 * day)
		agree("when a rotation is due")
		c.Advance(2 * time.Hour)
		agree("after the rotation")
	})
}

func TestRotationWaitsForTheOtherReplicas(t *testing.T) {
	c := newClock()
	store := memstore.New(c.Now)
	quick, slow := newRing(t, store, c.Now), newRing(t, store, c.Now)
	load(t, quick, slow)
	first := seal(t, quick, sessions.AccessToken, tenant, "plain")

	c.Advance(90*day - time.Second)
	load(t, quick)
	c.Advance(30 * time.Minute)
	load(t, quick) // rotates
	sealed := seal(t, quick, sessions.AccessToken, tenant, "plain")
	if sealed[:10] != first[:10] || !opens(slow, sealed) {
		t.Error("a ring seals with a key that another has had no time to load")
	}
	c.Advance(59 * time.Minute)
	if sealed := seal(t, quick, sessions.AccessToken, tenant, "plain"); !opens(slow, sealed) {
		t.Error("a ring seals with a key that another has had no time to load")
	}
	load(t, slow)
	c.Advance(2 * time.Minute)
	second := seal(t, quick, sessions.AccessToken, tenant, "plain")
	if second[:10] == first[:10] {
		t.Error("the old key seals although its time is over")
	}
	if !opens(slow, second) || !opens(quick, first) || !opens(slow, first) {
		t.Error("not every key of the ring opens")
	}

	c.Advance(400*day - 10*time.Minute)
	load(t, quick)
	if !opens(quick, first) {
		t.Error("the old key is gone before its retention is over")
	}
	c.Advance(10 * time.Minute)
	load(t, quick)
	if opens(quick, first) {
		t.Error("the old key opens although its retention is over")
	}
	if !opens(quick, second) {
		t.Error("a key is gone before its retention is over")
	}
}

func TestRingThatCannotBeLoaded(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	r := newRing(t, store, c.Now)
	for _, op := range []string{"Get", "Update"} {
		store.set(op)
		err := r.Load(t.Context())
		wantErr(t, "Load while "+op+" fails", err, sessions.ErrUnavailable)
		wantErr(t, "Load while "+op+" fails", err, errDown)
		if r.Loaded() {
			t.Errorf("the ring is loaded although %s failed", op)
		}
	}
	store.set()
	load(t, r)
	sealed := seal(t, r, sessions.AccessToken, tenant, "plain")

	const secret = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I="
	for name, value := range map[string]string{
		"garbage":          "\x00garbage",
		"nothing":          "",
		"an empty ring":    `{"version":1,"keys":[]}`,
		"a later layout":   `{"version":2,"keys":[{"id":"AAAAAA==","secret":"` + secret + `"}]}`,
		"a short key":      `{"version":1,"keys":[{"id":"AAAAAA==","secret":"c2VjcmV0"}]}`,
		"a key of zeros":   `{"version":1,"keys":[{"id":"AAAAAA==","secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`,
		"a malformed id":   `{"version":1,"keys":[{"id":"AAAA","secret":"` + secret + `"}]}`,
		"a malformed date": `{"version":1,"keys":[{"id":"AAAAAA==","not_before":"` + secret + `"}]}`,
	} {
		if err := store.Put(t.Context(), "keyring", []byte(value), 0); err != nil {
			t.Fatal(err)
		}
		err := r.Load(t.Context())
		wantErr(t, "Load of "+name, err, sessions.ErrUnavailable)
		if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "c2VjcmV0")) {
			t.Errorf("Load of %s: the error shows a key: %v", name, err)
		}
		if kept, err := store.Get(t.Context(), "keyring"); err != nil || string(kept) != value {
			t.Errorf("Load replaced %s, which may be somebody's keys: %q, %v", name, kept, err)
		}
		if !opens(r, sealed) {
			t.Errorf("Load of %s took the keys that the ring had", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, "Load with a context that is done", r.Load(ctx), context.Canceled)
}

// A replica that was cut off from the store for long cannot tell a token under a new key from garbage, and must
// not make a client throw away what is good.
func TestUnknownKeyOnAStaleRing(t *testing.T) {
	c := newClock()
	store := memstore.New(c.Now)
	r, other := newRing(t, store, c.Now), newRing(t, memstore.New(c.Now), c.Now)
	load(t, r, other)
	foreign := seal(t, other, sessions.AccessToken, tenant, "plain")
	if _, err := r.Open(sessions.AccessToken, tenant, foreign); err != sessions.ErrInvalid {
		t.Errorf("a foreign key id: %v, want ErrInvalid", err)
	}
	c.Advance(2 * time.Hour)
	_, err := r.Open(sessions.AccessToken, tenant, foreign)
	wantErr(t, "a foreign key id after two hours without a load", err, sessions.ErrUnavailable)
	load(t, r)
	if _, err := r.Open(sessions.AccessToken, tenant, foreign); err != sessions.ErrInvalid {
		t.Errorf("a foreign key id after a load: %v, want ErrInvalid", err)
	}
}

func TestRingRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flaky{Store: memstore.New(time.Now)}
		r, other := newRing(t, store, time.Now), newRing(t, memstore.New(time.Now), time.Now)
		load(t, other)
		foreign := seal(t, other, sessions.AccessToken, tenant, "plain")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		store.set("Get")
		go func() { ended <- r.Run(ctx) }()
		loads := func(d time.Duration) int {
			before := store.count("Get")
			time.Sleep(d)
			synctest.Wait()
			return store.count("Get") - before
		}
		if n := loads(time.Minute); r.Loaded() || n < 10 || n > 30 {
			t.Errorf("%d attempts in the first minute of an outage, loaded %v", n, r.Loaded())
		}
		store.set()
		loads(6 * time.Second)
		if !r.Loaded() {
			t.Error("the ring is not loaded seconds after the outage")
		}
		if n := loads(time.Hour); n < 59 || n > 61 {
			t.Errorf("%d loads in a quiet hour, want one a minute", n)
		}
		before := store.count("Get")
		for range 1000 {
			if _, err := r.Open(sessions.AccessToken, tenant, foreign); !errors.Is(err, sessions.ErrInvalid) {
				t.Fatalf("a foreign key id: %v", err)
			}
		}
		if n := store.count("Get") - before; n != 0 {
			t.Errorf("opening did %d reads from the store", n)
		}
		if n := loads(4 * time.Second); n > 1 {
			t.Errorf("unknown keys caused %d loads within four seconds", n)
		}
		for range 60 {
			_, _ = r.Open(sessions.AccessToken, tenant, foreign)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := store.count("Get") - before; n < 8 || n > 14 {
			t.Errorf("a minute of unknown keys caused %d loads, want one in five seconds", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v, want nil", err)
		}
	})
}
