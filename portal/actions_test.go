package portal

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func wantEvent(t *testing.T, events []audit.Event, want audit.Event) {
	t.Helper()
	if len(events) != 1 {
		t.Fatalf("recorded %+v, want one event", events)
	}
	want.Allowed, want.By, want.ClientAddr = true, audit.ByPerson, "192.0.2.1"
	want.Subject, want.Email = alice.Subject, alice.Email
	if events[0] != want {
		t.Errorf("recorded %+v, want %+v", events[0], want)
	}
}

func TestDisconnectingEndsOneApplication(t *testing.T) {
	w := newWorld(t)
	refresh, access, g := w.connect(alice, "one", "one", github)
	_, kept, _ := w.connect(alice, "two", "two", github)
	w.connect(alice, "one", "one", linear)
	var ended []sessions.ID
	defer w.Vault.Revocations.Subscribe(func(id sessions.ID) { ended = append(ended, id) })()

	b := w.signIn(alice)
	b.post(home, url.Values{"do": {"disconnect"}, "id": {g.ID.String()}}).wantBack(t, "/my?done=disconnected")
	if len(ended) != 1 || ended[0] != g.ID {
		t.Errorf("streams of %v end, want those of %v", ended, g.ID)
	}
	if _, err := w.Vault.LoadGrant(t.Context(), refresh); err == nil {
		t.Error("the refresh token is still good")
	}
	if err := w.Vault.OpenAccess(access, new(sessions.Access)); err == nil {
		t.Error("the access token is still good")
	}
	if err := w.Vault.OpenAccess(kept, new(sessions.Access)); err != nil {
		t.Errorf("the other application: %v", err)
	}
	// The consent to this client at this resource goes with it, and no other.
	w.wantGrants(alice, 2, 2)
	wantEvent(t, w.of(audit.Revocation), audit.Event{
		Type: audit.Revocation, ClientID: "one", ClientName: "App one", Resource: github, Grant: g.ID.String(),
	})
	b.post(home, url.Values{"do": {"disconnect"}, "id": {g.ID.String()}}).wantBack(t, "/my?done=disconnected")
}

