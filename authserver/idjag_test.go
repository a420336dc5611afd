package authserver

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// asserting is a provider that vouches for whom it is told to.
type asserting struct {
	provider
	answer identity.Assertion
	err    error
}

func (*asserting) Issuer() string { return "https://idp.example" }

func (p *asserting) Assertion(_ context.Context, _, audience string) (identity.Assertion, error) {
	if audience != issuer {
		return identity.Assertion{}, identity.ErrRefused
	}
	return p.answer, p.err
}

// withAssertions adds a provider whose assertions count, and clients that may bring them.
func withAssertions(t *testing.T) (*world, *asserting) {
	t.Helper()
	secret := must(clients.HashSecret(secretOfConfidential))(t)
	idp := &asserting{provider: provider{id: "oidc"}}
	w := newWorld(t, func(c *Config) {
		c.IDJAG = map[string]AssertionIssuer{idp.Issuer(): {Provider: idp, Clients: map[string]string{"agent-at-idp": "agent"}}}
		c.Clients = clients.New(clients.Config{
			Ring: c.Vault.Ring, Tenant: issuer, Now: c.Now, DynamicRegistration: true,
			Static: []clients.Client{
				static(t, clients.Client{ID: "agent", Name: "Agent", Secret: secret, GrantTypes: []string{clients.GrantJWTBearer}}),
				static(t, clients.Client{ID: "same", Secret: secret, GrantTypes: []string{clients.GrantJWTBearer}}),
				static(t, clients.Client{ID: "confidential", Secret: secret, RedirectURIs: []string{callback}}),
				static(t, clients.Client{ID: "web", RedirectURIs: []string{callback}}),
			},
		})
	})
	idp.answer = identity.Assertion{
		User: alice, ClientID: "agent-at-idp", Resources: []string{github}, Scopes: []string{"github:read"}, ID: "jti-1",
		RememberUntil: w.clock.Now().Add(6 * time.Minute),
	}
	return w, idp
}

// unsigned is an assertion of which only the issuer is looked at, before the provider verifies it.
func unsigned(iss string) string {
	payload, _ := json.Marshal(map[string]string{"iss": iss})
	return "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
}

func (w *world) bring(change ...string) tokens {
	w.t.Helper()
	return w.call(TokenPath, with(url.Values{
		"grant_type": {clients.GrantJWTBearer}, "client_id": {"agent"}, "client_secret": {secretOfConfidential},
		"assertion": {unsigned("https://idp.example")},
	}, change...))
}

func TestAnAssertionIsExchangedForAToken(t *testing.T) {
	w, _ := withAssertions(t)
	got := w.bring()
	if got.status != http.StatusOK || got.Scope != "github:read" || got.RefreshToken != "" {
		t.Fatalf("status %d %s (%s), scope %q, refresh token %v", got.status, got.Error, got.Description, got.Scope, got.RefreshToken != "")
	}
	var a sessions.Access
	if err := w.Vault.OpenAccess(got.AccessToken, &a); err != nil {
		t.Fatal(err)
	}
	// The same person as after a sign-in at the provider, to the last claim.
	if a.UserIssuer != alice.Issuer || a.Subject != alice.Subject || a.Email != alice.Email || a.Groups != "engineering" ||
		a.ClientID != "agent" || a.Resource != github {
		t.Errorf("the token says %+v", a)
	}
	events := w.trail.of(audit.SignIn)
	if len(events) != 1 || !events[0].Allowed || events[0].Reason != "domain example.com" || events[0].Provider != "oidc" || events[0].ClientID != "agent" {
		t.Errorf("the log says %+v", events)
	}
	if len(w.trail.of(audit.TokenIssued)) != 1 {
		t.Error("the token is not in the log")
	}
}

func TestAssertionsAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change []string
		answer func(*asserting)
		status int
		code   string
	}{
		{"of nobody", []string{"assertion", "-"}, nil, http.StatusBadRequest, "invalid_request"},
		{"that are none", []string{"assertion", "hello"}, nil, http.StatusBadRequest, "invalid_grant"},
		{"of an issuer that is not configured", []string{"assertion", unsigned("https://evil.example")}, nil, http.StatusBadRequest, "invalid_grant"},
		{"of this server", []string{"assertion", unsigned(issuer)}, nil, http.StatusBadRequest, "invalid_grant"},
		{"that the provider did not make", nil, func(p *asserting) { p.err = identity.ErrRefused }, http.StatusBadRequest, "invalid_grant"},
		{"of a hosted domain that is not let in", nil, func(p *asserting) { p.err = identity.ErrDenied }, http.StatusBadRequest, "invalid_grant"},
		{"while the keys cannot be had", nil, func(p *asserting) { p.err = identity.ErrUnavailable }, http.StatusServiceUnavailable, "temporarily_unavailable"},
		{"made for another client", nil, func(p *asserting) { p.answer.ClientID = "same" }, http.StatusBadRequest, "invalid_grant"},
		{"made for a client whose name there is this client's here", nil, func(p *asserting) { p.answer.ClientID = "agent" }, http.StatusBadRequest, "invalid_grant"},
		{"brought by another client", []string{"client_id", "same"}, nil, http.StatusBadRequest, "invalid_grant"},
		{"brought by a client that is not registered for them", []string{"client_id", "confidential"}, nil, http.StatusBadRequest, "unauthorized_client"},
		{"brought by a public client", []string{"client_id", "web", "client_secret", "-"}, nil, http.StatusBadRequest, "unauthorized_client"},
		{"brought without the client's secret", []string{"client_secret", "-"}, nil, http.StatusUnauthorized, "invalid_client"},
		{"for a resource elsewhere", nil, func(p *asserting) { p.answer.Resources = []string{"https://other.example/mcp"} }, http.StatusBadRequest, "invalid_target"},
		{"for another resource than the request", []string{"resource", linear}, nil, http.StatusBadRequest, "invalid_target"},
		{"for several resources without a choice", nil, func(p *asserting) { p.answer.Resources = []string{github, linear} }, http.StatusBadRequest, "invalid_target"},
		{"with a request for more scopes", []string{"scope", "github:write"}, nil, http.StatusBadRequest, "invalid_scope"},
		{"for somebody who is not on the list", nil, func(p *asserting) { p.answer.User.Email = "alice@elsewhere.example" }, http.StatusBadRequest, "invalid_grant"},
		{"for an address that is not verified", nil, func(p *asserting) { p.answer.User.EmailVerified = false }, http.StatusBadRequest, "invalid_grant"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, idp := withAssertions(t)
			if tc.answer != nil {
				tc.answer(idp)
			}
			w.bring(tc.change...).wantError(t, tc.status, tc.code)
			if n := len(w.trail.allowed(audit.TokenIssued)); n != 0 {
				t.Errorf("%d tokens were issued", n)
			}
			if tc.answer != nil || len(tc.change) == 0 {
				return
			}
			if got := w.bring(); got.status != http.StatusOK {
				t.Errorf("the right request after it: status %d %s", got.status, got.Error)
			}
		})
	}
}

func TestTheResourcesOwnListAppliesToAssertions(t *testing.T) {
	w, _ := withAssertions(t)
	(*w.resources)[0].Policy = policy(t, deny)
	w.bring().wantError(t, http.StatusBadRequest, "invalid_grant")
	events := w.trail.of(audit.SignIn)
	if len(events) != 1 || events[0].Allowed {
		t.Errorf("the log says %+v", events)
	}
}

