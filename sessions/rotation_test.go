package sessions_test

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

func rotate(t testing.TB, v *sessions.Vault, refresh string) (sessions.Grant, string) {
	t.Helper()
	g, next, err := v.RotateGrant(t.Context(), refresh, policy, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g, next
}

func TestRotation(t *testing.T) {
	v, c := memVault(t)
	refresh := create(t, v, policy)
	first := loadGrant(t, v, refresh)
	for generation := uint32(2); generation < 10; generation++ {
		c.Advance(29 * day)
		g, next := rotate(t, v, refresh)
		if g.ID != first.ID || g.Generation != generation || !g.RotatedAt.Equal(c.Now()) || !g.UsedAt.Equal(c.Now()) ||
			!g.ExpiresAt.Equal(c.Now().Add(30*day)) || !g.CreatedAt.Equal(first.CreatedAt) {
			t.Errorf("generation %d: %+v", generation, g)
		}
		if got := loadGrant(t, v, next); !reflect.DeepEqual(got, g) {
			t.Errorf("generation %d: what was stored is %+v, what was returned %+v", generation, got, g)
		}
		refresh = next
	}
}

func TestAbsoluteLifeOfAGrant(t *testing.T) {
	v, c := memVault(t)
	p := sessions.GrantPolicy{Sliding: 10 * day, Absolute: 25 * day}
	refresh := create(t, v, p)
	for range 2 {
		c.Advance(9 * day)
		var err error
		if _, refresh, err = v.RotateGrant(t.Context(), refresh, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	if g := loadGrant(t, v, refresh); !g.ExpiresAt.Equal(g.CreatedAt.Add(25 * day)) {
		t.Errorf("the grant ends %v after it began, want 25 days", g.ExpiresAt.Sub(g.CreatedAt))
	}
	p.Absolute = 18 * day // a stricter policy acts at the next rotation
	_, _, err := v.RotateGrant(t.Context(), refresh, p, nil)
	wantErr(t, "RotateGrant under a stricter policy", err, sessions.ErrExpired)
}

// Processes of one client share a refresh token and all use it at once.
func TestParallelRotations(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		vaults := []*sessions.Vault{newVault(t, replica(), c), newVault(t, replica(), c)}
		refresh := create(t, vaults[0], policy)
		id := loadGrant(t, vaults[0], refresh).ID
		for round := range uint32(3) {
			c.Advance(time.Hour)
			next := make([]string, 50)
			var wg sync.WaitGroup
			for i := range next {
				wg.Go(func() {
					g, token, err := vaults[i%2].RotateGrant(t.Context(), refresh, policy, nil)
					if err != nil || g.ID != id || g.Generation != round+2 {
						t.Errorf("rotation %d: grant %s, generation %d, %v", i, g.ID, g.Generation, err)
					}
					next[i] = token
				})
			}
			wg.Wait()
			// Nobody's token is worth less than another's, and the one before is still good, too.
			for _, token := range append(next, refresh) {
				if g := loadGrant(t, vaults[1], token); g.ID != id || g.Generation != round+2 {
					t.Errorf("a token belongs to grant %s, generation %d", g.ID, g.Generation)
				}
			}
			refresh = next[len(next)-1]
		}
		if grants, err := vaults[0].ListGrants(t.Context(), ada.Key()); err != nil || len(grants) != 1 {
			t.Errorf("there are %d grants, %v; want one", len(grants), err)
		}
	})
}

func TestGrace(t *testing.T) {
	for _, tc := range []struct {
		name   string
		grace  time.Duration
		after  time.Duration
		reused bool
	}{
		{"at once", time.Minute, 0, false},
		{"within the grace", time.Minute, 59 * time.Second, false},
		{"in its last moment", time.Minute, time.Minute, false},
		{"right after it", time.Minute, time.Minute + time.Nanosecond, true},
		{"long after it", time.Minute, 20 * day, true},
		{"without any grace", 0, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, c := memVault(t)
			p := sessions.GrantPolicy{Sliding: 30 * day, Grace: tc.grace}
			old := create(t, v, p)
			access := exampleAccess(c.Now().Add(tc.after))
			access.Grant = loadGrant(t, v, old).ID
			rotated, next, err := v.RotateGrant(t.Context(), old, p, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.Advance(tc.after)
			token := issue(t, v, access)

			loaded, err := v.LoadGrant(t.Context(), old)
			if tc.reused != errors.Is(err, sessions.ErrReused) || !tc.reused && err != nil {
				t.Errorf("LoadGrant: %v", err)
			}
			if loaded.ID != rotated.ID || loaded.ClientID != rotated.ClientID {
				t.Errorf("LoadGrant does not say whose token it is: %+v", loaded)
			}
			loadGrant(t, v, next) // looking has ended nothing

			g, again, err := v.RotateGrant(t.Context(), old, p, nil)
			if g.ID != rotated.ID {
				t.Errorf("RotateGrant does not say whose token it is: %+v", g)
			}
			if !tc.reused {
				if err != nil || !reflect.DeepEqual(g, rotated) || !reflect.DeepEqual(loadGrant(t, v, again), rotated) {
					t.Errorf("RotateGrant: %+v, %v; want the current generation %+v", g, err, rotated)
				}
				if err := v.OpenAccess(token, &access); err != nil {
					t.Errorf("OpenAccess: %v", err)
				}
				return
			}
			wantErr(t, "RotateGrant", err, sessions.ErrReused)
			if again != "" {
				t.Error("RotateGrant returned a token")
			}
			wantErr(t, "the access token after that", v.OpenAccess(token, &access), sessions.ErrRevoked)
			for _, text := range []string{old, next} {
				_, _, err = v.RotateGrant(t.Context(), text, p, nil)
				wantErr(t, "any token of the family after that", err, sessions.ErrRevoked)
			}
			c.Advance(25 * time.Hour)
			_, err = newVault(t, v.Store, c).LoadGrant(t.Context(), next)
			wantErr(t, "a token of the family a day later", err, sessions.ErrNotFound)
		})
	}
}

// The grace is for the last generation only: once its successor has been used, the one before that is a copy.
func TestTwoGenerationsOldEndsTheFamily(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		v := newVault(t, replica(), c)
		first := create(t, v, policy)
		_, second := rotate(t, v, first)
		_, third := rotate(t, v, second)
		_, err := v.LoadGrant(t.Context(), first)
		wantErr(t, "LoadGrant", err, sessions.ErrReused)
		// Whoever presents the copy hangs up at once; that must not save them.
		ctx, cancel := context.WithCancel(t.Context())
		store := v.Store
		v.Store = hangUp{store, cancel}
		_, _, err = v.RotateGrant(ctx, first, policy, nil)
		wantErr(t, "RotateGrant", err, sessions.ErrReused)
		if errors.Is(err, sessions.ErrUnavailable) {
			t.Errorf("the family was not ended: %v", err)
		}
		v.Store = store
		for _, refresh := range []string{first, second, third} {
			_, err := v.LoadGrant(t.Context(), refresh)
			wantErr(t, "LoadGrant here after that", err, sessions.ErrRevoked)
			_, err = newVault(t, replica(), c).LoadGrant(t.Context(), refresh)
			wantErr(t, "LoadGrant elsewhere after that", err, sessions.ErrRevoked)
		}
	})
}

