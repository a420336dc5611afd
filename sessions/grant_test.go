package sessions_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

var policy = sessions.GrantPolicy{Sliding: 30 * day, Grace: time.Minute}

func exampleGrant() sessions.Grant {
	return sessions.Grant{
		User: ada, ClientID: "client", ClientLabel: "label", ClientName: "Client", RedirectHost: "localhost",
		Resource: "https://mcp.example.com", Scopes: []string{"read", "write"},
		ClientAddr: "192.0.2.1", Upstream: sessions.ID{7},
	}
}

func create(t testing.TB, v *sessions.Vault, p sessions.GrantPolicy) string {
	t.Helper()
	refresh, err := v.CreateGrant(t.Context(), exampleGrant(), p)
	if err != nil {
		t.Fatal(err)
	}
	return refresh
}

func loadGrant(t testing.TB, v *sessions.Vault, refresh string) sessions.Grant {
	t.Helper()
	g, err := v.LoadGrant(t.Context(), refresh)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestUserKey(t *testing.T) {
	key := sessions.User{Issuer: "ab", Subject: "c"}.Key()
	if len(key) != 32 {
		t.Errorf("the key %q has not 32 digits", key)
	}
	for name, other := range map[string]sessions.User{
		"the same bytes, divided elsewhere": {Issuer: "a", Subject: "bc"},
		"all of it in the subject":          {Subject: "abc"},
		"another issuer":                    {Issuer: "aB", Subject: "c"},
	} {
		if other.Key() == key {
			t.Errorf("%s has the same key", name)
		}
	}
	if (sessions.User{Issuer: "ab", Subject: "c", Email: "e", Groups: []string{"g"}}).Key() != key {
		t.Error("the key depends on more than issuer and subject")
	}
}

func TestGrant(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		chosen := exampleGrant()
		chosen.ID = sessions.NewID()
		chosen.AuthTime = c.Now().Add(-time.Minute)
		refresh, err := a.CreateGrant(t.Context(), chosen, policy)
		if err != nil {
			t.Fatal(err)
		}
		got := loadGrant(t, b, refresh)
		want := chosen
		want.CreatedAt, want.UsedAt, want.RotatedAt, want.Generation = c.Now(), c.Now(), c.Now(), 1
		want.ExpiresAt = c.Now().Add(30 * day)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("LoadGrant: %+v, want %+v", got, want)
		}

		c.Advance(time.Second)
		other := create(t, b, policy)
		grants, err := a.ListGrants(t.Context(), ada.Key())
		if err != nil || len(grants) != 2 || grants[0].ID != chosen.ID {
			t.Fatalf("ListGrants: %+v, %v; want two, the older one first", grants, err)
		}
		if grants, err := a.ListGrants(t.Context(), (sessions.User{Subject: "somebody else"}).Key()); err != nil || len(grants) != 0 {
			t.Errorf("ListGrants of somebody else: %+v, %v", grants, err)
		}
		elsewhere := *a
		elsewhere.Tenant = "https://other.example.com"
		if grants, err := elsewhere.ListGrants(t.Context(), ada.Key()); err != nil || len(grants) != 0 {
			t.Errorf("ListGrants at another tenant: %+v, %v", grants, err)
		}

		if err := a.RevokeGrant(t.Context(), ada.Key(), chosen.ID); err != nil {
			t.Fatal(err)
		}
		_, err = a.LoadGrant(t.Context(), refresh)
		wantErr(t, "LoadGrant where it was revoked", err, sessions.ErrRevoked)
		_, err = b.LoadGrant(t.Context(), refresh)
		wantErr(t, "LoadGrant on another replica at once", err, sessions.ErrNotFound)
		_, _, err = b.RotateGrant(t.Context(), refresh, policy, nil)
		wantErr(t, "RotateGrant on another replica at once", err, sessions.ErrNotFound)
		if grants, err := b.ListGrants(t.Context(), ada.Key()); err != nil || len(grants) != 1 || grants[0].ID != loadGrant(t, b, other).ID {
			t.Errorf("ListGrants after a revocation: %+v, %v", grants, err)
		}
		if err := a.RevokeGrant(t.Context(), ada.Key(), chosen.ID); err != nil {
			t.Errorf("revoking once more: %v", err)
		}
	})
}

func TestGrantExpires(t *testing.T) {
	v, c := memVault(t)
	for _, tc := range []struct {
		name   string
		policy sessions.GrantPolicy
		life   time.Duration
	}{
		{"after the sliding time", sessions.GrantPolicy{Sliding: time.Hour}, time.Hour},
		{"after thirty days by default", sessions.GrantPolicy{}, 30 * day},
		{"after the absolute time, if that is shorter", sessions.GrantPolicy{Sliding: 30 * day, Absolute: day}, day},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refresh := create(t, v, tc.policy)
			c.Advance(tc.life - time.Second)
			loadGrant(t, v, refresh)
			c.Advance(time.Second)
			_, err := v.LoadGrant(t.Context(), refresh)
			if !errors.Is(err, sessions.ErrNotFound) && !errors.Is(err, sessions.ErrExpired) {
				t.Errorf("LoadGrant: %v, want that it is gone", err)
			}
			_, _, err = v.RotateGrant(t.Context(), refresh, tc.policy, nil)
			if !errors.Is(err, sessions.ErrNotFound) && !errors.Is(err, sessions.ErrExpired) {
				t.Errorf("RotateGrant: %v, want that it is gone", err)
			}
		})
	}
}

