package authserver

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// vouching is a provider that can be asked again and rotates its refresh tokens: each is good once.
type vouching struct {
	provider
	mu      sync.Mutex
	says    identity.User
	err     error
	failing bool // after the token was rotated
	count   int
	next    string        // the only refresh token that is good
	hold    chan struct{} // if not nil, an answer waits for it
	asked   chan struct{} // told of each question
}

func newVouching() *vouching {
	v := &vouching{provider: provider{id: "oidc", name: "Example ID", user: alice}, says: alice, next: "rt-0", asked: make(chan struct{}, 99)}
	v.user.Upstream = []byte("rt-0")
	v.user.LogoutHint = "id-token"
	return v
}

func (v *vouching) Recheck(_ context.Context, upstream []byte) (identity.User, []byte, error) {
	v.asked <- struct{}{}
	if v.hold != nil {
		<-v.hold
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.count++
	if v.err != nil {
		return identity.User{}, nil, v.err
	}
	if string(upstream) != v.next {
		return identity.User{}, nil, fmt.Errorf("%w: refresh token %s was used before", identity.ErrDenied, upstream)
	}
	v.next = fmt.Sprintf("rt-%d", v.count)
	if v.failing {
		return identity.User{}, []byte(v.next), identity.ErrUnavailable
	}
	return v.says, []byte(v.next), nil
}

func (v *vouching) set(change func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	change()
}

func (v *vouching) questions() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.count
}

func newVouchingWorld(t *testing.T) (*world, *vouching) {
	t.Helper()
	v := newVouching()
	w := newWorld(t, func(c *Config) { c.Providers = []identity.Provider{v} })
	return w, v
}

func TestTheProviderIsAskedAgainAtARefreshButNotAtEach(t *testing.T) {
	w, v := newVouchingWorld(t)
	token := w.tokens().RefreshToken
	for _, step := range []struct {
		after time.Duration
		asked int
	}{
		{time.Minute, 0}, {13 * time.Minute, 0}, {time.Minute, 1}, {time.Minute, 1}, {14 * time.Minute, 2}, {24 * time.Hour, 3},
	} {
		w.clock.advance(step.after)
		token = w.refreshed(token).RefreshToken
		if n := v.questions(); n != step.asked {
			t.Errorf("after %s more the provider was asked %d times in all, want %d", step.after, n, step.asked)
		}
	}
}

func TestAGrantOutlivesTheFirstLifeOfItsSignIn(t *testing.T) {
	w, _ := newVouchingWorld(t)
	token := w.tokens().RefreshToken
	for range 5 {
		w.clock.advance(29 * 24 * time.Hour)
		token = w.refreshed(token).RefreshToken
	}
}

func TestWhatTheProviderSaysNowTakesThePlaceOfWhatItSaid(t *testing.T) {
	w, v := newVouchingWorld(t)
	token := w.tokens().RefreshToken
	v.set(func() {
		v.says.Email, v.says.Name, v.says.Groups = "alice@new.example.com", "Alice B", []string{"sales"}
	})
	w.Policy = policy(t, anyRule)
	w.clock.advance(time.Hour)
	got := w.refreshed(token)
	var a sessions.Access
	if err := w.Vault.OpenAccess(got.AccessToken, &a); err != nil {
		t.Fatal(err)
	}
	if a.Email != "alice@new.example.com" || a.Name != "Alice B" || a.Groups != "sales" || a.Subject != "alice" {
		t.Errorf("the token says %+v", a)
	}
	g, err := w.Vault.LoadGrant(t.Context(), got.RefreshToken)
	if err != nil || g.User.Email != "alice@new.example.com" {
		t.Errorf("the grant says %+v, %v", g.User, err)
	}
}

func TestAPersonWhoLeavesTheAllowListAtTheProviderLosesAccess(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*identity.User)
	}{
		{"an address of another domain", func(u *identity.User) { u.Email = "alice@other.example" }},
		{"an address that is not verified any more", func(u *identity.User) { u.EmailVerified = false }},
		{"no address", func(u *identity.User) { u.Email, u.EmailVerified = "", false }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, v := newVouchingWorld(t)
			first := w.tokens()
			v.set(func() { tc.change(&v.says) })
			w.clock.advance(30 * time.Minute)
			w.refresh(first.RefreshToken).wantError(t, 400, "invalid_grant")
			if err := w.Vault.OpenAccess(first.AccessToken, new(sessions.Access)); err == nil {
				t.Error("the access token still opens")
			}
		})
	}
}