func TestWhatAnAssertionGrants(t *testing.T) {
	for _, tc := range []struct {
		name                string
		resources, scopes   []string
		resource, scope     string
		wantResource, wants string
	}{
		{"its scopes", []string{github}, []string{"github:read"}, "", "", github, "github:read"},
		{"all scopes where it sets no limit", []string{github}, nil, "", "", github, "github:read github:write"},
		{"no scope where it names none that exists", []string{github}, []string{"openid"}, "", "", github, ""},
		{"no scope where its list is empty", []string{github}, []string{}, "", "", github, ""},
		{"what is asked for of several scopes", []string{github}, []string{"github:read", "github:write"}, "", "github:write", github, "github:write"},
		{"the resource below which its own lies", []string{github + "/mcp"}, nil, "", "", github, "github:read github:write"},
		{"the one of its resources that is asked for", []string{github, linear}, nil, linear, "", linear, ""},
		{"the one of its resources that is here", []string{"https://other.example/mcp", linear}, nil, "", "", linear, ""},
		{"one resource that it names twice", []string{github, github + "/"}, nil, "", "", github, "github:read github:write"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, idp := withAssertions(t)
			idp.answer.Resources, idp.answer.Scopes = tc.resources, tc.scopes
			var change []string
			if tc.resource != "" {
				change = append(change, "resource", tc.resource)
			}
			if tc.scope != "" {
				change = append(change, "scope", tc.scope)
			}
			got := w.bring(change...)
			var a sessions.Access
			if got.status != http.StatusOK || w.Vault.OpenAccess(got.AccessToken, &a) != nil {
				t.Fatalf("status %d %s (%s)", got.status, got.Error, got.Description)
			}
			if a.Resource != tc.wantResource || a.Scope != tc.wants || got.Scope != tc.wants {
				t.Errorf("%s with %q, want %s with %q", a.Resource, a.Scope, tc.wantResource, tc.wants)
			}
		})
	}
}

func TestAnAssertionCountsOnce(t *testing.T) {
	w, idp := withAssertions(t)
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		replica := &world{Server: New(w.Config), t: t}
		wg.Go(func() {
			switch got := replica.bring(); {
			case got.status == http.StatusOK:
				won.Add(1)
			case got.Error != "invalid_grant":
				t.Errorf("status %d %s", got.status, got.Error)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 50 got a token, want 1", won.Load())
	}
	w.clock.advance(6*time.Minute - time.Second)
	w.bring().wantError(t, http.StatusBadRequest, "invalid_grant")
	w.clock.advance(time.Second)
	w.bring().wantError(t, http.StatusBadRequest, "invalid_grant") // past what its id is remembered for

	idp.answer.ID, idp.answer.RememberUntil = "jti-2", w.clock.Now().Add(time.Minute)
	if got := w.bring(); got.status != http.StatusOK {
		t.Errorf("the next assertion: status %d %s", got.status, got.Error)
	}
	idp.answer.ID = "jti-3"
	w.store.fail()
	w.bring().wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	w.store.heal()
	if got := w.bring(); got.status != http.StatusOK {
		t.Errorf("an outage cost the assertion: status %d %s", got.status, got.Error)
	}
}

func TestAssertionsAreAnnouncedWithTheirProfile(t *testing.T) {
	w, _ := withAssertions(t)
	m := w.Metadata()
	if !slices.Contains(m.GrantTypesSupported, clients.GrantJWTBearer) || !slices.Equal(m.AuthorizationGrantProfilesSupported, []string{"urn:ietf:params:oauth:grant-profile:id-jag"}) {
		t.Errorf("%+v", m)
	}
	encoded, err := json.Marshal(newWorld(t).Metadata())
	if err != nil || slices.Contains(newWorld(t).Metadata().GrantTypesSupported, clients.GrantJWTBearer) {
		t.Errorf("announced without a provider: %s, %v", encoded, err)
	}
	newWorld(t).bring("client_id", "confidential").wantError(t, http.StatusBadRequest, "unsupported_grant_type")
}

func TestClientNamesOfAProvider(t *testing.T) {
	i := AssertionIssuer{Clients: map[string]string{"a-there": "a", "b": "c"}}
	for there, here := range map[string]string{"a-there": "a", "a": "", "b": "c", "c": "", "d": "d"} {
		if got := i.clientID(there); got != here {
			t.Errorf("%s is %q here, want %q", there, got, here)
		}
	}
	if (AssertionIssuer{}).clientID("x") != "x" {
		t.Error("without names of its own a client keeps its id")
	}
}

// Interface guard
var _ identity.Asserting = (*asserting)(nil)
