package sessions_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// What a provider issued for a grant is found by the grant's refresh token, also when the grant has ended.
func TestWhatWasIssuedOutlivesItsGrant(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		v, other := newVault(t, replica(), c), newVault(t, replica(), c)
		up := exampleUpstream(c)
		up.Relayed = &sessions.Relayed{ClientID: "claude"}
		id, err := v.CreateUpstream(t.Context(), up, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		policy := sessions.GrantPolicy{Sliding: time.Hour, Grace: time.Minute}
		refresh, err := v.CreateGrant(t.Context(), sessions.Grant{ID: id, User: ada, ClientID: "claude", Upstream: id}, policy)
		if err != nil {
			t.Fatal(err)
		}
		_, next, err := v.RotateGrant(t.Context(), refresh, policy, nil)
		if err != nil {
			t.Fatal(err)
		}
		for want, token := range []string{refresh, next} {
			got, generation, err := other.RelayedOf(t.Context(), token)
			if err != nil || got.ID != id || got.Relayed.ClientID != "claude" || generation != uint32(want+1) {
				t.Errorf("RelayedOf: %+v, %d, %v", got, generation, err)
			}
		}
		if err := v.RevokeGrant(t.Context(), ada.Key(), id); err != nil {
			t.Fatal(err)
		}
		if got, _, err := v.RelayedOf(t.Context(), next); err != nil || got.ID != id {
			t.Errorf("RelayedOf after the grant: %+v, %v", got, err)
		}
		for range 2 {
			if err := v.DeleteUpstream(t.Context(), ada, id); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err = v.RelayedOf(t.Context(), next)
		wantErr(t, "RelayedOf after it was deleted", err, sessions.ErrNotFound)
	})
}

func TestRelayedOfTakesRefreshTokensOfFacadesOnly(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		v := newVault(t, replica(), c)
		id, err := v.CreateUpstream(t.Context(), exampleUpstream(c), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		refresh, err := v.CreateGrant(t.Context(), sessions.Grant{ID: id, User: ada, Upstream: id}, sessions.GrantPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = v.RelayedOf(t.Context(), refresh)
		wantErr(t, "RelayedOf a sign-in that people have", err, sessions.ErrNotFound)
		code, err := v.IssueCode(t.Context(), sessions.Code{User: ada}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{code, "", "mcprt_AAAA", "a.b.c"} {
			_, _, err = v.RelayedOf(t.Context(), token)
			wantErr(t, "RelayedOf what is no refresh token", err, sessions.ErrInvalid)
		}
		other := *v
		other.Tenant = "https://other.example"
		_, _, err = other.RelayedOf(t.Context(), refresh)
		wantErr(t, "RelayedOf at another tenant", err, sessions.ErrInvalid)
		if v.TokenID("a") == other.TokenID("a") || v.TokenID("a") == v.TokenID("b") || v.TokenID("a") != v.TokenID("a") {
			t.Error("tokens are not told apart")
		}
	})
}

func TestRelayedForgetsTokensThatHaveExpired(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	token := func(n byte, life time.Duration) sessions.RelayedToken {
		return sessions.RelayedToken{ID: sessions.ID{n}, ExpiresAt: now.Add(life)}
	}
	var r sessions.Relayed
	for n, life := range []time.Duration{time.Minute, time.Hour, time.Second} {
		r.Add(token(byte(n), life), now)
	}
	if want := []sessions.RelayedToken{token(1, time.Hour)}; !reflect.DeepEqual(r.Live(now.Add(time.Minute)), want) || len(r.Tokens) != 3 {
		t.Errorf("live are %v", r.Live(now.Add(time.Minute)))
	}
	r.Add(token(3, 2*time.Hour), now.Add(time.Minute))
	if want := []sessions.RelayedToken{token(1, time.Hour), token(3, 2*time.Hour)}; !reflect.DeepEqual(r.Tokens, want) {
		t.Errorf("kept are %v", r.Tokens)
	}
}
