package sessions_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

func revoke(t testing.TB, r *sessions.Revocations, id sessions.ID, ttl time.Duration) {
	t.Helper()
	if err := r.Revoke(t.Context(), id, ttl); err != nil {
		t.Fatal(err)
	}
}

func TestRevocationReachesOtherReplicas(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		here, there := sessions.NewRevocations(replica(), c.Now), sessions.NewRevocations(replica(), c.Now)
		before, later := sessions.NewID(), sessions.NewID()
		revoke(t, here, before, time.Hour)

		heard := make(chan sessions.ID, 10)
		cancelSubscription := there.Subscribe(func(id sessions.ID) { heard <- id })
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := there.Run(ctx); err != nil {
				t.Errorf("Run: %v, want nil", err)
			}
		})
		await := func(id sessions.ID) {
			t.Helper()
			select {
			case got := <-heard:
				if got != id || !there.Revoked(id) {
					t.Errorf("heard of %s, revoked %v; want %s", got, there.Revoked(id), id)
				}
			case <-time.After(15 * time.Second):
				t.Fatal("a revocation did not arrive")
			}
		}
		await(before)
		revoke(t, here, later, time.Hour)
		if !here.Revoked(later) {
			t.Error("a revocation does not act at once where it was made")
		}
		await(later)
		if !there.Loaded() || there.Revoked(sessions.NewID()) {
			t.Error("a replica is not loaded, or revokes what nobody has")
		}
		cancelSubscription()
		revoke(t, there, sessions.NewID(), time.Hour)
		if len(heard) != 0 {
			t.Error("a subscriber hears of things after it cancelled")
		}
		cancel()
		running.Wait()
	})
}

func TestRevocationWhileTheStoreIsDown(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	r := sessions.NewRevocations(store, c.Now)
	store.set("Put", "List")
	id := sessions.NewID()
	wantErr(t, "Revoke", r.Revoke(t.Context(), id, time.Hour), sessions.ErrUnavailable)
	if !r.Revoked(id) {
		t.Error("a revocation does not act here while the store is down")
	}
	wantErr(t, "Load", r.Load(t.Context()), sessions.ErrUnavailable)
	store.set("Get")
	if err := store.Put(t.Context(), "revoked/"+id.String(), []byte("12345678"), time.Hour); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "Load", r.Load(t.Context()), sessions.ErrUnavailable)
	if r.Loaded() {
		t.Error("the set counts as complete although the store could not be read")
	}
}

func TestRevocationsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &flaky{Store: memstore.New(time.Now)}
		r, other := sessions.NewRevocations(store, nil), sessions.NewRevocations(store.Store, nil)
		heard := 0
		r.Subscribe(func(sessions.ID) { heard++ })
		store.set("List", "Watch")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := store.count("List"); r.Loaded() || n < 30 || n > 120 {
			t.Errorf("%d attempts in a minute of an outage, loaded %v", n, r.Loaded())
		}
		brief, long := sessions.NewID(), sessions.NewID()
		revoke(t, other, brief, time.Hour)
		store.set("Watch") // what is there can be read, but not followed
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !r.Loaded() || !r.Revoked(brief) {
			t.Error("a revocation from the time of the outage is not known after it")
		}
		revoke(t, other, long, 48*time.Hour)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !r.Revoked(long) {
			t.Error("a revocation is not known after two seconds without a watch")
		}
		if heard != 2 {
			t.Errorf("a subscriber heard %d times of two revocations", heard)
		}
		store.set()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if r.Revoked(brief) || !r.Revoked(long) {
			t.Error("what expired is still known, or what did not is forgotten")
		}
		revoke(t, other, long, time.Hour) // never shortens
		revoke(t, other, sessions.NewID(), 0)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if !r.Revoked(long) {
			t.Error("revoking once more for a shorter time shortened the first")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v, want nil", err)
		}
	})
}

func TestRevocationsIgnoreForeignRecords(t *testing.T) {
	c := newClock()
	store := memstore.New(c.Now)
	id := sessions.NewID()
	for key, value := range map[string]string{
		"revoked/x":                  "12345678",
		"revoked/" + id.String():     "1234567",
		"revoked/a/" + id.String():   "12345678",
		"revoked_/" + id.String():    "12345678",
		"revoked/" + id.String()[1:]: "12345678",
	} {
		if err := store.Put(t.Context(), key, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	r := sessions.NewRevocations(store, c.Now)
	if err := r.Load(t.Context()); err != nil || !r.Loaded() {
		t.Errorf("Load: %v, loaded %v", err, r.Loaded())
	}
	if r.Revoked(id) {
		t.Error("a malformed record revokes something")
	}
}

func TestManyRevocationsAtOnce(t *testing.T) {
	c := newClock()
	r := sessions.NewRevocations(memstore.New(c.Now), c.Now)
	ids := make([]sessions.ID, 5000)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < len(ids); i += 4 {
				ids[i] = sessions.NewID()
				if err := r.Revoke(t.Context(), ids[i], time.Hour); err != nil {
					t.Error(err)
				}
				if !r.Revoked(ids[i]) {
					t.Error("a revocation does not act at once")
				}
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if !r.Revoked(id) {
			t.Fatal("a revocation was lost to another")
		}
	}
}
