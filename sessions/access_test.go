package sessions_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

func exampleAccess(now time.Time) sessions.Access {
	return sessions.Access{
		ID: sessions.NewID(), Grant: sessions.NewID(),
		IssuedAt: now.Unix(), ExpiresAt: now.Add(time.Hour).Unix(),
		Resource: "https://mcp.example.com/github", Scope: "github:read github:write",
		UserIssuer: "https://accounts.google.com", Subject: "110169484474386276334",
		Email: "ada@example.com", Name: "Ada Lovelace", Groups: "engineering,analysts",
		ClientID: "https://claude.ai/oauth/claude-code-client-metadata", ClientName: "Claude Code",
	}
}

func issue(t testing.TB, v *sessions.Vault, a sessions.Access) string {
	t.Helper()
	token, err := v.IssueAccess(a)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAccessToken(t *testing.T) {
	v, c := memVault(t)
	a := exampleAccess(c.Now())
	token := issue(t, v, a)
	if !strings.HasPrefix(token, "mcpat_") {
		t.Errorf("the token %q has no prefix of its own", token)
	}
	var got sessions.Access
	if err := v.OpenAccess(token, &got); err != nil || got != a {
		t.Errorf("OpenAccess: %+v, %v; want %+v", got, err, a)
	}
	minimal := sessions.Access{IssuedAt: a.IssuedAt, ExpiresAt: a.ExpiresAt}
	if err := v.OpenAccess(issue(t, v, minimal), &got); err != nil || got.ID == (sessions.ID{}) || got.Subject != "" {
		t.Errorf("a token without texts: %+v, %v", got, err)
	}

	elsewhere := *v
	elsewhere.Tenant = "https://other.example.com"
	wantErr(t, "at another tenant", elsewhere.OpenAccess(token, &got), sessions.ErrInvalid)
	for _, text := range []string{"", token[:len(token)-1], token + "A", "Bearer " + token, strings.Repeat(token, 100)} {
		wantErr(t, "opening garbage", v.OpenAccess(text, &got), sessions.ErrInvalid)
	}
	refresh, err := v.CreateGrant(t.Context(), sessions.Grant{}, sessions.GrantPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a refresh token", v.OpenAccess(refresh, &got), sessions.ErrInvalid)
	misused, err := v.Ring.Seal(sessions.AccessToken, tenant, []byte("other"))
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a sealed value of another shape", v.OpenAccess(misused, &got), sessions.ErrInvalid)
}

func TestAccessTokenExpires(t *testing.T) {
	v, c := memVault(t)
	token := issue(t, v, exampleAccess(c.Now()))
	var a sessions.Access
	c.Advance(time.Hour - time.Second)
	if err := v.OpenAccess(token, &a); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	c.Advance(time.Second)
	wantErr(t, "at its end", v.OpenAccess(token, &a), sessions.ErrExpired)
	if a.Subject == "" {
		t.Error("an expired token does not say whose it was")
	}
}

func TestAccessTokenIsRevoked(t *testing.T) {
	for _, which := range []string{"the token", "its grant"} {
		v, c := memVault(t)
		a := exampleAccess(c.Now())
		token, other := issue(t, v, a), issue(t, v, exampleAccess(c.Now()))
		id := a.ID
		if which == "its grant" {
			id = a.Grant
		}
		if err := v.Revocations.Revoke(t.Context(), id, time.Hour); err != nil {
			t.Fatal(err)
		}
		var got sessions.Access
		wantErr(t, "after revoking "+which, v.OpenAccess(token, &got), sessions.ErrRevoked)
		if err := v.OpenAccess(other, &got); err != nil {
			t.Errorf("another token after revoking %s: %v", which, err)
		}
	}
}

func TestAccessTokenNeedsKnownRevocations(t *testing.T) {
	c := newClock()
	store := memstore.New(c.Now)
	first := newVault(t, store, c)
	a := exampleAccess(c.Now())
	token := issue(t, first, a)
	if err := first.Revocations.Revoke(t.Context(), a.Grant, time.Hour); err != nil {
		t.Fatal(err)
	}
	// A restart: what was revoked before must not come back for the moment until it is read.
	ring := newRing(t, store, c.Now)
	load(t, ring)
	v := &sessions.Vault{Ring: ring, Store: store, Revocations: sessions.NewRevocations(store, c.Now), Tenant: tenant, Now: c.Now}
	var got sessions.Access
	wantErr(t, "before the revocations are loaded", v.OpenAccess(token, &got), sessions.ErrUnavailable)
	if err := v.Revocations.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "after they are loaded", v.OpenAccess(token, &got), sessions.ErrRevoked)
}

func TestAccessTokenRefusesToBeIssued(t *testing.T) {
	v, c := memVault(t)
	for name, change := range map[string]func(*sessions.Access){
		"with a life of more than a day": func(a *sessions.Access) { a.ExpiresAt = a.IssuedAt + 24*3600 + 1 },
		"expired":                        func(a *sessions.Access) { a.ExpiresAt = a.IssuedAt },
		"longer than a header may be":    func(a *sessions.Access) { a.Groups = strings.Repeat("group,", 700) },
		"with an endless field":          func(a *sessions.Access) { a.Name = strings.Repeat("n", 1<<17) },
	} {
		a := exampleAccess(c.Now())
		change(&a)
		if _, err := v.IssueAccess(a); err == nil || strings.Contains(err.Error(), a.Email) {
			t.Errorf("a token %s: %v, want an error without the user in it", name, err)
		}
	}
}

func BenchmarkOpenAccess(b *testing.B) {
	v, c := memVault(b)
	tokens := make([]string, 10_000)
	for i := range tokens {
		a := exampleAccess(c.Now())
		a.Subject = fmt.Sprint(i)
		tokens[i] = issue(b, v, a)
	}
	var a sessions.Access
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := v.OpenAccess(tokens[i%len(tokens)], &a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenAccessRefusal(b *testing.B) {
	v, c := memVault(b)
	token := issue(b, v, exampleAccess(c.Now()))
	token = token[:len(token)-8] + "AAAAAAAA"
	var a sessions.Access
	b.ReportAllocs()
	for b.Loop() {
		if err := v.OpenAccess(token, &a); err != sessions.ErrInvalid {
			b.Fatal(err)
		}
	}
}
