package authserver

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// withMachines adds clients that may act in their own name.
func withMachines(t *testing.T) *world {
	t.Helper()
	secret := must(clients.HashSecret(secretOfConfidential))(t)
	machine := []string{clients.GrantClientCredentials}
	return newWorld(t, func(c *Config) {
		c.Machines = Machines{"nightly": {github}, "wide": {github, linear}, "fewer": {github}}
		c.Clients = clients.New(clients.Config{
			Ring: c.Vault.Ring, Tenant: issuer, Now: c.Now, DynamicRegistration: true,
			Static: []clients.Client{
				static(t, clients.Client{ID: "nightly", Name: "Nightly job", Secret: secret, GrantTypes: machine}),
				static(t, clients.Client{ID: "wide", Secret: secret, GrantTypes: machine}),
				static(t, clients.Client{ID: "fewer", Secret: secret, GrantTypes: machine, Scopes: []string{"github:read"}}),
				static(t, clients.Client{ID: "unlisted", Secret: secret, GrantTypes: machine}),
				static(t, clients.Client{ID: "confidential", Secret: secret, RedirectURIs: []string{callback}}),
				static(t, clients.Client{ID: "web", RedirectURIs: []string{callback}}),
			},
		})
	})
}

func (w *world) machineToken(id string, change ...string) tokens {
	w.t.Helper()
	return w.call(TokenPath, with(url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secretOfConfidential}, "resource": {github},
	}, change...))
}

func TestAClientGetsATokenInItsOwnName(t *testing.T) {
	w := withMachines(t)
	got := w.machineToken("nightly", "scope", "github:read offline_access")
	if got.status != http.StatusOK || got.TokenType != "Bearer" || got.Scope != "github:read" || got.ExpiresIn != 3600 || got.RefreshToken != "" {
		t.Fatalf("status %d %s, %+v", got.status, got.Error, got)
	}
	var a sessions.Access
	if err := w.Vault.OpenAccess(got.AccessToken, &a); err != nil {
		t.Fatal(err)
	}
	if a.UserIssuer != issuer || a.Subject != "client:nightly" || a.Email != "" || a.Groups != "" || a.ClientID != "nightly" ||
		a.ClientName != "Nightly job" || a.Resource != github {
		t.Errorf("the token says %+v", a)
	}
	if n := w.store.written(); n > 1 { // the key ring
		t.Errorf("the store was written to %d times", n)
	}
	events := w.trail.of(audit.TokenIssued)
	if len(events) != 1 || !events[0].Allowed || events[0].Subject != "client:nightly" {
		t.Errorf("the log says %+v", events)
	}

	basic := formRequest(TokenPath, url.Values{"grant_type": {"client_credentials"}, "resource": {github}})
	basic.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("nightly:"+secretOfConfidential)))
	if got := w.decode(w.send(basic)); got.status != http.StatusOK {
		t.Errorf("with the secret in the header: status %d %s", got.status, got.Error)
	}
	if revoked := w.call(RevokePath, url.Values{"client_id": {"nightly"}, "client_secret": {secretOfConfidential}, "token": {got.AccessToken}}); revoked.status != http.StatusOK || w.opens(got.AccessToken) {
		t.Errorf("the client cannot revoke its own token: status %d", revoked.status)
	}
}

func TestTokensInAClientsOwnNameAreRefused(t *testing.T) {
	w := withMachines(t)
	for _, tc := range []struct {
		name   string
		client string
		change []string
		status int
		code   string
	}{
		{"with a wrong secret", "nightly", []string{"client_secret", strings.Repeat("x", 36)}, http.StatusUnauthorized, "invalid_client"},
		{"without a secret", "nightly", []string{"client_secret", "-"}, http.StatusUnauthorized, "invalid_client"},
		{"to nobody", "nobody", nil, http.StatusUnauthorized, "invalid_client"},
		{"to a client registered for people only", "confidential", nil, http.StatusBadRequest, "unauthorized_client"},
		{"to a public client", "web", []string{"client_secret", "-"}, http.StatusBadRequest, "unauthorized_client"},
		{"at a resource it may not use", "nightly", []string{"resource", linear}, http.StatusBadRequest, "invalid_target"},
		{"at no resource of this server", "nightly", []string{"resource", "https://evil.example"}, http.StatusBadRequest, "invalid_target"},
		{"at an unnamed resource where it may use several", "wide", []string{"resource", "-"}, http.StatusBadRequest, "invalid_target"},
		{"to a client that is configured for no resource", "unlisted", nil, http.StatusBadRequest, "invalid_target"},
		{"with only scopes that it may not have", "fewer", []string{"scope", "github:write"}, http.StatusBadRequest, "invalid_scope"},
		{"with a malformed scope", "nightly", []string{"scope", "a\\b"}, http.StatusBadRequest, "invalid_scope"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.machineToken(tc.client, tc.change...).wantError(t, tc.status, tc.code)
		})
	}
	registered := w.registered("client_secret_post")
	w.machineToken(registered, "client_secret", w.secretOf(registered)).wantError(t, http.StatusBadRequest, "unauthorized_client")
	if n := len(w.trail.allowed(audit.TokenIssued)); n != 0 {
		t.Errorf("%d tokens were issued", n)
	}
	if n := len(w.trail.of(audit.TokenIssued)); n == 0 {
		t.Error("no refusal was recorded")
	}
}

