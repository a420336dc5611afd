package sessions_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

func TestBrowserSession(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		planted := sessions.NewID()
		want := sessions.Browser{ID: planted, User: ada, AuthTime: c.Now(), Provider: "google", Upstream: sessions.NewID(), LogoutHint: "id token"}
		cookie, err := a.CreateBrowser(t.Context(), want, 12*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.LoadBrowser(t.Context(), cookie)
		if err != nil || got.ID == planted || got.ID == (sessions.ID{}) {
			t.Fatalf("LoadBrowser: %+v, %v; want a fresh id", got, err)
		}
		want.ID, want.ExpiresAt = got.ID, c.Now().Add(12*time.Hour)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("LoadBrowser: %+v, want %+v", got, want)
		}
		other, err := a.CreateBrowser(t.Context(), want, time.Hour)
		if err != nil || other == cookie {
			t.Fatalf("a second session has the same cookie, or %v", err)
		}
		for range 2 {
			if err := a.DeleteBrowser(t.Context(), cookie); err != nil {
				t.Errorf("DeleteBrowser: %v", err)
			}
		}
		_, err = b.LoadBrowser(t.Context(), cookie)
		wantErr(t, "LoadBrowser after signing out", err, sessions.ErrNotFound)
		if _, err = b.LoadBrowser(t.Context(), other); err != nil {
			t.Errorf("another session of the same person: %v", err)
		}
		c.Advance(time.Hour)
		_, err = b.LoadBrowser(t.Context(), other)
		wantErr(t, "LoadBrowser at its end", err, sessions.ErrExpired)
	})
}

func TestBrowserSessionRefuses(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	cookie, err := v.CreateBrowser(t.Context(), sessions.Browser{User: ada}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x", cookie[1:], cookie + "A", strings.Repeat("A", 6<<10), issue(t, v, exampleAccess(c.Now()))} {
		_, err := v.LoadBrowser(t.Context(), text)
		wantErr(t, "LoadBrowser", err, sessions.ErrInvalid)
		wantErr(t, "DeleteBrowser", v.DeleteBrowser(t.Context(), text), sessions.ErrInvalid)
	}
	store.set("Get", "Put", "Delete")
	_, err = v.CreateBrowser(t.Context(), sessions.Browser{User: ada}, time.Hour)
	wantErr(t, "CreateBrowser while the store is down", err, sessions.ErrUnavailable)
	_, err = v.LoadBrowser(t.Context(), cookie)
	wantErr(t, "LoadBrowser while the store is down", err, sessions.ErrUnavailable)
	wantErr(t, "DeleteBrowser while the store is down", v.DeleteBrowser(t.Context(), cookie), sessions.ErrUnavailable)
}