func TestWhatIsSomebodyElsesStays(t *testing.T) {
	w := newWorld(t)
	_, access, g := w.connect(bob, "theirs", "theirs", linear)
	approvals, err := w.Vault.ListApprovals(t.Context(), bob.Key())
	if err != nil {
		t.Fatal(err)
	}
	w.signIn(bob)
	browsers, err := w.Vault.ListBrowsers(t.Context(), bob.Key())
	if err != nil {
		t.Fatal(err)
	}
	text, token, err := w.Vault.MintUserToken(t.Context(), sessions.PersonalToken{
		User: bob, Name: "theirs", Resources: []string{linear}, ExpiresAt: w.now.Add(1e12),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := w.signIn(alice)
	for do, id := range map[string]string{
		"disconnect": g.ID.String(), "withdraw": approvals[0].ID(), "end_browser": browsers[0].ID.String(), "disconnect_all": "",
		"sign_out_everywhere": "",
	} {
		a := w.signIn(alice).post(home, url.Values{"do": {do}, "id": {id}, "apps": {"yes"}, "tokens": {"yes"}})
		if a.status != http.StatusSeeOther {
			t.Errorf("%s: status %d", do, a.status)
		}
	}
	b = w.signIn(alice)
	b.post(tokens, url.Values{"do": {"revoke_token"}, "id": {token.ID.String()}}).wantBack(t, "/my/tokens?done=token_revoked")
	w.wantGrants(bob, 1, 1)
	if err := w.Vault.OpenAccess(access, new(sessions.Access)); err != nil {
		t.Errorf("the access token: %v", err)
	}
	if err := w.Vault.OpenUserToken(text, linear, new(sessions.Access)); err != nil {
		t.Errorf("the user token: %v", err)
	}
	if left, err := w.Vault.ListBrowsers(t.Context(), bob.Key()); err != nil || len(left) != 1 {
		t.Errorf("browsers %+v, %v", left, err)
	}
	if n := len(w.of(audit.Revocation)) + len(w.of(audit.ConsentWithdrawn)) + len(w.of(audit.CredentialChanged)); n != 0 {
		t.Errorf("%d ends were recorded", n)
	}
}

func TestWithdrawingAConsent(t *testing.T) {
	w := newWorld(t)
	_, access, _ := w.connect(alice, "one", "one", github)
	approvals, err := w.Vault.ListApprovals(t.Context(), alice.Key())
	if err != nil {
		t.Fatal(err)
	}
	b := w.signIn(alice)
	b.post(home, url.Values{"do": {"withdraw"}, "id": {approvals[0].ID()}}).wantBack(t, "/my?done=withdrawn")
	w.wantGrants(alice, 1, 0)
	if err := w.Vault.OpenAccess(access, new(sessions.Access)); err != nil {
		t.Errorf("the application is disconnected: %v", err)
	}
	wantEvent(t, w.of(audit.ConsentWithdrawn), audit.Event{
		Type: audit.ConsentWithdrawn, ClientID: "one", ClientName: "App one", Resource: github,
	})
}

func TestSigningAnotherBrowserOut(t *testing.T) {
	w := newWorld(t)
	b, other := w.signIn(alice), w.signIn(alice)
	all, err := w.Vault.ListBrowsers(t.Context(), alice.Key())
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	mine, err := w.Vault.LoadBrowser(t.Context(), b.cookies["__Host-"+sessions.SessionCookieName])
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if one.ID != mine.ID {
			b.post(home, url.Values{"do": {"end_browser"}, "id": {one.ID.String()}}).wantBack(t, "/my?done=browser_signed_out")
		}
	}
	if a := other.get(home); a.body != "please sign in" {
		t.Errorf("the other browser is signed in: %d", a.status)
	}
	if a := b.get(home); !strings.Contains(a.body, "Your account") {
		t.Errorf("this browser is signed out: %d", a.status)
	}
	wantEvent(t, w.of(audit.SignOut), audit.Event{Type: audit.SignOut, Provider: "oidc"})
}

func TestSigningOutEverywhere(t *testing.T) {
	for _, tc := range []struct {
		name                     string
		form                     url.Values
		grants, consents, tokens int
	}{
		{"ends sessions only", url.Values{}, 1, 1, 1},
		{"ends applications too", url.Values{"apps": {"yes"}}, 0, 0, 1},
		{"ends tokens too", url.Values{"tokens": {"yes"}}, 1, 1, 0},
		{"ends all", url.Values{"apps": {"yes"}, "tokens": {"yes"}}, 0, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.connect(alice, "one", "one", github)
			if _, _, err := w.Vault.MintUserToken(t.Context(), sessions.PersonalToken{
				User: alice, Name: "ci", Resources: []string{github}, ExpiresAt: w.now.Add(1e12),
			}); err != nil {
				t.Fatal(err)
			}
			b, other := w.signIn(alice), w.signIn(alice)
			ticket := b.ticket(home)
			tc.form.Set("do", "sign_out_everywhere")
			a := b.post(home, tc.form)
			a.wantBack(t, "/my?done=signed_out_everywhere")
			if b.cookies["__Host-"+sessions.SessionCookieName] != "" {
				t.Error("the cookie is still there")
			}
			if a := b.get("/my?done=signed_out_everywhere"); !strings.Contains(a.body, "You are signed out everywhere") {
				t.Errorf("status %d\n%s", a.status, a.body)
			}
			for _, one := range []*browser{b, other} {
				if a := one.get(home); a.body != "please sign in" {
					t.Errorf("a browser is signed in: %d", a.status)
				}
			}
			if a := b.post(home, url.Values{"ticket": {ticket}, "do": {"disconnect_all"}}); a.status != http.StatusForbidden {
				t.Errorf("the ticket outlives its session: %d", a.status)
			}
			w.wantGrants(alice, tc.grants, tc.consents)
			if left, err := w.Vault.ListUserTokens(t.Context(), alice.Key()); err != nil || len(left) != tc.tokens {
				t.Errorf("tokens %+v, %v", left, err)
			}
			if n := len(w.of(audit.SignOut)); n != 2 {
				t.Errorf("%d sign-outs were recorded", n)
			}
		})
	}
}

func TestFormsOfOthersAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		form   func(w *world, b *browser) url.Values
		header http.Header
	}{
		{"without a ticket", 400, func(*world, *browser) url.Values { return url.Values{"ticket": {""}} }, nil},
		{"with a ticket of another session of the same browser", 400, func(w *world, b *browser) url.Values {
			ticket := b.ticket(home)
			b.cookies["__Host-"+sessions.SessionCookieName] = w.signIn(alice).cookies["__Host-"+sessions.SessionCookieName]
			return url.Values{"ticket": {ticket}}
		}, nil},
		{"with a ticket of another browser", 400, func(w *world, b *browser) url.Values {
			thief := w.signIn(alice)
			thief.cookies["__Host-"+sessions.SessionCookieName] = b.cookies["__Host-"+sessions.SessionCookieName]
			b.ticket(home)
			return url.Values{"ticket": {thief.ticket(home)}}
		}, nil},
		{"with a ticket of another person", 400, func(w *world, b *browser) url.Values {
			b.ticket(home)
			return url.Values{"ticket": {w.signIn(bob).ticket(home)}}
		}, nil},
		{"with another kind of sealed value", 400, func(w *world, b *browser) url.Values {
			b.ticket(home)
			sealed, err := w.Vault.SealJSON(sessions.LogoutTicket, ticket{})
			if err != nil {
				t.Fatal(err)
			}
			return url.Values{"ticket": {sealed}}
		}, nil},
		{"from another site", 403, func(_ *world, b *browser) url.Values { return url.Values{"ticket": {b.ticket(home)}} },
			http.Header{"Sec-Fetch-Site": {"cross-site"}}},
		{"from another origin", 403, func(_ *world, b *browser) url.Values { return url.Values{"ticket": {b.ticket(home)}} },
			http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": nil}},
		{"of another type", 400, func(_ *world, b *browser) url.Values { return url.Values{"ticket": {b.ticket(home)}} },
			http.Header{"Content-Type": {"text/plain"}}},
		{"to do something else", 400, func(_ *world, b *browser) url.Values {
			return url.Values{"ticket": {b.ticket(home)}, "do": {"erase"}}
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.connect(alice, "one", "one", github)
			b := w.signIn(alice)
			form := tc.form(w, b)
			if !form.Has("do") {
				form.Set("do", "disconnect_all")
			}
			b.header = tc.header
			a := b.post(home, form)
			if a.status != tc.status || a.header.Get("Location") != "" {
				t.Errorf("status %d, Location %q\n%s", a.status, a.header.Get("Location"), a.body)
			}
			w.wantGrants(alice, 1, 1)
			if denied := w.of(audit.AccessDenied); (len(denied) == 1) != (tc.status == 403) {
				t.Errorf("recorded %+v", denied)
			}
		})
	}
}

// Nobody is told that something has ended which may be alive elsewhere, and they can try again.
func TestEndingWhileTheStoreFails(t *testing.T) {
	w := newWorld(t)
	w.connect(alice, "one", "one", github)
	_, minted, err := w.Vault.MintUserToken(t.Context(), sessions.PersonalToken{
		User: alice, Name: "ci", Resources: []string{github}, ExpiresAt: w.now.Add(1e12),
	})
	if err != nil {
		t.Fatal(err)
	}
	b := w.signIn(alice)
	ticket := b.ticket(home)
	w.store.down = map[string]bool{"Put": true}
	everything := url.Values{"ticket": {ticket}, "do": {"sign_out_everywhere"}, "apps": {"yes"}, "tokens": {"yes"}}
	for path, form := range map[string]url.Values{
		home:   everything,
		tokens: {"ticket": {ticket}, "do": {"revoke_token"}, "id": {minted.ID.String()}},
	} {
		if a := b.post(path, form); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: status %d\n%s", path, a.status, a.body)
		}
	}
	if n := len(w.of(audit.Revocation)) + len(w.of(audit.CredentialChanged)) + len(w.of(audit.SignOut)); n != 0 {
		t.Errorf("%d ends were recorded that may not have been", n)
	}
	w.store.down = nil
	b.post(home, everything).wantBack(t, "/my?done=signed_out_everywhere")
	w.wantGrants(alice, 0, 0)
	if left, err := w.Vault.ListUserTokens(t.Context(), alice.Key()); err != nil || len(left) != 0 {
		t.Errorf("tokens %+v, %v", left, err)
	}
}
