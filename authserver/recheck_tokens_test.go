package authserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// made is a token that a person made, and what a client of the same sign-in got.
type made struct {
	text   string
	token  sessions.PersonalToken
	client tokens
}

// signInAndMake signs alice in, for a client, and makes a token that rests on that sign-in.
func (w *world) signInAndMake() made {
	w.t.Helper()
	m := made{client: w.tokens()}
	grant, err := w.Vault.LoadGrant(w.t.Context(), m.client.RefreshToken)
	if err != nil {
		w.t.Fatal(err)
	}
	m.text, m.token, err = w.Vault.MintUserToken(w.t.Context(), sessions.PersonalToken{
		User: grant.User, Name: "nightly", Resources: []string{github}, ExpiresAt: w.clock.Now().Add(300 * 24 * time.Hour),
		Upstream: grant.Upstream, Provider: grant.Provider,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// used is what a request with the token brings about, and reports whether the next one passes.
func (w *world) used(m made) bool {
	w.CheckOwner(sessions.User{Issuer: m.token.User.Issuer, Subject: m.token.User.Subject}, m.token.ID)
	w.background.Wait()
	return w.Vault.OpenUserToken(m.text, github, new(sessions.Access)) == nil
}

func TestTheOwnerOfATokenInUseIsAskedAboutAgain(t *testing.T) {
	w, v := newVouchingWorld(t)
	m := w.signInAndMake()
	for _, step := range []struct {
		after time.Duration
		asked int
	}{{0, 0}, {14 * time.Minute, 0}, {time.Minute, 1}, {0, 1}, {200 * 24 * time.Hour, 2}} {
		w.clock.advance(step.after)
		if !w.used(m) {
			t.Fatalf("after %s more the token is dead", step.after)
		}
		if n := v.questions(); n != step.asked {
			t.Errorf("after %s more the provider was asked %d times in all, want %d", step.after, n, step.asked)
		}
	}
}

// Nobody refreshes a token that a person made, and no client has to be connected for its owner to leave.
func TestALeaversTokensEnd(t *testing.T) {
	denied := fmt.Errorf("%w: provider answered invalid_grant", identity.ErrDenied)
	for _, tc := range []struct {
		name   string
		change func(*world, *vouching)
		use    func(*world, made) bool
		want   bool
	}{
		{"when the token is used", func(_ *world, v *vouching) { v.err = denied }, (*world).used, false},
		{"when a client of the same sign-in refreshes", func(_ *world, v *vouching) { v.err = denied }, func(w *world, m made) bool {
			w.refresh(m.client.RefreshToken).wantError(w.t, 400, "invalid_grant")
			return w.Vault.OpenUserToken(m.text, github, new(sessions.Access)) == nil
		}, false},
		{"not while the provider is down", func(_ *world, v *vouching) { v.err = identity.ErrUnavailable }, (*world).used, true},
		{"when the provider is taken out of the configuration", func(w *world, _ *vouching) { delete(w.providers, "oidc") }, (*world).used, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, v := newVouchingWorld(t)
			m, stranger := w.signInAndMake(), w.signInAndMake()
			w.clock.advance(30 * time.Minute)
			v.set(func() { tc.change(w, v) })
			if got := tc.use(w, m); got != tc.want {
				t.Errorf("the token opens: %t", got)
			}
			if err := w.Vault.OpenUserToken(stranger.text, github, new(sessions.Access)); err != nil {
				t.Errorf("the token of another sign-in: %v", err)
			}
			var recorded int
			for _, e := range w.trail.of(audit.Revocation) {
				if e.Credential == m.token.Label() && e.Allowed && e.Reason != "" && e.By != "" && e.Subject == "alice" {
					recorded++
				}
			}
			if (recorded == 1) == tc.want {
				t.Errorf("recorded %d times", recorded)
			}
		})
	}
}

func TestATokenOutlivesWhatCannotBeAsked(t *testing.T) {
	w, v := newVouchingWorld(t)
	m := w.signInAndMake()
	var err error
	if m.text, m.token, err = w.Vault.MintUserToken(t.Context(), sessions.PersonalToken{
		User: m.token.User, Name: "of a provider that gives nothing", Resources: []string{github}, ExpiresAt: w.clock.Now().Add(24 * time.Hour), Provider: "oidc",
	}); err != nil {
		t.Fatal(err)
	}
	v.set(func() { v.err = identity.ErrDenied })
	w.clock.advance(time.Hour)
	if !w.used(m) || v.questions() != 0 {
		t.Errorf("the token is dead, or somebody was asked: %d", v.questions())
	}
	w.store.fail("Get", "Update", "List")
	if !w.used(m) {
		t.Error("the token is dead while the store is down")
	}
}
