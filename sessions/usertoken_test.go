package sessions_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const (
	github = tenant + "/github"
	linear = tenant + "/linear"
)

func exampleUserToken(now time.Time) sessions.PersonalToken {
	return sessions.PersonalToken{
		User: ada, Name: "nightly report", Resources: []string{github, linear}, Scopes: []string{"read", "write"},
		ExpiresAt: now.Add(30 * day),
	}
}

func mint(t testing.TB, v *sessions.Vault, token sessions.PersonalToken) (string, sessions.PersonalToken) {
	t.Helper()
	text, minted, err := v.MintUserToken(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return text, minted
}

func TestUserToken(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		text, minted := mint(t, a, exampleUserToken(c.Now()))
		if !strings.HasPrefix(text, "mcput_") {
			t.Errorf("the token begins with %.6q", text)
		}
		for _, resource := range []string{github, linear} {
			var got sessions.Access
			if err := b.OpenUserToken(text, resource, &got); err != nil {
				t.Fatal(err)
			}
			want := sessions.Access{
				ID: minted.ID, IssuedAt: c.Now().Unix(), ExpiresAt: c.Now().Add(30 * day).Unix(),
				Resource: resource, Scope: "read write", UserIssuer: ada.Issuer, Subject: ada.Subject, Email: ada.Email,
				Name: ada.Name, Groups: strings.Join(ada.Groups, ","), ClientID: minted.Label(), ClientName: "nightly report",
			}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		var opened sessions.Access
		for _, other := range []string{"", tenant, github + "/x", github + " " + linear, "https://other.example.com/github"} {
			wantErr(t, "OpenUserToken at "+other, b.OpenUserToken(text, other, &opened), sessions.ErrOtherResource)
		}

		c.Advance(time.Second)
		otherText, other := mint(t, b, exampleUserToken(c.Now()))
		tokens, err := a.ListUserTokens(t.Context(), ada.Key())
		if err != nil || len(tokens) != 2 || !reflect.DeepEqual(tokens[0], minted) || tokens[1].ID != other.ID {
			t.Fatalf("ListUserTokens: %+v, %v; want both, the older one first", tokens, err)
		}

		if err := a.RevokeUserToken(t.Context(), ada.Key(), minted.ID); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "OpenUserToken where it was revoked", a.OpenUserToken(text, github, &opened), sessions.ErrRevoked)
		if err := b.Revocations.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantErr(t, "OpenUserToken on another replica", b.OpenUserToken(text, github, &opened), sessions.ErrRevoked)
		if err := b.OpenUserToken(otherText, github, &opened); err != nil {
			t.Errorf("the other token: %v", err)
		}
		if tokens, err := b.ListUserTokens(t.Context(), ada.Key()); err != nil || len(tokens) != 1 || tokens[0].ID != other.ID {
			t.Errorf("ListUserTokens after a revocation: %+v, %v", tokens, err)
		}
		if err := a.RevokeUserToken(t.Context(), ada.Key(), minted.ID); err != nil {
			t.Errorf("revoking once more: %v", err)
		}

		// A year later nobody may have forgotten a revocation of a token that would live until then.
		long := exampleUserToken(c.Now())
		long.ExpiresAt = c.Now().Add(sessions.MaxUserTokenLife)
		longText, longToken := mint(t, a, long)
		if err := a.RevokeUserToken(t.Context(), ada.Key(), longToken.ID); err != nil {
			t.Fatal(err)
		}
		c.Advance(sessions.MaxUserTokenLife - time.Minute)
		wantErr(t, "OpenUserToken long after its revocation", newVault(t, replica(), c).OpenUserToken(longText, github, &opened), sessions.ErrRevoked)
	})
}

