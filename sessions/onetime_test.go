package sessions_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

type login struct{ Nonce, Verifier string }

func TestOneTime(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		logins := sessions.NewOneTime[login](a, sessions.LoginState, "login", 10*time.Minute)
		elsewhere := sessions.NewOneTime[login](b, sessions.LoginState, "login", 10*time.Minute)
		want := login{"nonce", "verifier"}
		state, err := logins.Issue(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := elsewhere.Load(t.Context(), state); err != nil || got != want {
				t.Errorf("Load: %+v, %v", got, err)
			}
		}
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				got, err := []*sessions.OneTime[login]{logins, elsewhere}[i%2].Take(t.Context(), state)
				switch {
				case err == nil && got == want:
					won.Add(1)
				case errors.Is(err, sessions.ErrNotFound):
					lost.Add(1)
				default:
					t.Errorf("Take: %+v, %v", got, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 99 {
			t.Errorf("%d takers won and %d lost, want 1 and 99", won.Load(), lost.Load())
		}
		_, err = logins.Load(t.Context(), state)
		wantErr(t, "Load of what was taken", err, sessions.ErrNotFound)

		state, err = logins.Issue(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		other := sessions.NewOneTime[login](a, sessions.LoginState, "other", time.Minute)
		_, err = other.Take(t.Context(), state)
		wantErr(t, "Take from another table", err, sessions.ErrNotFound)
		tickets := sessions.NewOneTime[login](a, sessions.ConsentTicket, "login", time.Minute)
		_, err = tickets.Take(t.Context(), state)
		wantErr(t, "Take as another kind", err, sessions.ErrInvalid)
		c.Advance(10 * time.Minute)
		_, err = logins.Take(t.Context(), state)
		wantErr(t, "Take when its time is over", err, sessions.ErrExpired)
		_, err = logins.Load(t.Context(), state)
		wantErr(t, "Load when its time is over", err, sessions.ErrExpired)
	})
}

func TestOneTimeWhileTheStoreIsDown(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	logins := sessions.NewOneTime[login](newVault(t, store, c), sessions.LoginState, "login", time.Minute)
	state, err := logins.Issue(t.Context(), login{})
	if err != nil {
		t.Fatal(err)
	}
	store.set("Get", "Put", "Take")
	_, err = logins.Issue(t.Context(), login{})
	wantErr(t, "Issue", err, sessions.ErrUnavailable)
	_, err = logins.Load(t.Context(), state)
	wantErr(t, "Load", err, sessions.ErrUnavailable)
	_, err = logins.Take(t.Context(), state)
	wantErr(t, "Take", err, sessions.ErrUnavailable)
	gets, takes := store.count("Get"), store.count("Take")
	for _, text := range []string{"", "garbage", "mcpls_AAAA", state[:len(state)-1]} {
		_, err = logins.Take(t.Context(), text)
		wantErr(t, "Take of garbage", err, sessions.ErrInvalid)
		_, err = logins.Load(t.Context(), text)
		wantErr(t, "Load of garbage", err, sessions.ErrInvalid)
	}
	if store.count("Get") != gets || store.count("Take") != takes {
		t.Error("garbage reaches the store")
	}
}

func TestOneTimeMisused(t *testing.T) {
	v, _ := memVault(t)
	for name, make := range map[string]func(){
		"a table with a slash":   func() { sessions.NewOneTime[int](v, sessions.LoginState, "a/b", time.Minute) },
		"a table without a name": func() { sessions.NewOneTime[int](v, sessions.LoginState, "", time.Minute) },
		"no time to live":        func() { sessions.NewOneTime[int](v, sessions.LoginState, "a", 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			make()
		}()
	}
	big := sessions.NewOneTime[string](v, sessions.LoginState, "login", time.Minute)
	if _, err := big.Issue(t.Context(), string(make([]byte, 100<<10))); err == nil {
		t.Error("a record of 100 KiB was stored")
	}
}

func TestSpend(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		vaults := []*sessions.Vault{newVault(t, replica(), c), newVault(t, replica(), c)}
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				switch err := vaults[i%2].Spend(t.Context(), "consent", "id", time.Minute); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, sessions.ErrReused):
					lost.Add(1)
				default:
					t.Errorf("Spend: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 99 {
			t.Errorf("%d callers spent it and %d did not, want 1 and 99", won.Load(), lost.Load())
		}
		v := vaults[0]
		for name, err := range map[string]error{
			"another id":    v.Spend(t.Context(), "consent", "other", time.Minute),
			"another table": v.Spend(t.Context(), "jti", "id", time.Minute),
		} {
			if err != nil {
				t.Errorf("Spend of %s: %v", name, err)
			}
		}
		elsewhere := *v
		elsewhere.Tenant = "https://other.example.com"
		if err := elsewhere.Spend(t.Context(), "consent", "id", time.Minute); err != nil {
			t.Errorf("Spend at another tenant: %v", err)
		}
		wantErr(t, "Spend of what has expired", v.Spend(t.Context(), "consent", "late", 0), sessions.ErrExpired)
		if err := v.Spend(t.Context(), "a/../b", "id", time.Minute); err == nil {
			t.Error("Spend accepted a table with slashes")
		}
	})
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	store.set("Update")
	wantErr(t, "Spend while the store is down", v.Spend(t.Context(), "consent", "id", time.Minute), sessions.ErrUnavailable)
}
