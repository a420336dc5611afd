package mcpauth

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// runSites makes the sites of a Caddyfile the configuration in force and returns its handlers.
func runSites(t *testing.T, storage, sites string) []*Handler {
	t.Helper()
	text, err := adapt(t, "{\nadmin off\nauto_https off\nstorage file_system "+storage+"\nlog {\nlevel PANIC\n}\n}\n"+sites)
	if err != nil {
		t.Fatal(err)
	}
	text = strings.Replace(text, `"apps": {`, `"apps": {"tls":{"disable_storage_check":true,"disable_storage_clean":true},`, 1)
	var config caddy.Config
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, `":18080"`, `"127.0.0.1:0"`)), &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Run(&config); err != nil {
		t.Fatal(err)
	}
	return inForce.last.Load().handlers
}

const ownIssuer = "issuer https://mcp.example.com\n"

// guardedSite is a site with a guard; block is what its mcp_auth block says beside the usual.
func guardedSite(block string) string {
	return "http://mcp.example.com:18080 {\nmcp_auth {\nstore memory\n" + block + "}\nrespond ok\n}\n"
}

// A stream stays on the configuration that it was opened under, and must not outlive what a later one
// takes away.
func TestStreamsAreHeldToTheConfigurationInForce(t *testing.T) {
	const (
		issuer  = "https://mcp.example.com"
		local   = "local {\nuser alice@example.com $2a$04$O9HJpFTcqDZYbZ8jQ0yfDuyyGJnWKnMVKCBfzvXs2ncrFZoo1TRXq\n}\n"
		domain  = "allow domain example.com\n"
		staff   = "allow group staff\n"
		github  = "resource /github/*\n"
		linear  = "resource /linear/*\n"
		facade  = "authorization_server https://idp.example.com {\nfacade {\nclient_id edge\nclient_secret {env.TEST_SECRET}\n}\n}\n"
		foreign = "authorization_server https://idp.example.com\n"
		machine = "client worker {\ngrant_types client_credentials\nsecret worker-0123456789abcdefghijklmnopqrstuvwxyz\nresource /github\n}\n"
	)
	t.Setenv("TEST_SECRET", "the-secret-of-the-edge-at-the-issuer")
	token := func(value string) string {
		return fmt.Sprintf("token ci {\nsha256 %x\n}\n", sha256.Sum256([]byte(value)))
	}
	const value, other = "ci-0123456789abcdefghijklmnopqrstuvwxyz", "ci-zyxwvutsrqponmlkjihgfedcba9876543210"
	person := sseproxy.Identity{Access: sessions.Access{
		Subject: "alice", Email: "alice@example.com", Groups: "staff", UserIssuer: "https://idp.example.com", ClientID: "dcr-1",
		Scope: "read", Resource: issuer + "/github", ID: sessions.NewID(),
	}}
	with := func(change func(*sseproxy.Identity)) sseproxy.Identity {
		id := person
		change(&id)
		return id
	}
	service := func(value string) sseproxy.Identity {
		tokens, err := access.NewServiceTokens([]*access.ServiceToken{{Name: "ci", Hash: sha256.Sum256([]byte(value))}})
		if err != nil {
			t.Fatal(err)
		}
		return sseproxy.Identity{Access: sessions.Access{Subject: "token:ci", ClientID: "ci", UserIssuer: issuer, Resource: issuer + "/github", ID: fingerprintOf(t, tokens, value)}}
	}
	worker := sseproxy.Identity{Access: sessions.Access{Subject: "client:worker", ClientID: "worker", UserIssuer: issuer, Resource: issuer + "/github", ID: sessions.NewID()}}
	_, people := mustLocal(t).People()
	localAlice := people[0].Subject
	visitor := with(func(id *sseproxy.Identity) { id.ID = sessions.ID{} }) // with a token of another issuer
	usual := guardedSite(ownIssuer + local + domain + github)
	for _, tc := range []struct {
		name, before, after string
		id                  sseproxy.Identity
		want                bool
	}{
		{"nothing changed", usual, usual, person, true},
		{"something else changed", usual, guardedSite(ownIssuer + local + domain + "allow email bob@example.org\naccess_token_lifetime 5m\n" + github + linear), person, true},
		{"the rules let somebody else in", usual, guardedSite(ownIssuer + local + "allow domain elsewhere.example\n" + github), person, false},
		{"the rules name a group that the person is in", usual, guardedSite(ownIssuer + local + staff + github), person, true},
		{"the resource has rules of its own", usual, guardedSite(ownIssuer + local + domain + "resource /github/* {\nallow email bob@example.com\n}\n"), person, false},
		{"a user of the configuration, still", usual, usual, with(func(id *sseproxy.Identity) { id.UserIssuer, id.Subject = "local", localAlice }), true},
		{"a user of the configuration who was deleted", usual, strings.Replace(usual, "user alice@", "user bob@", 1), with(func(id *sseproxy.Identity) { id.UserIssuer, id.Subject = "local", localAlice }), false},
		{"the resource is gone", usual, guardedSite(ownIssuer + local + domain + linear), person, false},
		{"the resource needs another scope", usual, guardedSite(ownIssuer + local + domain + "resource /github/* {\nscopes read write\nrequired_scope write\n}\n"), person, false},
		{"the resource needs the scope that there is", usual, guardedSite(ownIssuer + local + domain + "resource /github/* {\nscopes read write\nrequired_scope read\n}\n"), person, true},
		{"the issuer is another", usual, guardedSite("issuer https://other.example.com\n" + local + domain + github), person, false},
		{"the keys are others", usual, guardedSite(ownIssuer + "key k3y-k3y-k3y-0123456789abcdefghijklmnop\n" + local + domain + github), person, false},
		{"the site is gone", usual, "http://mcp.example.com:18080 {\nrespond ok\n}\n" + strings.ReplaceAll(usual, "mcp.example.com", "other.example.com"), person, false},
		{"tokens are another issuer's now", usual, guardedSite(ownIssuer + foreign + domain + github), person, false},

		{"another issuer's tokens, still", guardedSite(ownIssuer + foreign + domain + github), guardedSite(ownIssuer + foreign + domain + github), visitor, true},
		{"another issuer's tokens, of others", guardedSite(ownIssuer + foreign + domain + github), guardedSite(ownIssuer + foreign + "allow email bob@example.com\n" + github), visitor, false},
		{"another issuer's tokens no more", guardedSite(ownIssuer + foreign + domain + github), usual, visitor, false},

		{"another issuer's tokens, by way of this one", guardedSite(ownIssuer + facade + domain + github), guardedSite(ownIssuer + facade + domain + github), visitor, true},
		{"another issuer's tokens, by way of this one no more", guardedSite(ownIssuer + facade + domain + github), usual, visitor, false},
		{"tokens that this site does not issue any more", usual, guardedSite(ownIssuer + facade + domain + github), person, false},

		{"a service token, still", guardedSite(ownIssuer + token(value) + github), guardedSite(ownIssuer + token(value) + github + linear), service(value), true},
		{"a service token no more", guardedSite(ownIssuer + token(value) + github), usual, service(value), false},
		{"a service token with another value", guardedSite(ownIssuer + token(value) + github), guardedSite(ownIssuer + token(other) + github), service(value), false},
		{"a service token for another resource", guardedSite(ownIssuer + token(value) + github),
			guardedSite(ownIssuer + strings.Replace(token(value), "}", "resource /linear\n}", 1) + github + linear), service(value), false},

		{"a program in its own name, still", guardedSite(ownIssuer + local + domain + machine + github), guardedSite(ownIssuer + local + domain + machine + github), worker, true},
		{"a program in its own name no more", guardedSite(ownIssuer + local + domain + machine + github), usual, worker, false},

		{"an open site, still", guardedSite("allow_network any\n" + ownIssuer + github), guardedSite("allow_network any\n" + ownIssuer + github + linear),
			sseproxy.Identity{Access: sessions.Access{Resource: issuer + "/github"}}, true},
		{"an open site that asks for tokens now", guardedSite("allow_network any\n" + ownIssuer + github), usual, sseproxy.Identity{Access: sessions.Access{Resource: issuer + "/github"}}, false},
		{"a site that is open now", usual, guardedSite("allow_network any\n" + ownIssuer + github), person, true},

		{"an issuer by host, still", guardedSite(local + domain + github), guardedSite(local + domain + github), person, true},
		{"an issuer by host, for others", guardedSite(local + domain + github), guardedSite(local + "allow email bob@example.com\n" + github), person, false},
		{"an issuer by host, with everybody let in next door", guardedSite(local + domain + github),
			guardedSite(local+"allow email bob@example.com\n"+github) + strings.ReplaceAll(guardedSite(local+"allow any\n"+github), "mcp.example.com", "b.example.com"), person, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Cleanup(func() {
				if err := caddy.Stop(); err != nil {
					t.Error(err)
				}
			})
			storage := t.TempDir()
			before := runSites(t, storage, tc.before)[0]
			site := before.siteOf(issuer)
			if site == nil {
				t.Fatal("no such site")
			}
			ask := before.admitsStill(site)
			if !ask(&tc.id) {
				t.Error("ended before anything changed")
			}
			runSites(t, storage, tc.after)
			if got := ask(&tc.id); got != tc.want {
				t.Errorf("goes on: %v, want %v", got, tc.want)
			}
		})
	}
}

