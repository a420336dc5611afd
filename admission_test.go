package mcpauth

import (
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// Whose stream goes on after a reload, under a configuration like that of TestProtect with a service token, a
// machine and one user of its own.
func TestStreamsAreHeldToTheConfigurationOfNow(t *testing.T) {
	t.Setenv("CI_TOKEN", ciToken)
	h := newTestHandler(t, &Resource{Paths: []string{"/github"}}, &Resource{Paths: []string{"/linear"}})
	token, err := (&Token{Name: "ci", Value: "{env.CI_TOKEN}", Resources: []string{"/github"}}).resolve()
	if err != nil {
		t.Fatal(err)
	}
	h.Options.tokens = []*serviceToken{token}
	nightly := &Client{ID: "nightly", Secret: machineSecret, GrantTypes: []string{"client_credentials"}, Resources: []string{"/github"}}
	if err := h.configure(t, nightly); err != nil {
		t.Fatal(err)
	}
	here, _, err := h.fixed.tokens.Check(ciToken, testIssuer+"/github", "192.0.2.1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	hash, err := access.HashServiceToken(backupToken)
	if err != nil {
		t.Fatal(err)
	}
	earlier := access.ServiceToken{Name: "ci", Hash: hash}
	var local sseproxy.Identity
	issuer, people := h.providers[0].(identity.Roster).People()
	local.UserIssuer, local.Subject, local.Email = issuer, people[0].Subject, people[0].Email

	github := testIssuer + "/github"
	for _, tc := range []struct {
		name           string
		id             sseproxy.Identity
		mine, admitted bool
	}{
		{"a person", sseproxy.Identity{Access: sessions.Access{UserIssuer: "https://idp.example.com", Subject: "1", Email: "bob@example.com", Resource: github}}, true, true},
		{"somebody who was let go", sseproxy.Identity{Access: sessions.Access{UserIssuer: "https://idp.example.com", Subject: "1", Email: "bob@elsewhere.example", Resource: github}}, true, false},
		{"a user of the configuration", sseproxy.Identity{Access: sessions.Access{UserIssuer: local.UserIssuer, Subject: local.Subject, Email: local.Email, Resource: github}}, true, true},
		{"one who was deleted", sseproxy.Identity{Access: sessions.Access{UserIssuer: "local", Subject: "gone", Email: "gone@example.com", Resource: github}}, true, false},
		{"a service token", sseproxy.Identity{Access: sessions.Access{UserIssuer: testIssuer, Subject: "token:ci", ID: here.ID(), Resource: github}}, true, true},
		{"the value that it had before", sseproxy.Identity{Access: sessions.Access{UserIssuer: testIssuer, Subject: "token:ci", ID: earlier.ID(), Resource: github}}, true, false},
		{"a service token that is not good there now", sseproxy.Identity{Access: sessions.Access{UserIssuer: testIssuer, Subject: "token:ci", ID: here.ID(), Resource: testIssuer + "/linear"}}, true, false},
		{"a machine", sseproxy.Identity{Access: sessions.Access{UserIssuer: testIssuer, Subject: "client:nightly", ClientID: "nightly", Resource: github}}, true, true},
		{"a machine without an entry", sseproxy.Identity{Access: sessions.Access{UserIssuer: testIssuer, Subject: "client:daily", ClientID: "daily", Resource: github}}, true, false},
		{"nobody, from when the site was open", sseproxy.Identity{Access: sessions.Access{Resource: github}}, true, false},
		{"the user of development mode", sseproxy.Identity{Access: sessions.Access{UserIssuer: devIssuer, Subject: "1", Email: "dev@example.com", Resource: github}}, true, false},
		{"a resource that is not here any more", sseproxy.Identity{Access: sessions.Access{UserIssuer: "https://idp.example.com", Subject: "1", Resource: testIssuer + "/gone"}}, false, false},
		{"a resource of another site", sseproxy.Identity{Access: sessions.Access{UserIssuer: "https://idp.example.com", Subject: "1", Resource: "https://other.example.com/github"}}, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if mine, admitted := h.admitsStream(&tc.id); mine != tc.mine || admitted != tc.admitted {
				t.Errorf("mine %t, admitted %t; want %t, %t", mine, admitted, tc.mine, tc.admitted)
			}
			app := &App{handlers: []*Handler{h}}
			if got := app.admits(&tc.id); got != (tc.admitted || !tc.mine) {
				t.Errorf("the stream goes on: %t", got)
			}
		})
	}

	// A handler that learns its issuer from requests has seen none yet.
	derived := newTestHandler(t)
	derived.fixed = nil
	for email, want := range map[string]bool{"bob@example.com": true, "bob@elsewhere.example": false} {
		id := sseproxy.Identity{Access: sessions.Access{UserIssuer: "https://idp.example.com", Subject: "1", Email: email, Resource: "https://one.mcp.example.com"}}
		if mine, admitted := derived.admitsStream(&id); !mine || admitted != want {
			t.Errorf("%s: mine %t, admitted %t", email, mine, admitted)
		}
	}
	open := newModeHandler(t, "allow_network 10.0.0.0/8")
	if mine, admitted := open.admitsStream(&sseproxy.Identity{Access: sessions.Access{Resource: open.fixed.resources.all[0].URI}}); !mine || !admitted {
		t.Errorf("an open site: mine %t, admitted %t", mine, admitted)
	}
}