// A code may be replayed while its first redemption is still on the way to its grant.
func TestGrantRevokedBeforeItIsCreated(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		g := exampleGrant()
		g.ID = sessions.NewID()
		if err := a.RevokeGrant(t.Context(), ada.Key(), g.ID); err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]*sessions.Vault{"here": a, "on another replica": b} {
			_, err := v.CreateGrant(t.Context(), g, policy)
			wantErr(t, "CreateGrant "+name, err, sessions.ErrRevoked)
		}
		c.Advance(25 * time.Hour) // when the revocation itself is forgotten
		if grants, err := newVault(t, replica(), c).ListGrants(t.Context(), ada.Key()); err != nil || len(grants) != 0 {
			t.Errorf("the grant came back: %+v, %v", grants, err)
		}
	})
}

func TestGrantWithMalformedNames(t *testing.T) {
	v, _ := memVault(t)
	for _, user := range []string{"", "../../keyring", ada.Subject, "A" + ada.Key()[1:], ada.Key() + "0"} {
		wantErr(t, "RevokeGrant", v.RevokeGrant(t.Context(), user, sessions.NewID()), sessions.ErrInvalid)
		_, err := v.ListGrants(t.Context(), user)
		wantErr(t, "ListGrants", err, sessions.ErrInvalid)
	}
	refresh := create(t, v, policy)
	access := issue(t, v, exampleAccess(v.Now()))
	for _, text := range []string{"", refresh[:len(refresh)-1], refresh + "A", access, "mcprt_" + access[6:]} {
		_, err := v.LoadGrant(t.Context(), text)
		wantErr(t, "LoadGrant", err, sessions.ErrInvalid)
		_, _, err = v.RotateGrant(t.Context(), text, policy, nil)
		wantErr(t, "RotateGrant", err, sessions.ErrInvalid)
	}
}

func TestGrantWhileTheStoreIsDown(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	refresh := create(t, v, policy)
	g := loadGrant(t, v, refresh)

	store.set("Get", "Put", "Update", "List")
	_, err := v.CreateGrant(t.Context(), exampleGrant(), policy)
	wantErr(t, "CreateGrant", err, sessions.ErrUnavailable)
	_, err = v.LoadGrant(t.Context(), refresh)
	wantErr(t, "LoadGrant", err, sessions.ErrUnavailable)
	_, _, err = v.RotateGrant(t.Context(), refresh, policy, nil)
	wantErr(t, "RotateGrant", err, sessions.ErrUnavailable)
	_, err = v.ListGrants(t.Context(), ada.Key())
	wantErr(t, "ListGrants", err, sessions.ErrUnavailable)
	store.set()
	_, next, err := v.RotateGrant(t.Context(), refresh, policy, nil)
	if err != nil {
		t.Fatalf("RotateGrant after the outage: %v", err)
	}

	// Creating must not end well when nobody can tell whether the grant was revoked.
	store.set("Get")
	_, err = v.CreateGrant(t.Context(), exampleGrant(), policy)
	wantErr(t, "CreateGrant without a look at the revocations", err, sessions.ErrUnavailable)

	// A revocation that could not delete the record must not be undone by being forgotten.
	store.set("Update")
	wantErr(t, "RevokeGrant", v.RevokeGrant(t.Context(), ada.Key(), g.ID), sessions.ErrUnavailable)
	store.set()
	_, _, err = v.RotateGrant(t.Context(), next, policy, nil)
	wantErr(t, "RotateGrant of a revoked grant", err, sessions.ErrRevoked)
	_, err = newVault(t, store.Store, c).LoadGrant(t.Context(), next)
	if err == nil {
		t.Error("the record of a revoked grant is still there")
	}
	c.Advance(25 * time.Hour)
	_, err = newVault(t, store.Store, c).LoadGrant(t.Context(), next)
	wantErr(t, "LoadGrant after the revocation is forgotten", err, sessions.ErrNotFound)
}

// The person who tries again has to find what is still alive on other replicas.
func TestARevocationThatFailedCanBeSeenAndRepeated(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	refresh, err := v.CreateGrant(t.Context(), exampleGrant(), policy)
	if err != nil {
		t.Fatal(err)
	}
	_, token := mint(t, v, exampleUserToken(c.Now()))
	grants, err := v.ListGrants(t.Context(), ada.Key())
	if err != nil || len(grants) != 1 {
		t.Fatalf("ListGrants: %+v, %v", grants, err)
	}
	store.set("Put")
	wantErr(t, "RevokeGrant", v.RevokeGrant(t.Context(), ada.Key(), grants[0].ID), sessions.ErrUnavailable)
	wantErr(t, "RevokeUserToken", v.RevokeUserToken(t.Context(), ada.Key(), token.ID), sessions.ErrUnavailable)
	store.set()
	if left, err := v.ListGrants(t.Context(), ada.Key()); err != nil || len(left) != 1 {
		t.Errorf("ListGrants after a failure: %+v, %v", left, err)
	}
	if left, err := v.ListUserTokens(t.Context(), ada.Key()); err != nil || len(left) != 1 {
		t.Errorf("ListUserTokens after a failure: %+v, %v", left, err)
	}
	if err := errors.Join(v.RevokeGrant(t.Context(), ada.Key(), grants[0].ID), v.RevokeUserToken(t.Context(), ada.Key(), token.ID)); err != nil {
		t.Fatal(err)
	}
	_, err = newVault(t, store, c).LoadGrant(t.Context(), refresh)
	wantErr(t, "LoadGrant on another replica", err, sessions.ErrRevoked)
	if left, err := v.ListGrants(t.Context(), ada.Key()); err != nil || len(left) != 0 {
		t.Errorf("ListGrants: %+v, %v", left, err)
	}
}
