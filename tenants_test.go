package mcpauth

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// Everything that one tenant hands out is tried at another one which shares the process, the store,
// the key ring, the provider, the person, the rules, the configured clients and the paths: the
// issuer is all that tells them apart. In each case the rest of what is presented is the other
// tenant's own, so that only the stranger can be what is refused; both tenants take their own.
func TestNothingOfOneTenantOpensAnythingAtAnother(t *testing.T) {
	for _, tc := range []struct {
		name  string
		stage stage
		swap  func(into, from *holdings)
		use   func(*visitor) bool
	}{
		{"a client id", registered, func(into, from *holdings) { into.clientID = from.clientID }, (*visitor).isAsked},
		{"a client secret", connected, func(into, from *holdings) { into.clientSecret = from.clientSecret }, (*visitor).refreshes},
		{"a client id and its secret", connected, swapClient, (*visitor).refreshes},
		{"a client id, its secret and its refresh token", connected, func(into, from *holdings) {
			swapClient(into, from)
			into.refresh = from.refresh
		}, (*visitor).refreshes},
		{"a consent ticket", asked, func(into, from *holdings) { into.ticket = from.ticket }, (*visitor).consents},
		{"a consent cookie", asked, swapCookie("mcp_auth_consent"), (*visitor).consents},
		{"a consent ticket and its cookie", asked, func(into, from *holdings) {
			into.ticket = from.ticket
			swapCookie("mcp_auth_consent")(into, from)
		}, (*visitor).consents},
		{"a login state", consented, func(into, from *holdings) { into.state = from.state }, (*visitor).signsIn},
		{"a login cookie", consented, swapCookie("mcp_auth_login"), (*visitor).signsIn},
		{"a login state and its cookie", consented, func(into, from *holdings) {
			into.state = from.state
			swapCookie("mcp_auth_login")(into, from)
		}, (*visitor).signsIn},
		{"a session cookie", signedIn, swapCookie("mcp_auth_session"), (*visitor).isKnown},
		{"a session cookie and the consent remembered with it", signedIn, swapCookie("mcp_auth_session"), (*visitor).isApproved},
		{"a code", signedIn, func(into, from *holdings) { into.code = from.code }, (*visitor).redeems},
		{"a code and its client", signedIn, func(into, from *holdings) {
			swapClient(into, from)
			into.code = from.code
		}, (*visitor).redeems},
		{"an access token", connected, func(into, from *holdings) { into.access = from.access }, (*visitor).calls},
		{"a refresh token", connected, func(into, from *holdings) { into.refresh = from.refresh }, (*visitor).refreshes},
		{"an access token that a client asks about", connected, func(into, from *holdings) { into.access = from.access }, (*visitor).clientAsks},
		{"a refresh token that a client asks about", connected, func(into, from *holdings) { into.access = from.refresh }, func(v *visitor) bool {
			if strings.HasPrefix(v.access, sessions.AccessToken.Prefix()) {
				v.access = v.refresh
			}
			return v.clientAsks()
		}},
		{"an access token that the MCP server asks about", connected, func(into, from *holdings) { into.access = from.access }, (*visitor).serverAsks},
		{"a device code", registered, func(into, from *holdings) { into.deviceCode = from.deviceCode }, (*visitor).polls},
		{"a device code and its client", registered, func(into, from *holdings) {
			swapClient(into, from)
			into.deviceCode = from.deviceCode
		}, (*visitor).polls},
		{"a code that a device shows", asked, func(into, from *holdings) { into.userCode = from.userCode }, (*visitor).typesCode},
		{"a session cookie at a person's own page", signedIn, swapCookie("mcp_auth_session"), (*visitor).seesOwnPage},
		{"a ticket of a person's own page", signedIn, func(into, from *holdings) { into.ownTicket = from.ownTicket }, (*visitor).makesToken},
		{"a ticket of a person's own page and its cookie", signedIn, func(into, from *holdings) {
			into.ownTicket = from.ownTicket
			swapCookie("mcp_auth_consent")(into, from)
		}, (*visitor).makesToken},
		{"an MCP session", connected, func(into, from *holdings) { into.session = from.session }, (*visitor).resumes},
	} {
		t.Run(tc.name, func(t *testing.T) {
			onEachStore(t, func(t *testing.T, pair [2]*Handler) {
				for i, h := range pair {
					stranger := newVisitor(t, h).reach(tc.stage)
					guest := newVisitor(t, pair[1-i]).reach(tc.stage)
					tc.swap(&guest.holdings, &stranger.holdings)
					if tc.use(guest) {
						t.Errorf("what %s handed out was taken by %s", stranger.issuer, guest.issuer)
					}
					// Nor was it used up there.
					if !tc.use(stranger) {
						t.Errorf("%s does not take its own", stranger.issuer)
					}
				}
			})
		})
	}
}

func swapClient(into, from *holdings) {
	into.clientID, into.clientSecret = from.clientID, from.clientSecret
}

func swapCookie(name string) func(into, from *holdings) {
	return func(into, from *holdings) { into.cookies["__Host-"+name] = from.cookies["__Host-"+name] }
}

