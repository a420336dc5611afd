package sessions_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func exampleUpstream(c *clock) sessions.Upstream {
	return sessions.Upstream{User: ada, Provider: "google", Secret: []byte("refresh token"), CheckedAt: c.Now()}
}

func TestAnUpstreamIsSharedByTheReplicasAndEndsWithItsTime(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		want := exampleUpstream(c)
		want.ID = sessions.NewID() // chosen by the caller, and not taken
		id, err := a.CreateUpstream(t.Context(), want, time.Hour)
		if err != nil || id == want.ID {
			t.Fatalf("CreateUpstream: %s, %v; want a fresh id", id, err)
		}
		want.ID = id
		if got, err := b.LoadUpstream(t.Context(), ada, id); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("LoadUpstream: %+v, %v; want %+v", got, err, want)
		}
		_, err = b.LoadUpstream(t.Context(), sessions.User{Issuer: ada.Issuer, Subject: "somebody else"}, id)
		wantErr(t, "LoadUpstream for another user", err, sessions.ErrNotFound)

		c.Advance(40 * time.Minute)
		changed, err := b.UpdateUpstream(t.Context(), ada, id, time.Hour, func(u *sessions.Upstream) error {
			u.Secret, u.CheckedAt = []byte("rotated"), c.Now()
			return nil
		})
		if err != nil || string(changed.Secret) != "rotated" {
			t.Fatalf("UpdateUpstream: %+v, %v", changed, err)
		}
		c.Advance(40 * time.Minute) // beyond the first hour
		if got, err := a.LoadUpstream(t.Context(), ada, id); err != nil || !reflect.DeepEqual(got, changed) {
			t.Errorf("LoadUpstream: %+v, %v; want %+v", got, err, changed)
		}
		c.Advance(40 * time.Minute)
		_, err = a.LoadUpstream(t.Context(), ada, id)
		wantErr(t, "LoadUpstream after its time", err, sessions.ErrNotFound)
		_, err = a.UpdateUpstream(t.Context(), ada, id, time.Hour, func(*sessions.Upstream) error { return nil })
		wantErr(t, "UpdateUpstream after its time", err, sessions.ErrNotFound)
	})
}

func TestAnUpstreamThatIsRefusedAChangeStaysAsItIs(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		v := newVault(t, replica(), c)
		id, err := v.CreateUpstream(t.Context(), exampleUpstream(c), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		refused := errors.New("refused")
		got, err := v.UpdateUpstream(t.Context(), ada, id, time.Hour, func(u *sessions.Upstream) error { return refused })
		if err != refused || got.Provider != "google" {
			t.Errorf("UpdateUpstream: %+v, %v; want the record and the refusal", got, err)
		}
		for name, change := range map[string]func(*sessions.Upstream) error{
			"to another user": func(u *sessions.Upstream) error { u.User.Subject = "somebody else"; return nil },
			"to another id":   func(u *sessions.Upstream) error { u.ID = sessions.NewID(); return nil },
		} {
			if _, err := v.UpdateUpstream(t.Context(), ada, id, time.Hour, change); err == nil {
				t.Errorf("a sign-in passed %s", name)
			}
		}
		if got, err := v.LoadUpstream(t.Context(), ada, id); err != nil || string(got.Secret) != "refresh token" {
			t.Errorf("LoadUpstream: %+v, %v", got, err)
		}
	})
}

func TestTheEndOfAnUpstreamIsThatOfItsGrants(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		v := newVault(t, replica(), c)
		id, err := v.CreateUpstream(t.Context(), exampleUpstream(c), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		var refresh []string
		for _, upstream := range []sessions.ID{id, id, sessions.NewID(), {}} {
			g := exampleGrant()
			g.Upstream = upstream
			token, err := v.CreateGrant(t.Context(), g, policy)
			if err != nil {
				t.Fatal(err)
			}
			refresh = append(refresh, token)
		}
		ended, err := v.EndUpstream(t.Context(), ada, id)
		if err != nil || len(ended) != 2 {
			t.Fatalf("EndUpstream ended %d grants, %v; want 2", len(ended), err)
		}
		for i, token := range refresh {
			_, err := v.LoadGrant(t.Context(), token)
			if dead := err != nil; dead != (i < 2) {
				t.Errorf("grant %d: %v", i, err)
			}
		}
		_, err = v.LoadUpstream(t.Context(), ada, id)
		wantErr(t, "LoadUpstream", err, sessions.ErrNotFound)
		if again, err := v.EndUpstream(t.Context(), ada, id); err != nil || len(again) != 0 {
			t.Errorf("EndUpstream again: %d grants, %v", len(again), err)
		}
	})
}
