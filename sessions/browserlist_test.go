package sessions_test

import (
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

func signInBrowser(t testing.TB, v *sessions.Vault, user sessions.User, at time.Time) string {
	t.Helper()
	cookie, err := v.CreateBrowser(t.Context(), sessions.Browser{User: user, AuthTime: at, UserAgent: "Firefox"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

func browsersOf(t testing.TB, v *sessions.Vault, user sessions.User) []sessions.Browser {
	t.Helper()
	all, err := v.ListBrowsers(t.Context(), user.Key())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBrowsersAreListedForTheirPerson(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		first := signInBrowser(t, a, ada, c.Now())
		c.Advance(time.Minute)
		second := signInBrowser(t, b, ada, c.Now())
		bob := sessions.User{Issuer: ada.Issuer, Subject: "bob"}
		others := signInBrowser(t, a, bob, c.Now())

		all := browsersOf(t, b, ada)
		if len(all) != 2 || !all[0].AuthTime.After(all[1].AuthTime) || all[0].UserAgent != "Firefox" {
			t.Fatalf("ListBrowsers: %+v; want both, the newest first", all)
		}

		theirs := browsersOf(t, a, bob)
		if err := a.EndBrowser(t.Context(), ada.Key(), theirs[0].ID); err != nil {
			t.Errorf("ending somebody else's session: %v, want that nothing happens", err)
		}
		if _, err := b.LoadBrowser(t.Context(), others); err != nil {
			t.Errorf("somebody else has ended the session: %v", err)
		}

		for range 2 {
			if err := b.EndBrowser(t.Context(), ada.Key(), all[1].ID); err != nil {
				t.Errorf("EndBrowser: %v", err)
			}
		}
		_, err := a.LoadBrowser(t.Context(), first)
		wantErr(t, "LoadBrowser after it was ended elsewhere", err, sessions.ErrNotFound)
		if left := browsersOf(t, a, ada); len(left) != 1 || left[0].ID != all[0].ID {
			t.Errorf("left are %+v", left)
		}
		if err := a.DeleteBrowser(t.Context(), second); err != nil {
			t.Fatal(err)
		}
		if left := browsersOf(t, b, ada); len(left) != 0 {
			t.Errorf("after signing out there are %+v", left)
		}
		if left := browsersOf(t, b, bob); len(left) != 1 {
			t.Errorf("somebody else's are %+v", left)
		}
		c.Advance(time.Hour)
		if left := browsersOf(t, b, bob); len(left) != 0 {
			t.Errorf("an hour later there are %+v", left)
		}
	})
}

func TestBrowsersOfOtherTenants(t *testing.T) {
	v, c := memVault(t)
	cookie := signInBrowser(t, v, ada, c.Now())
	id := browsersOf(t, v, ada)[0].ID
	elsewhere := *v
	elsewhere.Tenant = "https://other.example.com"
	if all := browsersOf(t, &elsewhere, ada); len(all) != 0 {
		t.Errorf("another tenant sees %+v", all)
	}
	if err := elsewhere.EndBrowser(t.Context(), ada.Key(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := v.LoadBrowser(t.Context(), cookie); err != nil {
		t.Errorf("another tenant has ended the session: %v", err)
	}
}

func TestListingBrowsersRefuses(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	signInBrowser(t, v, ada, c.Now())
	id := browsersOf(t, v, ada)[0].ID
	for _, user := range []string{"", ada.Subject, "../" + ada.Key()} {
		_, err := v.ListBrowsers(t.Context(), user)
		wantErr(t, "ListBrowsers", err, sessions.ErrInvalid)
		wantErr(t, "EndBrowser", v.EndBrowser(t.Context(), user, id), sessions.ErrInvalid)
		_, err = v.ListSignIns(t.Context(), user)
		wantErr(t, "ListSignIns", err, sessions.ErrInvalid)
		wantErr(t, "RecordSignIn", v.RecordSignIn(t.Context(), user, sessions.SignIn{}), sessions.ErrInvalid)
	}
	store.set("List", "Get", "Update")
	_, err := v.ListBrowsers(t.Context(), ada.Key())
	wantErr(t, "ListBrowsers while the store is down", err, sessions.ErrUnavailable)
	wantErr(t, "EndBrowser while the store is down", v.EndBrowser(t.Context(), ada.Key(), id), sessions.ErrUnavailable)
	_, err = v.ListSignIns(t.Context(), ada.Key())
	wantErr(t, "ListSignIns while the store is down", err, sessions.ErrUnavailable)
	wantErr(t, "RecordSignIn while the store is down", v.RecordSignIn(t.Context(), ada.Key(), sessions.SignIn{}), sessions.ErrUnavailable)
	store.set("Delete")
	wantErr(t, "EndBrowser that is not done", v.EndBrowser(t.Context(), ada.Key(), id), sessions.ErrUnavailable)
	store.set()
	if err := v.EndBrowser(t.Context(), ada.Key(), id); err != nil {
		t.Errorf("after trying again: %v", err)
	}
}

func TestTheLastSignInsAreRemembered(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		for range sessions.MaxSignIns + 5 {
			c.Advance(time.Minute)
			if err := a.RecordSignIn(t.Context(), ada.Key(), sessions.SignIn{At: c.Now(), ClientAddr: "192.0.2.1"}); err != nil {
				t.Fatal(err)
			}
		}
		all, err := b.ListSignIns(t.Context(), ada.Key())
		if err != nil || len(all) != sessions.MaxSignIns || !all[0].At.Equal(c.Now()) || !all[1].At.Equal(c.Now().Add(-time.Minute)) {
			t.Fatalf("%d sign-ins, %v; want the last %d, the newest first: %+v", len(all), err, sessions.MaxSignIns, all)
		}
		bob := sessions.User{Issuer: ada.Issuer, Subject: "bob"}
		if all, err := b.ListSignIns(t.Context(), bob.Key()); err != nil || len(all) != 0 {
			t.Errorf("somebody else sees %+v, %v", all, err)
		}
		c.Advance(181 * day)
		if all, err := b.ListSignIns(t.Context(), ada.Key()); err != nil || len(all) != 0 {
			t.Errorf("half a year later there are %+v, %v", all, err)
		}
	})
}
