package credentials

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func TestConnect(t *testing.T) {
	w := newWorld(t)
	v := visit(alice)
	q := w.begin(v, w.linear)
	for name, want := range map[string]string{
		"response_type": "code", "client_id": "edge", "redirect_uri": tenant + "/oauth2/connect/linear/callback",
		"code_challenge_method": "S256", "scope": "read", "client_secret": "", "resource": "",
	} {
		if q.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, q.Get(name), want)
		}
	}
	replaced, err := w.Finish(t.Context(), v, w.linear, w.server.answer(q))
	if err != nil || replaced {
		t.Fatalf("Finish: %t, %v", replaced, err)
	}
	form := w.server.forms[0]
	if oauth2.S256ChallengeFromVerifier(form.Get("code_verifier")) != q.Get("code_challenge") {
		t.Error("the verifier does not fit the challenge")
	}
	if form.Get("redirect_uri") != q.Get("redirect_uri") || form.Get("code") != "code" {
		t.Errorf("the code was redeemed with %v", form)
	}
	if got := value(t, w.Keeper, alice, w.linear); got != "Bearer access-1" {
		t.Errorf("%q", got)
	}
	wantUse(t, w.Keeper, bob, w.linear, ErrMissing)
}

// Somebody who gets another person to open their callback would plant an account of theirs there, or get
// the other's in their own place.
func TestACallbackCountsForWhoBeganItOnly(t *testing.T) {
	w := newWorld(t)
	begun := visit(alice)
	q := w.begin(begun, w.linear)
	elsewhere := w.connecting(githubURI, w.server.URL)
	otherServer := w.connecting(linearURI, newAuthServer(t, w.clock).URL)
	for _, tc := range []struct {
		name  string
		visit Visit
		up    *Upstream
	}{
		{"another person at another browser", visit(bob), w.linear},
		{"another person at the same browser", Visit{Person: bob, Session: sessions.NewID(), Browser: begun.Browser}, w.linear},
		{"the same person at another browser", Visit{Person: alice, Session: begun.Session, Browser: sessions.NewID()}, w.linear},
		{"the same person in another session", Visit{Person: alice, Session: sessions.NewID(), Browser: begun.Browser}, w.linear},
		{"another person with everything else", Visit{Person: bob, Session: begun.Session, Browser: begun.Browser}, w.linear},
		{"another upstream", begun, elsewhere},
		{"another authorization server by now", begun, otherServer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := w.Finish(t.Context(), tc.visit, tc.up, w.server.answer(q)); !errors.Is(err, ErrStale) {
				t.Errorf("Finish: %v", err)
			}
			wantUse(t, w.Keeper, tc.visit.Person, tc.up, ErrMissing)
		})
	}
	if n := w.server.asked("authorization_code"); n != 0 {
		t.Errorf("%d codes were redeemed", n)
	}
	// None of that ended what alice has begun.
	if _, err := w.Finish(t.Context(), begun, w.linear, w.server.answer(q)); err != nil {
		t.Errorf("who began it: %v", err)
	}
	if _, err := w.Finish(t.Context(), begun, w.linear, w.server.answer(q)); !errors.Is(err, ErrStale) {
		t.Errorf("replayed: %v", err)
	}
}

func TestACallbackIsTakenOnce(t *testing.T) {
	w := newWorld(t)
	v := visit(alice)
	q := w.begin(v, w.linear)
	results := make(chan error)
	for range 8 {
		go func() {
			_, err := w.Finish(t.Context(), v, w.linear, w.server.answer(q))
			results <- err
		}()
	}
	taken := 0
	for range 8 {
		switch err := <-results; {
		case err == nil:
			taken++
		case !errors.Is(err, ErrStale):
			t.Error(err)
		}
	}
	if taken != 1 || w.server.asked("authorization_code") != 1 {
		t.Errorf("taken %d times, %d codes redeemed", taken, w.server.asked("authorization_code"))
	}
}

