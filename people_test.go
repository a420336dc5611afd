package mcpauth

import (
	"net/http"
	"testing"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// reloadWith is a reload after which the configuration names one user.
func (v *visitor) reloadWith(user identity.LocalUser) {
	v.t.Helper()
	local, err := identity.NewLocal("local", "this server", "local", []identity.LocalUser{user})
	if err != nil {
		v.t.Fatal(err)
	}
	h := newTenant(v.t, v.h.runtime, v.issuer)
	h.providers = []identity.Provider{local}
	if h.fixed, err = h.newSite(v.issuer); err != nil {
		v.t.Fatal(err)
	}
	v.h = h
}

// Whoever runs a site with users of its own cuts somebody off by deleting their line. An allow rule for the
// whole domain does not keep them in.
func TestAUserWhoIsTakenOutOfTheConfigurationIsCutOffAtOnce(t *testing.T) {
	rt, err := newRuntime(&CaddyStore{storage: &certmagic.FileStorage{Path: t.TempDir()}}, nil, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := rt.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	uses := map[string]func(*visitor) bool{
		"an access token":         (*visitor).calls,
		"an MCP session":          (*visitor).resumes,
		"a token that they made":  (*visitor).usesToken,
		"their browser":           (*visitor).isKnown,
		"their own page":          (*visitor).seesOwnPage,
		"a client asking":         (*visitor).clientAsks,
		"an MCP server that asks": (*visitor).serverAsks,
		"a refresh token":         (*visitor).refreshes,
	}
	for name, use := range uses {
		t.Run(name, func(t *testing.T) {
			ann := newVisitor(t, newTenant(t, rt, "https://a.example.com")).reach(connected)
			if !ann.makesToken() {
				t.Fatal("making a token failed")
			}
			ann.reloadWith(identity.LocalUser{Email: "ann@example.com", Hash: passwordHash(t)})
			if !use(ann) {
				t.Fatal("refused before")
			}
			ann.reloadWith(identity.LocalUser{Email: "bob@example.com", Hash: passwordHash(t)})
			if use(ann) {
				t.Error("taken after the user was deleted")
			}
		})
	}
	t.Run("a code", func(t *testing.T) {
		ann := newVisitor(t, newTenant(t, rt, "https://a.example.com")).reach(signedIn)
		ann.reloadWith(identity.LocalUser{Email: "bob@example.com", Hash: passwordHash(t)})
		if ann.redeems() {
			t.Error("taken after the user was deleted")
		}
	})
}

// Groups of such users stand in the configuration too; what it says now counts.
func TestGroupsOfUsersOfTheConfigurationAreThoseOfNow(t *testing.T) {
	rt, err := newRuntime(MemoryStore{}, nil, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := rt.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ann := newVisitor(t, newTenant(t, rt, "https://a.example.com")).reach(connected)
	if !ann.makesToken() {
		t.Fatal("making a token failed")
	}
	ann.reloadWith(identity.LocalUser{Email: "ann@example.com", Hash: passwordHash(t), Groups: []string{"staff", "ops"}})
	for name, token := range map[string]string{"an access token": ann.access, "a token that she made": ann.personal} {
		_, got := ann.mcp(http.Header{"Authorization": {"Bearer " + token}})
		if got == nil || got.Header.Get("X-Forwarded-Groups") != "staff,ops" {
			t.Errorf("%s: passed on with %v", name, got)
		}
	}
	if !ann.refreshes() {
		t.Fatal("refreshing failed")
	}
	grants, err := ann.h.fixed.vault.ListGrants(t.Context(), (sessions.User{Issuer: "local", Subject: ann.subject()}).Key())
	if err != nil || len(grants) == 0 || len(grants[0].User.Groups) != 2 {
		t.Errorf("the grant has %+v, %v", grants, err)
	}
}