func TestUserTokenLivesAsLongAsItSays(t *testing.T) {
	v, c := memVault(t)
	token := exampleUserToken(c.Now())
	token.ExpiresAt = c.Now().Add(sessions.MaxUserTokenLife)
	text, _ := mint(t, v, token)
	var opened sessions.Access
	c.Advance(sessions.MaxUserTokenLife - time.Second)
	if err := v.OpenUserToken(text, github, &opened); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	c.Advance(time.Second)
	wantErr(t, "OpenUserToken after its end", v.OpenUserToken(text, github, &opened), sessions.ErrExpired)
	if tokens, err := v.ListUserTokens(t.Context(), ada.Key()); err != nil || len(tokens) != 0 {
		t.Errorf("ListUserTokens: %+v, %v", tokens, err)
	}
}

func TestUserTokensOfOthers(t *testing.T) {
	v, c := memVault(t)
	text, minted := mint(t, v, exampleUserToken(c.Now()))
	mallory := sessions.User{Issuer: ada.Issuer, Subject: "mallory"}
	if err := v.RevokeUserToken(t.Context(), mallory.Key(), minted.ID); err != nil {
		t.Errorf("revoking somebody else's token: %v, want that nothing happens", err)
	}
	var opened sessions.Access
	if err := v.OpenUserToken(text, github, &opened); err != nil {
		t.Errorf("somebody else has revoked the token: %v", err)
	}
	if tokens, err := v.ListUserTokens(t.Context(), mallory.Key()); err != nil || len(tokens) != 0 {
		t.Errorf("somebody else sees %+v, %v", tokens, err)
	}
	elsewhere := *v
	elsewhere.Tenant = "https://other.example.com"
	wantErr(t, "OpenUserToken at another tenant", elsewhere.OpenUserToken(text, github, &opened), sessions.ErrInvalid)
	if tokens, err := elsewhere.ListUserTokens(t.Context(), ada.Key()); err != nil || len(tokens) != 0 {
		t.Errorf("another tenant sees %+v, %v", tokens, err)
	}
	for _, user := range []string{"", ada.Subject, "../" + ada.Key()} {
		_, err := v.ListUserTokens(t.Context(), user)
		wantErr(t, "ListUserTokens", err, sessions.ErrInvalid)
		wantErr(t, "RevokeUserToken", v.RevokeUserToken(t.Context(), user, minted.ID), sessions.ErrInvalid)
	}
}

// The two say the same, so only their kinds keep them apart.
func TestUserTokensAndAccessTokensDoNotMix(t *testing.T) {
	v, c := memVault(t)
	text, _ := mint(t, v, exampleUserToken(c.Now()))
	access := issue(t, v, exampleAccess(v.Now()))
	var opened sessions.Access
	for name, err := range map[string]error{
		"a user token as access token":            v.OpenAccess(text, &opened),
		"a user token with the other prefix":      v.OpenAccess("mcpat_"+text[6:], &opened),
		"an access token as user token":           v.OpenUserToken(access, github, &opened),
		"an access token with the other prefix":   v.OpenUserToken("mcput_"+access[6:], github, &opened),
		"a user token without its last character": v.OpenUserToken(text[:len(text)-1], github, &opened),
		"a user token with a character more":      v.OpenUserToken(text+"A", github, &opened),
		"nothing":                                 v.OpenUserToken("", github, &opened),
	} {
		wantErr(t, name, err, sessions.ErrInvalid)
	}
}

