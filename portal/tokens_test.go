package portal

import (
	"html"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

var tokenOnPage = regexp.MustCompile(`<code id="token"[^>]*>([^<]+)</code>`)

func wish(change ...string) url.Values {
	form := url.Values{"do": {"make_token"}, "name": {"nightly report"}, "resource": {github}, "scope": {"repo:read"}, "days": {"30"}}
	for i := 0; i < len(change); i += 2 {
		if form.Del(change[i]); change[i+1] != "" {
			form[change[i]] = strings.Split(change[i+1], "|")
		}
	}
	return form
}

func (b *browser) minted(form url.Values) string {
	b.w.t.Helper()
	a := b.post(tokens, form)
	match := tokenOnPage.FindStringSubmatch(a.body)
	if a.status != http.StatusOK || match == nil || a.header.Get("Cache-Control") != "no-store" {
		b.w.t.Fatalf("status %d without a token\n%s", a.status, a.body)
	}
	return html.UnescapeString(match[1])
}

func TestMakingAToken(t *testing.T) {
	w := newWorld(t)
	b := w.signIn(alice)
	token := b.minted(wish())
	var opened sessions.Access
	if err := w.Vault.OpenUserToken(token, github, &opened); err != nil {
		t.Fatal(err)
	}
	if opened.Subject != alice.Subject || opened.Scope != "repo:read" || opened.ClientName != "nightly report" ||
		opened.ExpiresAt != w.now.Add(30*24*time.Hour).Unix() {
		t.Errorf("the token says %+v", opened)
	}
	if err := w.Vault.OpenUserToken(token, linear, &opened); err == nil {
		t.Error("it opens another resource")
	}
	listed := b.get(tokens).body
	if strings.Contains(listed, token) || strings.Contains(listed, token[len(token)-12:]) {
		t.Error("it is shown again")
	}
	for _, text := range []string{"nightly report", github, "put-", "1 Dec 2026"} {
		if !strings.Contains(listed, text) {
			t.Errorf("the list lacks %q", text)
		}
	}
	all, err := w.Vault.ListUserTokens(t.Context(), alice.Key())
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	wantEvent(t, w.of(audit.CredentialChanged), audit.Event{
		Type: audit.CredentialChanged, Reason: "token made", Credential: all[0].Label(), ClientName: "nightly report", Resource: github,
	})

	b.post(tokens, url.Values{"do": {"revoke_token"}, "id": {all[0].ID.String()}}).wantBack(t, "/my/tokens?done=token_revoked")
	if err := w.Vault.OpenUserToken(token, github, &opened); err == nil {
		t.Error("it opens after it was revoked")
	}
	if a := b.get("/my/tokens?done=token_revoked"); !strings.Contains(a.body, "The token is revoked") || !strings.Contains(a.body, "You have made none") {
		t.Errorf("status %d\n%s", a.status, a.body)
	}
	if n := len(w.of(audit.CredentialChanged)); n != 2 {
		t.Errorf("%d changes were recorded", n)
	}
}

func TestAReloadMakesNoSecondToken(t *testing.T) {
	w := newWorld(t)
	b := w.signIn(alice)
	form := wish("ticket", b.ticket(tokens))
	b.minted(form)
	if a := b.post(tokens, form); a.status != http.StatusBadRequest || tokenOnPage.MatchString(a.body) {
		t.Errorf("status %d\n%s", a.status, a.body)
	}
	if all, err := w.Vault.ListUserTokens(t.Context(), alice.Key()); err != nil || len(all) != 1 {
		t.Errorf("%d tokens, %v", len(all), err)
	}
}

func TestATokenIsWhatThePersonMayHave(t *testing.T) {
	for _, tc := range []struct {
		name              string
		user              sessions.User
		form              url.Values
		resources, scopes []string
		wrong             string
	}{
		{"for several resources", alice, wish("resource", github+"|"+linear), []string{github, linear}, []string{"repo:read"}, ""},
		{"with scopes of each", alice, wish("resource", github+"|"+linear, "scope", "issues|repo:write"), []string{github, linear}, []string{"repo:write", "issues"}, ""},
		{"without scopes of resources that are not chosen", alice, wish("scope", "issues|repo:read"), []string{github}, []string{"repo:read"}, ""},
		{"without scopes that do not exist", alice, wish("scope", "admin|repo:read"), []string{github}, []string{"repo:read"}, ""},
		{"with a trimmed name", alice, wish("name", "  ci  "), []string{github}, []string{"repo:read"}, ""},
		{"not for a resource that others may use", bob, wish(), nil, nil, "Choose what the token is good at"},
		{"not for a resource elsewhere", alice, wish("resource", "https://other.example"), nil, nil, "Choose what the token is good at"},
		{"not for nothing", alice, wish("resource", ""), nil, nil, "Choose what the token is good at"},
		{"not without a scope", alice, wish("scope", ""), nil, nil, "Choose what the token may do"},
		{"not without a scope for one of them", alice, wish("resource", github+"|"+linear, "scope", "issues"), nil, nil, "Choose what the token may do"},
		{"not without a name", alice, wish("name", ""), nil, nil, "needs a name"},
		{"not with a name of spaces", alice, wish("name", "   "), nil, nil, "needs a name"},
		{"not with a name that runs backward", alice, wish("name", "a\u202eb"), nil, nil, "needs a name"},
		{"not with a name without an end", alice, wish("name", strings.Repeat("n", 65)), nil, nil, "needs a name"},
		{"not for ever", alice, wish("days", "36500"), nil, nil, "Choose when the token expires"},
		{"not for no time", alice, wish("days", "0"), nil, nil, "Choose when the token expires"},
		{"not for a time that is no number", alice, wish("days", "1e3"), nil, nil, "Choose when the token expires"},
		{"not without a time", alice, wish("days", ""), nil, nil, "Choose when the token expires"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.signIn(tc.user)
			a := b.post(tokens, tc.form)
			all, err := w.Vault.ListUserTokens(t.Context(), tc.user.Key())
			if err != nil {
				t.Fatal(err)
			}
			if tc.wrong != "" {
				if a.status != http.StatusBadRequest || !strings.Contains(a.body, tc.wrong) || len(all) != 0 {
					t.Errorf("status %d, %d tokens\n%s", a.status, len(all), a.body)
				}
				if !strings.Contains(a.body, `role="alert"`) || !strings.Contains(a.body, "<title>Error: ") {
					t.Error("the error is not announced")
				}
				return
			}
			if len(all) != 1 || !reflect.DeepEqual(all[0].Resources, tc.resources) || !reflect.DeepEqual(all[0].Scopes, tc.scopes) {
				t.Errorf("status %d, tokens %+v", a.status, all)
			}
		})
	}
}