// Revoking a stranger's token is answered like revoking one that is no more (RFC 7009, section 2.2),
// and has to do as little.
func TestOneTenantRevokesNothingOfAnother(t *testing.T) {
	onEachStore(t, func(t *testing.T, pair [2]*Handler) {
		stranger, guest := newVisitor(t, pair[0]).reach(connected), newVisitor(t, pair[1]).reach(connected)
		for _, token := range []string{stranger.access, stranger.refresh} {
			if status := guest.revokes(token); status != http.StatusOK {
				t.Errorf("revoking is answered with %d", status)
			}
		}
		if !stranger.calls() || !stranger.refreshes() {
			t.Error("another tenant revoked a token")
		}
		stranger.revokes(stranger.refresh)
		if stranger.calls() || stranger.refreshes() {
			t.Error("its own tenant did not revoke a token")
		}
	})
}

// The same person, in the words of the same provider, has a list at each tenant.
func TestEachTenantListsItsOwn(t *testing.T) {
	onEachStore(t, func(t *testing.T, pair [2]*Handler) {
		visitor := newVisitor(t, pair[0]).reach(connected)
		if !visitor.makesToken() {
			t.Fatal("making a token failed")
		}
		user := sessions.User{Issuer: "local", Subject: visitor.subject()}
		for i, want := range []int{1, 0} {
			vault := pair[i].fixed.vault
			grants, err := vault.ListGrants(t.Context(), user.Key())
			if err != nil || len(grants) != want {
				t.Errorf("%s lists %d grants, %v, want %d", vault.Tenant, len(grants), err, want)
			}
			approvals, err := vault.ListApprovals(t.Context(), user.Key())
			if err != nil || len(approvals) != want {
				t.Errorf("%s lists %d approvals, %v, want %d", vault.Tenant, len(approvals), err, want)
			}
			tokens, err := vault.ListUserTokens(t.Context(), user.Key())
			if err != nil || len(tokens) != want {
				t.Errorf("%s lists %d tokens, %v, want %d", vault.Tenant, len(tokens), err, want)
			}
			browsers, err := vault.ListBrowsers(t.Context(), user.Key())
			if err != nil || len(browsers) != want {
				t.Errorf("%s lists %d browsers, %v, want %d", vault.Tenant, len(browsers), err, want)
			}
			signIns, err := vault.ListSignIns(t.Context(), user.Key())
			if err != nil || len(signIns) != want {
				t.Errorf("%s lists %d sign-ins, %v, want %d", vault.Tenant, len(signIns), err, want)
			}
		}
	})
}

// Whatever else will be sealed is apart as well.
func TestEveryKindOfValueIsSealedForOneTenant(t *testing.T) {
	onEachStore(t, func(t *testing.T, pair [2]*Handler) {
		a, b := pair[0].fixed.vault, pair[1].fixed.vault
		for kind := sessions.AccessToken; kind.Prefix() != ""; kind++ {
			sealed, err := a.SealJSON(kind, "value")
			if err != nil {
				t.Fatal(err)
			}
			var value string
			if err := b.OpenJSON(kind, sealed, &value); err == nil {
				t.Errorf("%s opens at another tenant", kind.Prefix())
			}
			if err := a.OpenJSON(kind, sealed, &value); err != nil || value != "value" {
				t.Errorf("%s does not open at home: %v", kind.Prefix(), err)
			}
		}
		if err := a.Spend(t.Context(), "ticket", "id", time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := b.Spend(t.Context(), "ticket", "id", time.Minute); err != nil {
			t.Errorf("what one tenant used up is used up at another: %v", err)
		}
	})
}

// onEachStore runs a test with two tenants that share all there is to share.
func onEachStore(t *testing.T, test func(*testing.T, [2]*Handler)) {
	t.Helper()
	for name, module := range map[string]func(*testing.T) StoreModule{
		"memory": func(*testing.T) StoreModule { return MemoryStore{} },
		"caddy": func(t *testing.T) StoreModule {
			return &CaddyStore{storage: &certmagic.FileStorage{Path: t.TempDir()}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			rt, err := newRuntime(module(t), nil, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			if err := rt.load(context.Background()); err != nil {
				t.Fatal(err)
			}
			test(t, [2]*Handler{newTenant(t, rt, "https://a.example.com"), newTenant(t, rt, "https://b.example.com")})
		})
	}
}

// newTenant makes the handler of one issuer.
func newTenant(t *testing.T, rt *runtime, issuer string) *Handler {
	t.Helper()
	t.Setenv("TEST_INTROSPECTION_SECRET", introspectionSecret)
	h := newTestHandler(t, &Resource{Paths: []string{"/mcp"}})
	provider, err := identity.NewLocal("local", "this server", "local", []identity.LocalUser{{Email: "ann@example.com", Hash: passwordHash(t)}})
	if err != nil {
		t.Fatal(err)
	}
	policy, err := access.NewPolicy([]access.Rule{{Kind: access.Domain, Value: "example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	h.runtime, h.providers, h.policy = rt, []identity.Provider{provider}, policy
	h.IntrospectionClients = []*IntrospectionClient{{ID: "tools", Secret: "{env.TEST_INTROSPECTION_SECRET}", Resource: "/mcp"}}
	known := &Client{ID: "app", Name: "App", RedirectURIs: []string{"https://app.example.org/callback"}}
	if h.clients, err = resolveClients(nil, []*Client{known}); err != nil {
		t.Fatal(err)
	}
	if err := h.checkIntrospectionClients(); err != nil {
		t.Fatal(err)
	}
	if h.fixed, err = h.newSite(issuer); err != nil {
		t.Fatal(err)
	}
	return h
}