func TestMintUserTokenRefuses(t *testing.T) {
	v, c := memVault(t)
	for name, change := range map[string]func(*sessions.PersonalToken){
		"no end":                    func(p *sessions.PersonalToken) { p.ExpiresAt = time.Time{} },
		"an end that has passed":    func(p *sessions.PersonalToken) { p.ExpiresAt = c.Now() },
		"more than a year":          func(p *sessions.PersonalToken) { p.ExpiresAt = c.Now().Add(sessions.MaxUserTokenLife + time.Second) },
		"nobody":                    func(p *sessions.PersonalToken) { p.User = sessions.User{} },
		"no resource":               func(p *sessions.PersonalToken) { p.Resources = nil },
		"two resources in one text": func(p *sessions.PersonalToken) { p.Resources = []string{github + " " + linear} },
		"an empty resource":         func(p *sessions.PersonalToken) { p.Resources = []string{github, ""} },
		"two scopes in one text":    func(p *sessions.PersonalToken) { p.Scopes = []string{"read write"} },
		"no name":                   func(p *sessions.PersonalToken) { p.Name = "" },
		"a name of spaces":          func(p *sessions.PersonalToken) { p.Name = "  " },
		"a name with a line end":    func(p *sessions.PersonalToken) { p.Name = "a\nb" },
		"a name that runs backward": func(p *sessions.PersonalToken) { p.Name = "a\u202eb" },
		"a name without an end":     func(p *sessions.PersonalToken) { p.Name = strings.Repeat("n", 65) },
		"groups without an end":     func(p *sessions.PersonalToken) { p.User.Groups = []string{strings.Repeat("g", 4000)} },
	} {
		token := exampleUserToken(c.Now())
		change(&token)
		if text, _, err := v.MintUserToken(t.Context(), token); err == nil || text != "" {
			t.Errorf("%s: got a token, %v", name, err)
		}
	}
	if tokens, err := v.ListUserTokens(t.Context(), ada.Key()); err != nil || len(tokens) != 0 {
		t.Errorf("something was stored: %+v, %v", tokens, err)
	}
}

func TestUserTokensAreBounded(t *testing.T) {
	v, c := memVault(t)
	var last sessions.PersonalToken
	for range sessions.MaxUserTokens {
		_, last = mint(t, v, exampleUserToken(c.Now()))
	}
	_, _, err := v.MintUserToken(t.Context(), exampleUserToken(c.Now()))
	wantErr(t, "minting one more", err, sessions.ErrTooMany)
	if err := v.RevokeUserToken(t.Context(), ada.Key(), last.ID); err != nil {
		t.Fatal(err)
	}
	mint(t, v, exampleUserToken(c.Now()))
}

func TestUserTokenWhileTheStoreIsDown(t *testing.T) {
	c := newClock()
	store := &flaky{Store: memstore.New(c.Now)}
	v := newVault(t, store, c)
	text, minted := mint(t, v, exampleUserToken(c.Now()))

	var opened sessions.Access
	for _, operation := range []string{"Put", "List"} {
		store.set(operation)
		unlisted, _, err := v.MintUserToken(t.Context(), exampleUserToken(c.Now()))
		wantErr(t, "minting without "+operation, err, sessions.ErrUnavailable)
		if unlisted != "" {
			t.Error("there is a token that nobody can list")
		}
	}
	store.set("Get", "Put", "List", "Update", "Delete")
	if err := v.OpenUserToken(text, github, &opened); err != nil {
		t.Errorf("OpenUserToken: %v, want it to need no store", err)
	}
	wantErr(t, "RevokeUserToken", v.RevokeUserToken(t.Context(), ada.Key(), minted.ID), sessions.ErrUnavailable)
	store.set("Put")
	wantErr(t, "RevokeUserToken that is not recorded", v.RevokeUserToken(t.Context(), ada.Key(), minted.ID), sessions.ErrUnavailable)
	store.set()
	if tokens, err := newVault(t, store.Store, c).ListUserTokens(t.Context(), ada.Key()); err != nil || len(tokens) != 1 {
		t.Errorf("after a revocation that failed there are %+v, %v; want the token, to try again", tokens, err)
	}
	if err := v.RevokeUserToken(t.Context(), ada.Key(), minted.ID); err != nil {
		t.Fatal(err)
	}
	if err := newVault(t, store.Store, c).OpenUserToken(text, github, &opened); !errors.Is(err, sessions.ErrRevoked) {
		t.Errorf("after trying again: %v", err)
	}
}