// hangUp cancels a context as soon as a record was decided on.
type hangUp struct {
	sessions.Store
	cancel context.CancelFunc
}

func (s hangUp) Update(ctx context.Context, key string, fn func([]byte) ([]byte, time.Duration, error)) error {
	err := s.Store.Update(ctx, key, fn)
	s.cancel()
	return err
}

func TestChangeAtRotation(t *testing.T) {
	v, c := memVault(t)
	old := create(t, v, policy)
	before := loadGrant(t, v, old)
	refused := errors.New("not allowed any more")

	_, _, err := v.RotateGrant(t.Context(), old, policy, func(*sessions.Grant) error { return refused })
	if err != refused {
		t.Errorf("RotateGrant: %v, want the refusal as it is", err)
	}
	if got := loadGrant(t, v, old); !reflect.DeepEqual(got, before) {
		t.Errorf("a refusal changed the grant to %+v", got)
	}
	_, _, err = v.RotateGrant(t.Context(), old, policy, func(g *sessions.Grant) error { g.User.Subject = "eve"; return nil })
	if err == nil {
		t.Error("a grant passed to another user")
	}
	// A refusal that looks like reuse is not the end of the family.
	_, _, err = v.RotateGrant(t.Context(), old, policy, func(*sessions.Grant) error { return sessions.ErrReused })
	wantErr(t, "RotateGrant", err, sessions.ErrReused)
	loadGrant(t, v, old)

	c.Advance(time.Hour)
	change := func(g *sessions.Grant) error {
		g.Scopes, g.ClientAddr, g.User.Groups, g.Upstream = []string{"read"}, "192.0.2.2", []string{"staff"}, sessions.ID{9}
		g.ID, g.Generation, g.CreatedAt, g.RotatedAt, g.ExpiresAt = sessions.NewID(), 99, time.Time{}, time.Time{}, c.Now().Add(999*day)
		return nil
	}
	g, next, err := v.RotateGrant(t.Context(), old, policy, change)
	if err != nil {
		t.Fatal(err)
	}
	want := before
	want.Scopes, want.ClientAddr, want.User.Groups, want.Upstream = []string{"read"}, "192.0.2.2", []string{"staff"}, sessions.ID{9}
	want.Generation, want.UsedAt, want.RotatedAt, want.ExpiresAt = 2, c.Now(), c.Now(), c.Now().Add(30*day)
	if !reflect.DeepEqual(g, want) || !reflect.DeepEqual(loadGrant(t, v, next), want) {
		t.Errorf("the grant is %+v, want %+v", g, want)
	}

	// Within the grace, change is heard as well, and nothing rotates.
	_, _, err = v.RotateGrant(t.Context(), old, policy, func(*sessions.Grant) error { return refused })
	if err != refused {
		t.Errorf("RotateGrant within the grace: %v, want the refusal", err)
	}
	want.ClientAddr = "192.0.2.3"
	g, _, err = v.RotateGrant(t.Context(), old, policy, func(g *sessions.Grant) error { g.ClientAddr = "192.0.2.3"; return nil })
	if err != nil || !reflect.DeepEqual(g, want) || !reflect.DeepEqual(loadGrant(t, v, next), want) {
		t.Errorf("the grant is %+v, %v; want %+v", g, err, want)
	}
}

