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
		want.ID, want.ExpiresAt = id, c.Now().Add(time.Hour)
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
		var made []string
		for _, upstream := range []sessions.ID{id, {}} {
			token := exampleUserToken(c.Now())
			token.Upstream = upstream
			text, _ := mint(t, v, token)
			made = append(made, text)
		}
		ended, err := v.EndUpstream(t.Context(), ada, id)
		if err != nil || len(ended.Grants) != 2 || len(ended.Tokens) != 1 {
			t.Fatalf("EndUpstream ended %d grants and %d tokens, %v; want 2 and 1", len(ended.Grants), len(ended.Tokens), err)
		}
		for i, token := range refresh {
			_, err := v.LoadGrant(t.Context(), token)
			if dead := err != nil; dead != (i < 2) {
				t.Errorf("grant %d: %v", i, err)
			}
		}
		for i, token := range made {
			if err := v.OpenUserToken(token, github, new(sessions.Access)); (err != nil) != (i < 1) {
				t.Errorf("token %d: %v", i, err)
			}
		}
		_, err = v.LoadUpstream(t.Context(), ada, id)
		wantErr(t, "LoadUpstream", err, sessions.ErrNotFound)
		token := exampleUserToken(c.Now())
		token.Upstream = id
		_, _, err = v.MintUserToken(t.Context(), token)
		wantErr(t, "making a token after the sign-in has ended", err, sessions.ErrNotFound)
		if again, err := v.EndUpstream(t.Context(), ada, id); err != nil || len(again.Grants)+len(again.Tokens) != 0 {
			t.Errorf("EndUpstream again: %+v, %v", again, err)
		}
	})
}

func TestAnUpstreamIsKeptAsLongAsATokenThatRestsOnIt(t *testing.T) {
	v, c := memVault(t)
	id, err := v.CreateUpstream(t.Context(), exampleUpstream(c), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	token := exampleUserToken(c.Now())
	token.Upstream = id
	mint(t, v, token)
	// Asking the provider keeps it for an hour from then on, and must not make it end sooner.
	if _, err := v.UpdateUpstream(t.Context(), ada, id, time.Hour, func(*sessions.Upstream) error { return nil }); err != nil {
		t.Fatal(err)
	}
	c.Advance(30*day - time.Second)
	if _, err := v.LoadUpstream(t.Context(), ada, id); err != nil {
		t.Errorf("in the last second of the token: %v", err)
	}
	c.Advance(time.Hour)
	_, err = v.LoadUpstream(t.Context(), ada, id)
	wantErr(t, "LoadUpstream after the token", err, sessions.ErrNotFound)
}

// What somebody gave for use at upstreams goes soon after they have; the credentials of others stay.
func TestCredentialsEndSoonAfterTheProviderRefusedTheirOwner(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		v := newVault(t, replica(), c)
		eve := sessions.User{Issuer: ada.Issuer, Subject: "eve"}
		for _, owner := range []sessions.User{ada, eve} {
			_, err := v.UpdateCredential(t.Context(), owner.Key(), githubURI, 90*day, func(c *sessions.Credential) error {
				c.Version, c.Secret = sessions.NewID(), "ghp_secret"
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // refusing once more does not keep them longer
			id, err := v.CreateUpstream(t.Context(), exampleUpstream(c), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.EndUpstream(t.Context(), ada, id); err != nil {
				t.Fatal(err)
			}
			c.Advance(sessions.LeaverLife/2 - time.Minute)
		}
		if got, err := v.LoadCredential(t.Context(), ada.Key(), githubURI); err != nil || got.Secret == "" || got.LeftAt.IsZero() {
			t.Errorf("before the end: %+v, %v", got, err)
		}
		c.Advance(3 * time.Minute)
		_, err := v.LoadCredential(t.Context(), ada.Key(), githubURI)
		wantErr(t, "a leaver's credential", err, sessions.ErrNotFound)
		if _, err := v.LoadCredential(t.Context(), eve.Key(), githubURI); err != nil {
			t.Errorf("somebody else's: %v", err)
		}
	})
}
