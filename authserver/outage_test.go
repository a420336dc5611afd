package authserver

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Nothing opens while the store is out of reach, and nobody is told that something good is bad: people
// and clients are asked to come back. What needs no store works on.
func TestAStoreOutOfReach(t *testing.T) {
	for _, tc := range []struct {
		name string
		ask  func(b *browser) func() answer // prepares, and returns what is asked during the outage
	}{
		{"authorize in a signed-in browser", func(b *browser) func() answer {
			b.code()
			return func() answer { return b.get(AuthorizePath, authorization()) }
		}},
		{"allow", func(b *browser) func() answer {
			ticket := b.ticket()
			return func() answer { return b.decide(ticket, "allow") }
		}},
		{"allow in a signed-in browser", func(b *browser) func() answer {
			b.code()
			ticket := b.ticket()
			return func() answer { return b.decide(ticket, "allow") }
		}},
		{"deny", func(b *browser) func() answer {
			ticket := b.ticket()
			return func() answer { return b.decide(ticket, "deny") }
		}},
		{"callback", func(b *browser) func() answer {
			state := b.toProvider()
			return func() answer { return b.callback(state) }
		}},
		{"code", func(b *browser) func() answer {
			code := b.code()
			return func() answer { return b.w.exchange(code).answer }
		}},
		{"code replayed", func(b *browser) func() answer {
			code := b.code()
			b.w.exchange(code)
			return func() answer { return b.w.exchange(code).answer }
		}},
		{"refresh", func(b *browser) func() answer {
			got := b.w.tokens()
			return func() answer { return b.w.refresh(got.RefreshToken).answer }
		}},
		{"revoke an access token", func(b *browser) func() answer {
			got := b.w.tokens()
			return func() answer { return b.w.revokeToken(got.AccessToken).answer }
		}},
		{"revoke a refresh token", func(b *browser) func() answer {
			got := b.w.tokens()
			return func() answer { return b.w.revokeToken(got.RefreshToken).answer }
		}},
		{"introspect a refresh token", func(b *browser) func() answer {
			got := b.w.tokens()
			return func() answer {
				form := url.Values{"token": {got.RefreshToken}, "client_id": {"confidential"}, "client_secret": {secretOfConfidential}}
				return b.w.call(IntrospectPath, form).answer
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			standing := w.tokens()
			ask := tc.ask(w.newBrowser())
			w.store.fail()
			wantUnavailable(t, ask())
			if !w.opens(standing.AccessToken) {
				t.Error("a valid access token does not open")
			}
			w.store.heal()
			w.refreshed(standing.RefreshToken)
		})
	}
	t.Run("password", func(t *testing.T) {
		w := newWorld(t, withPasswords(new(passwords)))
		b := w.newBrowser()
		state := b.toPassword()
		w.store.fail()
		wantUnavailable(t, b.password(state, alice.Email, "correct horse"))
		wantUnavailable(t, b.get(LoginPath, url.Values{"state": {state}}))
		w.store.heal()
		b.password(state, alice.Email, "correct horse").location(t)
	})
	t.Run("what needs no store", func(t *testing.T) {
		w := newWorld(t)
		w.store.fail()
		w.registered("none")
		w.newBrowser().ticket()
		w.newBrowser().get(AuthorizePath, authorization("response_type", "token")).location(t)
		w.revokeToken("nothing")
	})
}

// The store may fail between any two steps.
func TestAStoreThatFailsInTheMiddle(t *testing.T) {
	t.Run("a code that could be read but not redeemed is not lost", func(t *testing.T) {
		w := newWorld(t)
		code := w.newBrowser().code()
		w.store.fail("Update")
		wantUnavailable(t, w.exchange(code).answer)
		w.store.heal()
		if got := w.exchange(code); got.status != 200 {
			t.Errorf("status %d %s", got.status, got.Description)
		}
	})
	t.Run("a grant that could not be created gives no token", func(t *testing.T) {
		w := newWorld(t)
		code := w.newBrowser().code()
		w.store.fail("Put")
		got := w.exchange(code)
		wantUnavailable(t, got.answer)
		if got.AccessToken != "" {
			t.Error("an access token without a grant")
		}
	})
	t.Run("a refresh token that could be read but not rotated is not lost", func(t *testing.T) {
		w := newWorld(t)
		first := w.tokens()
		w.store.fail("Update")
		wantUnavailable(t, w.refresh(first.RefreshToken).answer)
		w.store.heal()
		w.refreshed(first.RefreshToken)
	})
	t.Run("a session that could not begin gives no code", func(t *testing.T) {
		w := newWorld(t)
		b := w.newBrowser()
		state := b.toProvider()
		w.store.fail("Put")
		wantUnavailable(t, b.callback(state))
	})
	t.Run("an old session that could not be ended gives no code", func(t *testing.T) {
		w := newWorld(t)
		b := w.newBrowser()
		b.code()
		state := b.toProvider("prompt", "login")
		w.store.fail("Delete")
		wantUnavailable(t, b.callback(state))
	})
	for name, methods := range map[string][]string{"entirely": nil, "to record it": {"Put"}, "to delete the grant": {"Update"}} {
		t.Run("a replay that the store fails to act upon "+name, func(t *testing.T) {
			w := newWorld(t)
			first := w.tokens()
			newest := w.refreshed(w.refreshed(first.RefreshToken).RefreshToken)
			if methods != nil {
				w.store.fail(methods...)
				wantUnavailable(t, w.refresh(first.RefreshToken).answer)
				w.store.heal()
			}
			w.refresh(first.RefreshToken).wantError(t, 400, "invalid_grant")
			w.restart(t)
			w.refresh(newest.RefreshToken).wantError(t, 400, "invalid_grant")
			if w.opens(newest.AccessToken) {
				t.Error("the access token opens after a restart")
			}
		})
		t.Run("a revocation that the store fails to act upon "+name, func(t *testing.T) {
			for _, kind := range []string{"access", "refresh"} {
				w := newWorld(t)
				got := w.tokens()
				token := map[string]string{"access": got.AccessToken, "refresh": got.RefreshToken}[kind]
				if kind == "access" && name == "to delete the grant" {
					continue // nothing of the kind happens
				}
				w.store.fail(methods...)
				wantUnavailable(t, w.revokeToken(token).answer)
				w.store.heal()
				// 200 says that it is done for good, not only for this process.
				if again := w.revokeToken(token); again.status != 200 {
					t.Fatalf("%s: status %d", kind, again.status)
				}
				w.restart(t)
				if w.opens(got.AccessToken) {
					t.Errorf("%s: the access token opens after a restart", kind)
				}
				if kind == "refresh" {
					w.refresh(got.RefreshToken).wantError(t, 400, "invalid_grant")
				}
			}
		})
	}
}

// restart forgets what only this process knew.
func (w *world) restart(t *testing.T) {
	t.Helper()
	revocations := sessions.NewRevocations(w.store, w.clock.Now)
	if err := revocations.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Vault.Revocations = revocations
}

// Before the keys are loaded nothing can be told from anything.
func TestKeysThatAreNotLoaded(t *testing.T) {
	w := newWorld(t)
	b := w.newBrowser()
	dynamic := w.registered("none")
	state, ticket := b.toProvider(), b.ticket()
	got := w.tokens()
	ring := must(sessions.NewRing(sessions.RingConfig{Store: w.store, Now: w.clock.Now}))(t)
	w.Vault.Ring = ring
	w.Clients = clients.New(clients.Config{Ring: ring, Tenant: issuer, DynamicRegistration: true, Static: []clients.Client{
		static(t, clients.Client{ID: "web", RedirectURIs: []string{callback}}),
	}})
	for name, ask := range map[string]func() answer{
		"authorize":                  func() answer { return w.newBrowser().get(AuthorizePath, authorization()) },
		"authorize a dynamic client": func() answer { return b.get(AuthorizePath, authorization("client_id", dynamic)) },
		"register":                   func() answer { return w.registration("application/json", `{"redirect_uris":["`+callback+`"]}`).answer },
		"code":                       func() answer { return w.exchange("mcpac_" + strings.Repeat("A", 80)).answer },
		"refresh":                    func() answer { return w.refresh(got.RefreshToken).answer },
		"refresh a dynamic client":   func() answer { return w.refresh(got.RefreshToken, "client_id", dynamic).answer },
		"revoke an access token":     func() answer { return w.revokeToken(got.AccessToken).answer },
		"revoke a refresh token":     func() answer { return w.revokeToken(got.RefreshToken).answer },
		"consent":                    func() answer { return b.decide(ticket, "allow") },
		"callback":                   func() answer { return b.callback(state) },
	} {
		t.Run(name, func(t *testing.T) { wantUnavailable(t, ask()) })
	}
}

// A client that hangs up must not keep a replay from ending the family.
func TestHangingUpSavesNoThief(t *testing.T) {
	w := newWorld(t)
	first := w.tokens()
	newest := w.refreshed(w.refreshed(first.RefreshToken).RefreshToken)
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"web"}, "refresh_token": {first.RefreshToken}}
	ctx, hangUp := context.WithCancel(t.Context())
	w.store.onGet = hangUp
	w.send(formRequest(TokenPath, form).WithContext(ctx))
	w.store.onGet = nil
	w.restart(t)
	w.refresh(newest.RefreshToken).wantError(t, 400, "invalid_grant")
}

// wantUnavailable asserts an answer that asks to come back, and says nothing about the cause.
func wantUnavailable(t *testing.T, a answer) {
	t.Helper()
	if a.status != http.StatusServiceUnavailable || a.header.Get("Location") != "" {
		t.Errorf("status %d, Location %q: %.300s", a.status, a.header.Get("Location"), a.body)
	}
	wantRetryAfter(t, a)
	if strings.Contains(a.body, "refused") || strings.Contains(a.body, "10.1.2.3") || strings.Contains(a.body, "invalid_grant") {
		t.Errorf("body %s", a.body)
	}
}
