package authserver

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func TestAFacadeHandsOnWhatTheProviderIssues(t *testing.T) {
	w, p := newFacade(t)
	got := w.relayedTokens("scope", "github:write offline_access")
	if got.TokenType != "Bearer" || got.ExpiresIn != 3600 || got.Scope != "github:write" {
		t.Errorf("%s", got.body)
	}
	if strings.Contains(got.body, "provider-refresh") {
		t.Error("the provider's refresh token left the server")
	}
	if a := p.attempts[0]; a.Resource != github || a.Scope != "github:write" || a.RedirectURI != issuer+CallbackPath {
		t.Errorf("the provider was asked with %+v", a)
	}
	if events := w.trail.allowed(audit.TokenIssued); len(events) != 1 || events[0].ClientID != "web" || events[0].Subject != "alice" {
		t.Errorf("recorded %v", events)
	}
	t.Run("with what is left of its life", func(t *testing.T) {
		code := w.newBrowser().code()
		w.clock.advance(40 * time.Second)
		if got := w.exchange(code); got.ExpiresIn != 3560 {
			t.Errorf("%s", got.body)
		}
	})
	t.Run("without a life, if the provider says none", func(t *testing.T) {
		p.set(func() { p.life = 0 })
		if got := w.exchange(w.newBrowser().code()); got.status != 200 || strings.Contains(got.body, "expires_in") {
			t.Errorf("%s", got.body)
		}
	})
	t.Run("without a refresh token, if the provider gives none", func(t *testing.T) {
		p.set(func() { p.noRefresh = true })
		if got := w.exchange(w.newBrowser().code()); got.status != 200 || got.RefreshToken != "" {
			t.Errorf("%s", got.body)
		}
	})
}

// Somebody who is signed in at the provider, and has agreed to one client, has agreed to no other, nor to the
// same one for ever: the browser has no session here that could speak for them.
func TestAFacadeAsksForEachClientEachTime(t *testing.T) {
	w, p := newFacade(t)
	b := w.newBrowser()
	b.code()
	for name := range b.cookies {
		if strings.Contains(name, "session") {
			t.Errorf("the browser has got the cookie %s", name)
		}
	}
	for _, client := range []string{"web", "other"} {
		change := []string{"client_id", client}
		if client == "other" {
			change = append(change, "redirect_uri", "https://other.example/cb")
		}
		before := len(p.attempts)
		if a := b.get(AuthorizePath, authorization(change...)); a.status != http.StatusOK || !strings.Contains(a.body, `value="allow"`) {
			t.Errorf("%s: status %d, Location %q", client, a.status, a.header.Get("Location"))
		}
		a := b.get(AuthorizePath, authorization(append(change, "prompt", "none")...))
		if q := a.location(t).Query(); q.Get("error") != "login_required" || q.Get("code") != "" || q.Get("iss") != issuer {
			t.Errorf("%s, unseen: %v", client, q)
		}
		if len(p.attempts) != before {
			t.Errorf("%s: the provider was asked before the person", client)
		}
	}
	t.Run("whatever cookie is left from before it was one", func(t *testing.T) {
		ordinary := newWorld(t)
		signedIn := ordinary.newBrowser()
		signedIn.code()
		config := ordinary.Config
		facade, p := newFacade(t)
		p.id = ordinary.idp.id // even so
		config.Providers, config.Relay = []identity.Provider{p}, p
		facade.Server, facade.clock = New(config), ordinary.clock
		signedIn.w = facade
		if a := signedIn.get(AuthorizePath, authorization()); a.status != http.StatusOK || !strings.Contains(a.body, `value="allow"`) {
			t.Errorf("status %d, Location %q", a.status, a.header.Get("Location"))
		}
	})
}

