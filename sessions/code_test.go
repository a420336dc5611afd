package sessions_test

import (
	"errors"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

var ada = sessions.User{
	Issuer: "https://accounts.google.com", Subject: "110169484474386276334",
	Email: "ada@example.com", Name: "Ada Lovelace", Groups: []string{"engineering", "analysts"},
}

func exampleCode(c *clock) sessions.Code {
	return sessions.Code{
		ClientID: "client", RedirectURI: "http://localhost:3334/callback", Challenge: "challenge",
		Resource: "https://mcp.example.com", Scopes: []string{"read", "write"}, User: ada,
		ClientLabel: "label", ClientName: "Client", RedirectHost: "localhost",
		Grant: sessions.NewID(), AuthTime: c.Now(), OfflineAccess: true,
	}
}

func TestCode(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		vaults := []*sessions.Vault{newVault(t, replica(), c), newVault(t, replica(), c)}
		v := vaults[0]
		want := exampleCode(c)
		code, err := v.IssueCode(t.Context(), want, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := vaults[1].LoadCode(t.Context(), code); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("LoadCode: %+v, %v; want %+v", got, err, want)
			}
		}
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				got, err := vaults[i%2].RedeemCode(t.Context(), code)
				if got.Grant != want.Grant {
					t.Errorf("RedeemCode gave the grant %s, want %s", got.Grant, want.Grant)
				}
				switch {
				case err == nil:
					won.Add(1)
				case errors.Is(err, sessions.ErrReused):
					lost.Add(1)
				default:
					t.Errorf("RedeemCode: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 99 {
			t.Errorf("%d callers redeemed the code and %d did not, want 1 and 99", won.Load(), lost.Load())
		}
		// A replay is known for one long after the code itself has expired.
		c.Advance(10*time.Minute - time.Second)
		got, err := v.LoadCode(t.Context(), code)
		wantErr(t, "LoadCode of a redeemed code", err, sessions.ErrReused)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("LoadCode of a redeemed code: %+v, want %+v", got, want)
		}
		got, err = v.RedeemCode(t.Context(), code)
		wantErr(t, "RedeemCode of a redeemed code", err, sessions.ErrReused)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("RedeemCode of a redeemed code: %+v, want %+v", got, want)
		}
		c.Advance(time.Second)
		_, err = v.LoadCode(t.Context(), code)
		wantErr(t, "LoadCode after the tombstone", err, sessions.ErrExpired)
		_, err = v.RedeemCode(t.Context(), code)
		wantErr(t, "RedeemCode after the tombstone", err, sessions.ErrExpired)
	})
}

func TestCodeExpires(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	code, err := v.IssueCode(t.Context(), exampleCode(c), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Minute)
	_, err = v.LoadCode(t.Context(), code)
	wantErr(t, "LoadCode", err, sessions.ErrExpired)
	_, err = v.RedeemCode(t.Context(), code)
	wantErr(t, "RedeemCode", err, sessions.ErrExpired)
	c.Advance(time.Hour)
	gets, updates := store.count("Get"), store.count("Update")
	_, err = v.LoadCode(t.Context(), code)
	wantErr(t, "LoadCode of an old code", err, sessions.ErrExpired)
	_, err = v.RedeemCode(t.Context(), code)
	wantErr(t, "RedeemCode of an old code", err, sessions.ErrExpired)
	for _, text := range []string{"", "mcpac_AAAA", code[:len(code)-1], code + code} {
		_, err = v.RedeemCode(t.Context(), text)
		wantErr(t, "RedeemCode of garbage", err, sessions.ErrInvalid)
	}
	if store.count("Get") != gets || store.count("Update") != updates {
		t.Error("an old code, or garbage, reaches the store")
	}
	if _, err := v.IssueCode(t.Context(), exampleCode(c), 0); err == nil {
		t.Error("a code without a life was issued")
	}
}

func TestCodeWhileTheStoreIsDown(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	code, err := v.IssueCode(t.Context(), exampleCode(c), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	store.set("Get", "Put", "Update")
	_, err = v.IssueCode(t.Context(), exampleCode(c), time.Minute)
	wantErr(t, "IssueCode", err, sessions.ErrUnavailable)
	_, err = v.LoadCode(t.Context(), code)
	wantErr(t, "LoadCode", err, sessions.ErrUnavailable)
	_, err = v.RedeemCode(t.Context(), code)
	wantErr(t, "RedeemCode", err, sessions.ErrUnavailable)
	store.set()
	if _, err = v.RedeemCode(t.Context(), code); err != nil {
		t.Errorf("RedeemCode after the outage: %v", err)
	}
}
