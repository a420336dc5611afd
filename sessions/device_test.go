package sessions_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

var (
	signIn = sessions.NewID()
	person = sessions.User{Issuer: "https://idp.example.com", Subject: "alice", Email: "alice@example.com"}
)

func issueDevice(t *testing.T, v *sessions.Vault) (string, sessions.Device) {
	t.Helper()
	code, d, err := v.IssueDevice(t.Context(), sessions.Device{ClientID: "tv", Resource: tenant, Scopes: []string{"tools:read"}}, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return code, d
}

func TestDeviceGoesFromPendingToTaken(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		code, issued := issueDevice(t, a)
		ref, err := b.OpenDeviceCode(code)
		if err != nil || ref != issued.Ref() {
			t.Fatalf("the device code names %+v, %v; want %+v", ref, err, issued.Ref())
		}
		found, err := b.FindDevice(t.Context(), issued.UserCode)
		if err != nil || found.ClientID != "tv" || found.Decision != sessions.DevicePending {
			t.Fatalf("the user code finds %+v, %v", found, err)
		}
		_, err = b.TakeDevice(t.Context(), ref)
		wantErr(t, "taking before a decision", err, sessions.ErrNotFound)
		if err := a.AllowDevice(t.Context(), ref, sessions.Browser{User: person, AuthTime: c.Now(), Upstream: signIn}, true); err != nil {
			t.Fatal(err)
		}
		_, err = b.FindDevice(t.Context(), issued.UserCode)
		wantErr(t, "typing the code after the decision", err, sessions.ErrNotFound)
		wantErr(t, "deciding again", b.DenyDevice(t.Context(), ref), sessions.ErrNotFound)
		loaded, err := b.LoadDevice(t.Context(), ref)
		if err != nil || loaded.Decision != sessions.DeviceAllowed || loaded.User.Subject != "alice" || loaded.Upstream != signIn {
			t.Fatalf("polling finds %+v, %v", loaded, err)
		}

		var won, lost atomic.Int32
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				d, err := []*sessions.Vault{a, b}[i%2].TakeDevice(t.Context(), ref)
				switch {
				case err == nil && d.User.Subject == "alice":
					won.Add(1)
				case errors.Is(err, sessions.ErrNotFound):
					lost.Add(1)
				default:
					t.Errorf("taking: %+v, %v", d, err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 49 {
			t.Errorf("%d takers won and %d lost, want 1 and 49", won.Load(), lost.Load())
		}
		_, err = a.LoadDevice(t.Context(), ref)
		wantErr(t, "polling after the token", err, sessions.ErrNotFound)
	})
}

func TestOfManyDecisionsAboutADeviceOneCounts(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		_, issued := issueDevice(t, a)
		var allowed, denied atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				v := []*sessions.Vault{a, b}[i%2]
				if i%4 < 2 {
					if v.AllowDevice(t.Context(), issued.Ref(), sessions.Browser{User: person, AuthTime: c.Now(), Upstream: signIn}, true) == nil {
						allowed.Add(1)
					}
				} else if v.DenyDevice(t.Context(), issued.Ref()) == nil {
					denied.Add(1)
				}
			})
		}
		wg.Wait()
		if allowed.Load()+denied.Load() != 1 {
			t.Fatalf("%d allowed and %d denied, want one of all", allowed.Load(), denied.Load())
		}
		d, err := b.LoadDevice(t.Context(), issued.Ref())
		if err != nil || (d.Decision == sessions.DeviceAllowed) != (allowed.Load() == 1) {
			t.Errorf("the record says %q, %v", d.Decision, err)
		}
	})
}

func TestADeviceCodeIsWorthNothingElsewhereOrLater(t *testing.T) {
	v, c := memVault(t)
	code, issued := issueDevice(t, v)
	elsewhere := *v
	elsewhere.Tenant = "https://other.example.com"
	_, err := elsewhere.OpenDeviceCode(code)
	wantErr(t, "opening at another site", err, sessions.ErrInvalid)
	_, err = elsewhere.FindDevice(t.Context(), issued.UserCode)
	wantErr(t, "typing at another site", err, sessions.ErrNotFound)
	for _, wrong := range []string{"", "mcpdc_", code[:len(code)-1], code + "A", strings.Replace(code, "mcpdc_", "mcpac_", 1)} {
		_, err := v.OpenDeviceCode(wrong)
		wantErr(t, "opening "+wrong, err, sessions.ErrInvalid)
	}
	foreign := sessions.DeviceRef{ID: sessions.NewID(), UserCode: issued.UserCode}
	_, err = v.LoadDevice(t.Context(), foreign)
	wantErr(t, "loading by the user code alone", err, sessions.ErrNotFound)
	wantErr(t, "allowing by the user code alone", v.AllowDevice(t.Context(), foreign, sessions.Browser{User: person, AuthTime: c.Now(), Upstream: signIn}, true), sessions.ErrNotFound)

	c.Advance(10*time.Minute - time.Second)
	if _, err := v.FindDevice(t.Context(), issued.UserCode); err != nil {
		t.Errorf("a second before its end the code is gone: %v", err)
	}
	c.Advance(time.Second)
	_, err = v.OpenDeviceCode(code)
	wantErr(t, "opening at the end", err, sessions.ErrExpired)
	_, err = v.FindDevice(t.Context(), issued.UserCode)
	wantErr(t, "typing at the end", err, sessions.ErrNotFound)
	wantErr(t, "allowing at the end", v.AllowDevice(t.Context(), issued.Ref(), sessions.Browser{User: person, AuthTime: c.Now(), Upstream: signIn}, true), sessions.ErrNotFound)
}

func TestDevicesTellAnOutageFromARefusal(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	_, issued := issueDevice(t, v)
	store.set("Get", "Update")
	_, _, err := v.IssueDevice(t.Context(), sessions.Device{}, time.Minute)
	wantErr(t, "issuing", err, sessions.ErrUnavailable)
	_, err = v.FindDevice(t.Context(), issued.UserCode)
	wantErr(t, "finding", err, sessions.ErrUnavailable)
	_, err = v.LoadDevice(t.Context(), issued.Ref())
	wantErr(t, "loading", err, sessions.ErrUnavailable)
	_, err = v.TakeDevice(t.Context(), issued.Ref())
	wantErr(t, "taking", err, sessions.ErrUnavailable)
	wantErr(t, "allowing", v.AllowDevice(t.Context(), issued.Ref(), sessions.Browser{User: person, AuthTime: c.Now(), Upstream: signIn}, true), sessions.ErrUnavailable)
}

func TestAnAuthorizationIsOneRecord(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	before := store.count("Put") + store.count("Update")
	code, issued := issueDevice(t, v)
	if n := store.count("Put") + store.count("Update") - before; n != 1 {
		t.Errorf("issuing wrote %d records, want 1", n)
	}
	ref, err := v.OpenDeviceCode(code)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := v.LoadDevice(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	if n := store.count("Put") + store.count("Update") - before; n != 1 {
		t.Errorf("polling wrote %d records, want none", n-1)
	}
	if issued.UserCode.String() == "" {
		t.Error("the user code cannot be shown")
	}
}