func TestWhatWasFilledInStays(t *testing.T) {
	b := newWorld(t).signIn(alice)
	a := b.post(tokens, wish("scope", "", "days", "365"))
	for _, pattern := range []string{
		`name="name" value="nightly report"`, `name="resource" value="` + regexp.QuoteMeta(github) + `" checked`, `<option value="365" selected`,
	} {
		if !regexp.MustCompile(pattern).MatchString(a.body) {
			t.Errorf("%s is not on the page\n%s", pattern, a.body)
		}
	}
}

func TestOneResourceIsChosenAlready(t *testing.T) {
	b := newWorld(t).signIn(bob)
	if a := b.get(tokens); strings.Count(a.body, `name="resource"`) != 1 || !strings.Contains(a.body, `value="`+linear+`" checked`) {
		t.Errorf("status %d\n%s", a.status, a.body)
	}
}

func TestScopesAreListedOnce(t *testing.T) {
	got := scopesOf([]Resource{
		{URI: "a", Name: "A", Scopes: []string{"read", "write"}}, {URI: "b", Scopes: []string{"read", "admin"}},
	})
	want := []pages.TokenScope{{Name: "read"}, {Name: "write", Resources: []string{"A"}}, {Name: "admin", Resources: []string{"b"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestThereAreNotTooManyTokens(t *testing.T) {
	w := newWorld(t)
	for range sessions.MaxUserTokens {
		if _, _, err := w.Vault.MintUserToken(t.Context(), sessions.PersonalToken{
			User: alice, Name: "one of many", Resources: []string{github}, ExpiresAt: w.now.Add(time.Hour),
		}); err != nil {
			t.Fatal(err)
		}
	}
	b := w.signIn(alice)
	if a := b.post(tokens, wish()); a.status != http.StatusConflict || !strings.Contains(a.body, "Revoke one") {
		t.Errorf("status %d\n%s", a.status, a.body)
	}
}