// A store that failed over may have lost its last write; the client that holds its outcome is not to blame.
func TestRotationThatTheStoreForgot(t *testing.T) {
	v, c := memVault(t)
	first := create(t, v, policy)
	g := loadGrant(t, v, first)
	key := grantKey(t, v)
	lost, err := v.Store.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	_, second := rotate(t, v, first)
	if err := v.Store.Put(t.Context(), key, lost, 30*day); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Hour)
	got, third := rotate(t, v, second)
	if got.ID != g.ID || got.Generation != 3 {
		t.Errorf("generation %d of grant %s, want 3 of %s", got.Generation, got.ID, g.ID)
	}
	_, _, err = v.RotateGrant(t.Context(), first, policy, nil)
	wantErr(t, "the token before the lost one", err, sessions.ErrReused)
	_, err = v.LoadGrant(t.Context(), third)
	wantErr(t, "the family after that", err, sessions.ErrRevoked)
}

func grantKey(t *testing.T, v *sessions.Vault) string {
	t.Helper()
	keys, err := v.Store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if key != "keyring" {
			return key
		}
	}
	t.Fatal("there is no grant")
	return ""
}

// Ending a family needs the store; if that fails, the next attempt finishes the work.
func TestReuseWhileTheStoreIsDown(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	first := create(t, v, policy)
	_, second := rotate(t, v, first)
	_, third := rotate(t, v, second)
	store.set("Put")
	_, _, err := v.RotateGrant(t.Context(), first, policy, nil)
	wantErr(t, "RotateGrant", err, sessions.ErrReused)
	wantErr(t, "RotateGrant", err, sessions.ErrUnavailable)
	store.set()
	_, _, err = v.RotateGrant(t.Context(), third, policy, nil)
	wantErr(t, "the current token here", err, sessions.ErrRevoked)
	_, err = newVault(t, store.Store, c).LoadGrant(t.Context(), third)
	wantErr(t, "the current token elsewhere", err, sessions.ErrRevoked)
}