func TestTokensThatTheGuardWouldRefuseAreNotHandedOn(t *testing.T) {
	for _, tc := range []struct {
		name, scope, words string
		finish             error
		change             func(*Config)
	}{
		{"another audience", "", "for something else than " + github, &UnfitError{Why: OtherAudience}, nil},
		{"a missing scope", "", "lacks a permission that is needed here: tools", &UnfitError{Why: TooNarrow, Scope: "tools"}, nil},
		{"other resources, too", "", "opens other servers here, too; you agreed to " + github, &UnfitError{Why: TooWide}, nil},
		{"no JWT", "", "cannot be checked", &UnfitError{Why: Unreadable}, nil},
		{"more than was agreed to", "github:read github:write", "more than you agreed to: github:write", nil, nil},
		{"less than the resource requires", "github:write", "lacks a permission that is needed here: github:read", nil, func(c *Config) {
			scopes, err := access.NewScopes([]string{"github:read", "github:write"}, []string{"github:read"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			(*c.Resources.(*resourceList))[0].Hierarchy = scopes
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var changes []func(*Config)
			if tc.change != nil {
				changes = append(changes, tc.change)
			}
			w, p := newFacade(t, changes...)
			p.finish, p.scope = tc.finish, tc.scope
			b := w.newBrowser()
			a := b.callback(b.toProvider())
			if a.status != http.StatusBadGateway || a.header.Get("Location") != "" || !strings.Contains(a.body, tc.words) {
				t.Errorf("status %d, Location %q: %s", a.status, a.header.Get("Location"), a.body)
			}
			if tc.finish == nil && !p.took("provider-refresh-1", "provider-access-1") {
				t.Error("it was not given back")
			}
			if events := w.trail.of(audit.SignIn); len(events) == 0 || events[len(events)-1].Allowed {
				t.Errorf("recorded %v", events)
			}
		})
	}
	t.Run("what another client was allowed, where everything is always asked for", func(t *testing.T) {
		w, p := newFacade(t, func(c *Config) { c.WholeScope = true })
		p.scope = "github:read github:write"
		if got := w.relayedTokens("scope", "github:read"); got.Scope != p.scope || p.attempts[0].Scope != p.scope {
			t.Errorf("%s", got.body)
		}
	})
	t.Run("a scope that is needed everywhere is asked for, and shown", func(t *testing.T) {
		w, p := newFacade(t, func(c *Config) { c.RelayedScopes = []string{"mcp"} })
		if a := w.newBrowser().get(AuthorizePath, authorization()); !strings.Contains(a.body, "mcp") {
			t.Error("it is not on the page")
		}
		w.relayedTokens("scope", "github:read")
		if p.attempts[0].Scope != "github:read mcp" {
			t.Errorf("asked for %q", p.attempts[0].Scope)
		}
	})
}

func TestPeopleWhomAFacadeDoesNotLetInLeaveNothing(t *testing.T) {
	w, p := newFacade(t)
	p.user = identity.User{Issuer: alice.Issuer, Subject: "eve", Email: "eve@evil.example", EmailVerified: true}
	b := w.newBrowser()
	if a := b.callback(b.toProvider()); a.status != http.StatusForbidden || a.header.Get("Location") != "" {
		t.Errorf("status %d", a.status)
	}
	if !p.took("provider-refresh-1", "provider-access-1") {
		t.Error("what they were issued was not given back")
	}
}

// A code of a facade is bound as every other one.
func TestACodeOfAFacadeIsForOneClient(t *testing.T) {
	for name, change := range map[string][]string{
		"another client":       {"client_id", "other"},
		"another verifier":     {"code_verifier", strings.Repeat("v", 43)},
		"another redirect URI": {"redirect_uri", "https://other.example/cb"},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := newFacade(t)
			code := w.newBrowser().code()
			w.exchange(code, change...).wantError(t, 400, "invalid_grant")
			if !p.took("provider-refresh-1", "provider-access-1") || w.accepts("provider-access-1") {
				t.Error("what was issued for it lives on")
			}
			w.exchange(code).wantError(t, 400, "invalid_grant")
		})
	}
	t.Run("once", func(t *testing.T) {
		w, p := newFacade(t)
		code := w.newBrowser().code()
		got := w.exchange(code)
		w.exchange(code).wantError(t, 400, "invalid_grant")
		w.refresh(got.RefreshToken).wantError(t, 400, "invalid_grant")
		if w.accepts(got.AccessToken) || !p.took("provider-refresh-1", got.AccessToken) {
			t.Error("the replay ended nothing")
		}
	})
}