func fingerprintOf(t *testing.T, tokens *access.ServiceTokens, value string) sessions.ID {
	t.Helper()
	found, _, err := tokens.Check(value, "", "", time.Time{})
	if found == nil {
		t.Fatal(err)
	}
	return found.Fingerprint()
}

// A configuration that does not come up has taken nothing away.
func TestAFailedReloadEndsNoStream(t *testing.T) {
	a, b, c := new(App), new(App), new(App)
	for _, app := range []*App{a, b, c} {
		inForce.begin(app)
	}
	inForce.end(c)
	if inForce.last.Load() != b || a.over.Load() || b.over.Load() || !c.over.Load() {
		t.Error("the one before is not in force")
	}
	inForce.end(a)
	if inForce.last.Load() != b {
		t.Error("the end of an old one counts")
	}
	inForce.end(b)
	if inForce.last.Load() != nil {
		t.Error("something is left")
	}
}

// mustLocal is the provider of the one user of these sites.
func mustLocal(t *testing.T) *identity.Local {
	t.Helper()
	local, err := identity.NewLocal("local", "", "local", []identity.LocalUser{
		{Email: "alice@example.com", Hash: "$2a$04$O9HJpFTcqDZYbZ8jQ0yfDuyyGJnWKnMVKCBfzvXs2ncrFZoo1TRXq"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return local
}
