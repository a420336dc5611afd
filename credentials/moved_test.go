package credentials

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// metadataLife is longer than metadata are remembered.
const metadataLife = 25 * time.Hour

// name makes the MCP server at s name an authorization server.
func (s *authServer) name(issuer string) {
	s.set(func(s *authServer) {
		s.documents["/.well-known/oauth-protected-resource"] = map[string]any{"resource": s.URL, "authorization_servers": []string{issuer}}
	})
}

// An MCP server that names another authorization server than before, because it was taken over or has moved,
// gets nothing there that the first one has issued: no refresh token, no code, and no way to end anything.
func TestWhatOneAuthorizationServerIssuedIsNotShownToAnother(t *testing.T) {
	w := newWorld(t)
	evil := newAuthServer(t, w.clock)
	mcp := newAuthServer(t, w.clock) // of which only the document counts
	mcp.name(w.server.URL)
	up := w.connecting(linearURI, mcp.URL)
	w.connect(alice, up)
	v := visit(bob)
	begun := w.begin(v, up)

	mcp.name(evil.URL)
	w.clock.Advance(connectLife - time.Minute)
	elsewhere := w.connecting(linearURI, mcp.URL) // another replica, which knows nothing yet
	if _, err := w.Finish(t.Context(), v, elsewhere, w.server.answer(begun)); !errors.Is(err, ErrAnswer) {
		t.Errorf("Finish: %v", err)
	}
	w.clock.Advance(metadataLife)
	wantUse(t, w.Keeper, alice, up, ErrEnded)
	if len(evil.forms) != 0 || w.server.asked("refresh_token") != 0 {
		t.Errorf("the other server got %v", evil.forms)
	}

	// It is named again, and nothing was lost.
	mcp.name(w.server.URL)
	w.clock.Advance(metadataLife)
	if got := value(t, w.Keeper, alice, up); got != "Bearer access-2" {
		t.Errorf("after the move was undone: %q", got)
	}

	mcp.name(evil.URL)
	w.clock.Advance(metadataLife)
	if removal, err := w.Remove(t.Context(), alice, up); err != nil || removal != (Removal{Found: true, Untold: true}) {
		t.Errorf("Remove: %+v, %v", removal, err)
	}
	if len(evil.forms)+len(evil.revoked) != 0 {
		t.Errorf("the other server got %v and was to revoke %v", evil.forms, evil.revoked)
	}
}

// What was given before the configuration changed is removed here, and shown to nobody else.
func TestRemovingWhatCameFromElsewhereTellsNobody(t *testing.T) {
	w := newWorld(t)
	w.connect(alice, w.linear)
	moved := *w.linear
	server := newAuthServer(t, w.clock)
	moved.OAuth = w.connecting(linearURI, server.URL).OAuth
	if removal, err := w.Remove(t.Context(), alice, &moved); err != nil || removal != (Removal{Found: true}) {
		t.Errorf("Remove: %+v, %v", removal, err)
	}
	if len(server.revoked)+len(w.server.revoked) != 0 {
		t.Errorf("revoked %v there and %v at the first server", server.revoked, w.server.revoked)
	}
	wantUse(t, w.replica(), alice, w.linear, ErrMissing)
}

// What was issued and cannot be stored must not live on, known to nobody.
func TestATokenThatCannotBeStoredIsRevoked(t *testing.T) {
	w := newWorld(t)
	v := visit(alice)
	params := w.server.answer(w.begin(v, w.linear))
	w.server.set(func(s *authServer) { s.issuing = func() { w.store.setDown(true) } })
	if _, err := w.Finish(t.Context(), v, w.linear, params); err == nil {
		t.Error("connected without a store")
	}
	if !slices.Equal(w.server.revoked, []string{"refresh-1", "access-1"}) {
		t.Errorf("revoked %v", w.server.revoked)
	}
}

// While the store is down a copy is used, but never past what the authorization server said of its end.
func TestACopyIsNotUsedPastItsEnd(t *testing.T) {
	w := newWorld(t)
	w.server.set(func(s *authServer) { s.life = 90 })
	w.connect(alice, w.linear)
	value(t, w.Keeper, alice, w.linear)
	w.store.setDown(true)
	w.clock.Advance(89 * time.Second)
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-1" {
		t.Errorf("in its last second: %q", got)
	}
	w.clock.Advance(time.Second)
	if _, err := w.Use(t.Context(), alice, w.linear); err == nil {
		t.Error("used after its end")
	}
}

// Whoever comes back after a refusal keeps what they use.
func TestACredentialThatIsUsedAgainStays(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "ghp_alice")
	other := &Upstream{Resource: tenant + "/gitlab", Header: w.github.Header}
	w.typeIn(alice, other, "lin_alice")
	value(t, w.Keeper, alice, w.github)
	if _, err := w.Vault.EndUpstream(t.Context(), alice, sessions.NewID()); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Hour) // not a day after the last use
	value(t, w.Keeper, alice, w.github)
	w.clock.Advance(60 * 24 * time.Hour)
	if got := value(t, w.Keeper, alice, w.github); got != "Bearer ghp_alice" {
		t.Errorf("%q", got)
	}
	wantUse(t, w.Keeper, alice, other, ErrMissing)
}