// What one site has issued is nothing at another one, though both share a provider, a store and a key ring.
func TestAFacadeAndAnotherTenant(t *testing.T) {
	w, p := newFacade(t)
	got, code := w.relayedTokens(), w.newBrowser().code()
	config := w.Config
	vault := *w.Vault
	vault.Tenant = "https://other.example.com"
	config.Vault = &vault
	other := &world{Server: New(config), t: t, clock: w.clock, store: w.store, trail: w.trail, idp: w.idp}
	other.exchange(code).wantError(t, 400, "invalid_grant")
	other.refresh(got.RefreshToken).wantError(t, 400, "invalid_grant")
	for _, token := range []string{got.RefreshToken, got.AccessToken} {
		if a := other.revokeToken(token); a.status != 200 { // it is none there
			t.Errorf("status %d", a.status)
		}
	}
	if !w.accepts(got.AccessToken) || len(p.revoked) != 0 {
		t.Error("the other tenant has ended something")
	}
	b := w.newBrowser()
	state := b.toProvider()
	b.w = other
	if a := b.callback(state); a.status != http.StatusBadRequest {
		t.Errorf("a callback at the other tenant: status %d", a.status)
	}
	if w.Vault.TokenID("a") == vault.TokenID("a") {
		t.Error("both have one name for a token")
	}
}

// A reload may make a facade of a site while a code or a refresh token of it is out.
func TestWhatIsLeftFromBeforeAFacade(t *testing.T) {
	ordinary, v := newVouchingWorld(t)
	code, refresh := ordinary.newBrowser().code(), ordinary.tokens().RefreshToken
	_, p := newFacade(t)
	p.id = v.id // even so
	config := ordinary.Config
	config.Providers, config.Relay = []identity.Provider{p}, p
	w := &world{Server: New(config), t: t, clock: ordinary.clock, store: ordinary.store, trail: ordinary.trail, idp: &p.provider}
	w.exchange(code).wantError(t, 400, "invalid_grant")
	w.refresh(refresh).wantError(t, 400, "invalid_grant")
	if p.issues() != 0 {
		t.Error("the provider was asked")
	}
}

func TestWhatAFacadeDoesNotDo(t *testing.T) {
	w, _ := newFacade(t)
	for _, path := range []string{IntrospectPath, LogoutPath, LoginPath, ChoosePath, DevicePath, DeviceAuthorizationPath} {
		if w.Endpoint(path) != nil {
			t.Errorf("%s is an endpoint", path)
		}
	}
	md := w.Metadata()
	if md.IntrospectionEndpoint != "" || len(md.IntrospectionEndpointAuthMethodsSupported) != 0 || md.DeviceAuthorizationEndpoint != "" ||
		strings.Join(md.GrantTypesSupported, " ") != "authorization_code refresh_token" {
		t.Errorf("the metadata say %+v", md)
	}
	if a := w.send(formRequest(TokenPath, url.Values{"grant_type": {"client_credentials"}, "client_id": {"web"}})); a.status != 400 {
		t.Errorf("status %d", a.status)
	}
}

// The store fails between the callback and the tokens: nothing opens, and nothing is lost that was not begun.
func TestAFacadeWithoutItsStore(t *testing.T) {
	w, p := newFacade(t)
	b := w.newBrowser()
	state := b.toProvider()
	w.store.fail("Put")
	if a := b.callback(state); a.status != http.StatusServiceUnavailable {
		t.Errorf("the callback: status %d", a.status)
	}
	if !p.took("provider-refresh-1", "provider-access-1") {
		t.Error("what was issued was not given back")
	}
	w.store.heal()
	got := w.relayedTokens()
	w.store.fail("Update")
	w.refresh(got.RefreshToken).wantError(t, 503, "temporarily_unavailable")
	w.revokeToken(got.RefreshToken).wantError(t, 503, "temporarily_unavailable")
	w.store.heal()
	if a := w.revokeToken(got.RefreshToken); a.status != 200 || w.accepts(got.AccessToken) {
		t.Errorf("afterwards: status %d", a.status)
	}
}