func TestAnswersThatDoNotPass(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(url.Values)
		want   error
	}{
		{"of another server", func(p url.Values) { p.Set("iss", "https://evil.example") }, ErrAnswer},
		{"unmarked, though the server marks its answers", func(p url.Values) { p.Del("iss") }, ErrAnswer},
		{"an error of another server", func(p url.Values) {
			p.Set("iss", "https://evil.example")
			p.Set("error", "access_denied")
		}, ErrAnswer},
		{"declined", func(p url.Values) { p.Set("error", "access_denied") }, ErrDeclined},
		{"an error", func(p url.Values) { p.Set("error", "<script>") }, ErrAnswer},
		{"no code", func(p url.Values) { p.Del("code") }, ErrAnswer},
		{"a huge code", func(p url.Values) { p.Set("code", strings.Repeat("a", 8<<10+1)) }, ErrAnswer},
		{"two codes", func(p url.Values) { p.Add("code", "other") }, ErrAnswer},
		{"no state", func(p url.Values) { p.Del("state") }, ErrStale},
		{"a made-up state", func(p url.Values) { p.Set("state", "mcpus_x") }, ErrStale},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			v := visit(alice)
			params := w.server.answer(w.begin(v, w.linear))
			tc.change(params)
			_, err := w.Finish(t.Context(), v, w.linear, params)
			if !errors.Is(err, tc.want) || strings.Contains(err.Error(), "script") {
				t.Errorf("Finish: %v, want %v", err, tc.want)
			}
			if w.server.asked("authorization_code") != 0 {
				t.Error("a code was redeemed")
			}
			wantUse(t, w.Keeper, alice, w.linear, ErrMissing)
		})
	}
}

func TestConnectingWhileSomethingIsDown(t *testing.T) {
	w := newWorld(t)
	w.store.setDown(true)
	if _, err := w.Connect(t.Context(), visit(alice), w.linear); !errors.Is(err, sessions.ErrUnavailable) {
		t.Errorf("without the store: %v", err)
	}
	w.store.setDown(false)

	v := visit(alice)
	params := w.server.answer(w.begin(v, w.linear))
	w.server.set(func(s *authServer) { s.status = http.StatusServiceUnavailable })
	if _, err := w.Finish(t.Context(), v, w.linear, params); !errors.Is(err, ErrServerDown) {
		t.Errorf("while the token endpoint fails: %v", err)
	}
	wantUse(t, w.Keeper, alice, w.linear, ErrMissing)

	down := w.connecting(linearURI, w.server.URL)
	w.server.Close()
	before := len(must(w.store.List(t.Context(), ""))(t))
	for range 3 {
		if _, err := w.Connect(t.Context(), v, down); !errors.Is(err, ErrServerDown) {
			t.Errorf("without the server: %v", err)
		}
	}
	if n := len(must(w.store.List(t.Context(), ""))(t)); n != before {
		t.Error("something was stored for a server that is down")
	}
}

func TestConnectingTakesTime(t *testing.T) {
	w := newWorld(t)
	v := visit(alice)
	params := w.server.answer(w.begin(v, w.linear))
	w.clock.Advance(connectLife)
	if _, err := w.Finish(t.Context(), v, w.linear, params); !errors.Is(err, ErrStale) {
		t.Errorf("Finish: %v", err)
	}
}

// Two sites may share a store, a key ring and a person; what was begun or given at one is nothing at the
// other.
func TestNothingOfOneSiteIsAnythingAtAnother(t *testing.T) {
	w := newWorld(t)
	w.typeIn(alice, w.github, "ghp_alice")
	v := visit(alice)
	params := w.server.answer(w.begin(v, w.linear))
	vault := *w.Vault
	vault.Tenant = "https://other.example.com"
	other := New(Config{Vault: &vault, Audit: w.trail, Logger: w.Logger, Now: w.clock.Now})
	wantUse(t, other, alice, w.github, ErrMissing)
	if _, err := other.Finish(t.Context(), v, w.linear, params); !errors.Is(err, ErrStale) {
		t.Errorf("Finish: %v", err)
	}
	if removal, err := other.Remove(t.Context(), alice, w.github); err != nil || removal.Found {
		t.Errorf("Remove: %+v, %v", removal, err)
	}
	if got := value(t, w.Keeper, alice, w.github); got != "Bearer ghp_alice" {
		t.Errorf("%q", got)
	}
}