// secretOf derives the secret of a client that registered itself.
func (w *world) secretOf(id string) string {
	w.t.Helper()
	return must(w.Vault.Ring.Derive(sessions.ClientSecret, issuer, id))(w.t)
}

func TestAMachineMayLeaveTheResourceOutWhereThereIsNoChoice(t *testing.T) {
	w := withMachines(t)
	if got := w.machineToken("nightly", "resource", "-"); got.status != http.StatusOK {
		t.Errorf("status %d %s", got.status, got.Error)
	}
	if got := w.machineToken("wide", "resource", linear+"/"); got.status != http.StatusOK {
		t.Errorf("its other resource: status %d %s", got.status, got.Error)
	}
}

func TestLimitedScopes(t *testing.T) {
	hierarchy := must(access.NewScopes([]string{"read", "write", "admin"}, nil, []access.Implication{{Scope: "write", Others: []string{"read"}}}))(t)
	resource := &Resource{Scopes: []string{"read", "write", "admin"}, DefaultScopes: []string{"read", "write"}, Hierarchy: hierarchy}
	for _, tc := range []struct {
		name, requested string
		allowed         []string
		want            string
		refused         bool
	}{
		{"nothing said at all", "", nil, "read write", false},
		{"one that an allowed one includes", "read", []string{"write"}, "read", false},
		{"nothing asked for of one that includes another", "", []string{"write"}, "write", false},
		{"no limit", "admin", nil, "admin", false},
		{"an empty limit", "", []string{}, "", false},
		{"something in spite of an empty limit", "read", []string{}, "", true},
		{"nothing asked for", "", []string{"write", "read"}, "read write", false},
		{"all asked for, as metadata lists them", "read write admin", []string{"read"}, "read", false},
		{"one of the allowed ones", "write", []string{"read", "write"}, "write", false},
		{"only one that is not allowed", "admin", []string{"read"}, "", true},
		{"one that is not allowed beside one that does not exist", "admin openid", []string{"read"}, "", true},
		{"only ones that do not exist here", "openid profile", []string{"read"}, "read", false},
		{"allowed ones that do not exist here", "read", []string{"elsewhere"}, "", true},
		{"the same one twice", "read read", nil, "read", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, refused := limitedScopes(tc.requested, tc.allowed, resource)
			if (refused != nil) != tc.refused || refused == nil && strings.Join(got, " ") != tc.want {
				t.Errorf("%q, %v; want %q, refused %v", got, refused, tc.want, tc.refused)
			}
		})
	}
}

func TestClientCredentialsExistOnlyWithMachines(t *testing.T) {
	if types := newWorld(t).Metadata().GrantTypesSupported; slices.Contains(types, "client_credentials") {
		t.Errorf("announced without any: %v", types)
	}
	m := withMachines(t).Metadata()
	if !slices.Contains(m.GrantTypesSupported, "client_credentials") || !slices.Contains(m.TokenEndpointAuthMethodsSupported, "client_secret_basic") {
		t.Errorf("not announced: %+v", m)
	}
	newWorld(t).call(TokenPath, url.Values{"grant_type": {"client_credentials"}, "client_id": {"confidential"}, "client_secret": {secretOfConfidential}}).
		wantError(t, http.StatusBadRequest, "unsupported_grant_type")
}

func TestIntrospectionKnowsMachines(t *testing.T) {
	w := withMachines(t)
	got := w.machineToken("nightly")
	active := func() bool {
		t.Helper()
		a := w.call(IntrospectPath, url.Values{"client_id": {"nightly"}, "client_secret": {secretOfConfidential}, "token": {got.AccessToken}})
		if a.status != http.StatusOK {
			t.Fatalf("status %d %s", a.status, a.Error)
		}
		return strings.Contains(a.body, `"active":true`)
	}
	if !active() {
		t.Error("a machine's token is not active")
	}
	w.Machines = Machines{"nightly": {linear}}
	w.Policy = policy(t, access.Rule{Kind: access.Any})
	if active() {
		t.Error("it is active at a resource that it may no longer use")
	}
}

// The rules for people must not decide about machines, in either direction.
func TestAllowListsSayNothingAboutMachines(t *testing.T) {
	w := withMachines(t)
	w.Policy = policy(t, access.Rule{Kind: access.Any})
	w.machineToken("unlisted").wantError(t, http.StatusBadRequest, "invalid_target")
	w.Policy = policy(t, deny)
	if got := w.machineToken("nightly"); got.status != http.StatusOK {
		t.Errorf("status %d %s", got.status, got.Error)
	}
}