func TestALeaverLosesEveryGrantOfTheSignIn(t *testing.T) {
	w, v := newVouchingWorld(t)
	b := w.newBrowser()
	one := w.exchange(b.code())
	two := w.exchange(b.decide(b.ticket("client_id", "other", "redirect_uri", "https://other.example/cb"), "allow").location(t).Query().Get("code"),
		"client_id", "other", "redirect_uri", "https://other.example/cb")
	stranger := w.tokens()
	if len(v.attempts) != 2 || one.RefreshToken == "" || two.RefreshToken == "" {
		t.Fatalf("%d sign-ins, %+v, %+v", len(v.attempts), one, two)
	}
	v.set(func() { v.err = fmt.Errorf("%w: provider answered invalid_grant", identity.ErrDenied) })
	w.clock.advance(30 * time.Minute)
	w.refresh(one.RefreshToken).wantError(t, 400, "invalid_grant")

	for name, token := range map[string]string{"of the client that refreshed": one.AccessToken, "of the other client": two.AccessToken} {
		if err := w.Vault.OpenAccess(token, new(sessions.Access)); err == nil {
			t.Errorf("the access token %s still opens", name)
		}
	}
	if err := w.Vault.OpenAccess(stranger.AccessToken, new(sessions.Access)); err != nil {
		t.Errorf("the token of another sign-in does not open: %v", err)
	}
	w.refresh(two.RefreshToken, "client_id", "other").wantError(t, 400, "invalid_grant")
	if n := v.questions(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
	refused := w.trail.of(audit.TokenRefreshed)
	if len(refused) != 2 || refused[0].Allowed || refused[1].Allowed || !strings.Contains(refused[0].Reason, "no longer vouches") {
		t.Errorf("recorded %+v", refused)
	}
	revoked := w.trail.of(audit.Revocation)
	if len(revoked) != 2 || revoked[0].ClientID != "other" || revoked[1].ClientID != "web" || revoked[1].By != audit.ByProvider {
		t.Errorf("recorded %+v", revoked)
	}
	// The browser's session stems from the same sign-in.
	if a := b.get(AuthorizePath, authorization()); !strings.Contains(a.body, "You will sign in next") {
		t.Errorf("the browser is still signed in\n%s", a.body)
	}
}

func TestAnotherPersonsAnswerEndsTheGrant(t *testing.T) {
	w, v := newVouchingWorld(t)
	first := w.tokens()
	v.set(func() { v.says = bob })
	w.clock.advance(30 * time.Minute)
	w.refresh(first.RefreshToken).wantError(t, 400, "invalid_grant")
}

func TestAProviderThatCannotBeAskedCostsNobodyAnything(t *testing.T) {
	for name, err := range map[string]error{"out of reach": identity.ErrUnavailable, "not understood": identity.ErrRefused} {
		t.Run(name, func(t *testing.T) {
			w, v := newVouchingWorld(t)
			token := w.tokens().RefreshToken
			v.set(func() { v.err = err })
			w.clock.advance(15 * time.Minute)
			token = w.refreshed(token).RefreshToken
			w.clock.advance(59 * time.Minute)
			token = w.refreshed(token).RefreshToken
			w.clock.advance(time.Minute)
			got := w.refresh(token)
			got.wantError(t, 503, "temporarily_unavailable")
			wantRetryAfter(t, got.answer)

			v.set(func() { v.err = nil })
			w.refreshed(token)
		})
	}
}

func TestARotatedTokenIsKeptThoughTheRestFailed(t *testing.T) {
	w, v := newVouchingWorld(t)
	token := w.tokens().RefreshToken
	v.set(func() { v.failing = true })
	w.clock.advance(20 * time.Minute)
	token = w.refreshed(token).RefreshToken
	v.set(func() { v.failing = false })
	w.clock.advance(20 * time.Minute)
	w.refreshed(token) // the provider would refuse the token of the sign-in
	if n := v.questions(); n != 2 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestParallelRefreshesAskOnce(t *testing.T) {
	w, v := newVouchingWorld(t)
	token := w.tokens().RefreshToken
	other := New(w.Config) // another replica
	v.hold = make(chan struct{})
	w.clock.advance(2 * time.Hour)

	const each = 4
	before := w.store.written()
	answers := make(chan tokens, 2*each)
	refresh := func(s *Server) {
		replica := *w
		replica.Server = s
		answers <- replica.refresh(token)
	}
	for range each {
		go refresh(w.Server)
		go refresh(other)
	}
	<-v.asked
	// Each replica tries to be the one that asks, by one write; the answer waits for both.
	for w.store.written() < before+2 {
		runtime.Gosched()
	}
	close(v.hold)
	for range 2 * each {
		if got := <-answers; got.status != http.StatusOK {
			t.Errorf("status %d %s: %s", got.status, got.Error, got.Description)
		}
	}
	if n := v.questions(); n != 1 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestARecheckNeedsTheStore(t *testing.T) {
	w, v := newVouchingWorld(t)
	token := w.tokens().RefreshToken
	w.clock.advance(time.Hour)
	w.store.fail("Update")
	w.refresh(token).wantError(t, 503, "temporarily_unavailable")
	if n := v.questions(); n != 0 {
		t.Errorf("the provider was asked %d times, and could have rotated a token that cannot be kept", n)
	}
	w.store.heal()
	w.refreshed(token)
}

func TestALeaverIsNotForgottenByAStoreThatFails(t *testing.T) {
	w, v := newVouchingWorld(t)
	first := w.tokens()
	v.set(func() { v.err = identity.ErrDenied })
	w.clock.advance(time.Hour)
	w.store.fail("List")
	w.refresh(first.RefreshToken).wantError(t, 503, "temporarily_unavailable")
	w.store.heal()
	w.clock.advance(recheckLease)
	w.refresh(first.RefreshToken).wantError(t, 400, "invalid_grant")
}

func TestAProviderThatWasTakenOutVouchesForNobody(t *testing.T) {
	w, _ := newVouchingWorld(t)
	token := w.tokens().RefreshToken
	w.providers = map[string]identity.Provider{"second": &provider{id: "second"}}
	w.clock.advance(time.Hour)
	w.refresh(token).wantError(t, 400, "invalid_grant")
}

func TestWrongRefreshesAskNobody(t *testing.T) {
	w, v := newVouchingWorld(t)
	old := w.tokens().RefreshToken
	token := w.refreshed(w.refreshed(old).RefreshToken).RefreshToken
	w.clock.advance(time.Hour)
	w.refresh(token, "client_id", "other").wantError(t, 400, "invalid_grant")
	w.refresh(token, "resource", linear).wantError(t, 400, "invalid_target")
	w.refresh(old).wantError(t, 400, "invalid_grant")
	if n := v.questions(); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}
