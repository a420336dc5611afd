package authserver

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
)

// What a provider has issued is given back, and refused here, where it turns out that nobody is to have it.
func TestWhatNobodyIsToHaveIsGivenBack(t *testing.T) {
	for name, end := range map[string]func(*world) answer{
		"the client is gone at the callback": func(w *world) answer {
			b := w.newBrowser()
			state := b.toProvider()
			w.Clients = clients.New(clients.Config{Ring: w.Vault.Ring, Tenant: issuer})
			return b.callback(state)
		},
		"the person may not come in any more when the code is exchanged": func(w *world) answer {
			code := w.newBrowser().code()
			w.Policy = policy(w.t, access.Rule{Kind: access.Domain, Value: "other.example"})
			return w.exchange(code).answer
		},
		"the code is replayed while it is exchanged": func(w *world) answer {
			code, gets := w.newBrowser().code(), 0
			w.store.onGet = func() {
				if gets++; gets == 2 { // of the code, and of what was issued for it
					w.store.onGet = nil
					w.exchange(code).wantError(w.t, 400, "invalid_grant")
				}
			}
			return w.exchange(code).answer
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := newFacade(t)
			if a := end(w); a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
				t.Errorf("status %d: %.200s", a.status, a.body)
			}
			if w.store.onGet != nil {
				t.Error("the replay did not happen")
			}
			if !p.took("provider-refresh-1", "provider-access-1") || w.accepts("provider-access-1") {
				t.Error("what was issued lives on")
			}
		})
	}
}

// A client that hangs up must not lose what the provider issues meanwhile: the refresh token from before may be void.
func TestAClientOfAFacadeThatHangsUp(t *testing.T) {
	w, p := newFacade(t)
	got := w.relayedTokens()
	w.clock.advance(time.Second)
	hold, asked := make(chan struct{}), make(chan struct{})
	p.set(func() { p.refreshing, p.asked = hold, asked })
	ctx, hangUp := context.WithCancel(t.Context())
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"web"}, "refresh_token": {got.RefreshToken}}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		w.send(formRequest(TokenPath, form).WithContext(ctx))
	}()
	<-asked
	hangUp()
	close(hold)
	<-gone
	w.clock.advance(time.Second)
	if again := w.refresh(got.RefreshToken); again.status != 200 || again.AccessToken != "provider-access-2" || p.issues() != 2 {
		t.Errorf("status %d, after %d access tokens: %s", again.status, p.issues(), again.body)
	}
}
