package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestGitHubAddresses(t *testing.T) {
	email := func(address string, primary, verified any) map[string]any {
		return map[string]any{"email": address, "primary": primary, "verified": verified}
	}
	for _, tc := range []struct {
		name     string
		emails   any
		email    string
		verified bool
		err      error
	}{
		{"the primary one, verified", []any{email("a@example.com", true, true)}, "a@example.com", true, nil},
		{"the primary one, not verified", []any{email("a@example.com", true, false)}, "a@example.com", false, nil},
		{"another one that is verified", []any{email("a@example.com", false, true)}, "", false, nil},
		{"none", []any{}, "", false, nil},
		{"two primary ones", []any{email("a@example.com", true, true), email("b@example.com", true, true)}, "", false, ErrRefused},
		{"verified, says a text", []any{email("a@example.com", true, "true")}, "", false, ErrUnavailable},
		{"two addresses in one", []any{email("a@evil.example@example.com", true, true)}, "", false, nil},
		{"beyond ASCII", []any{email("a@exam\u212Ale.com", true, true)}, "", false, nil},
		{"an object", map[string]any{"email": "a@example.com"}, "", false, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeGitHub(t)
			f.answers["/user/emails"] = tc.emails
			u, err := finishGitHub(t, newTestGitHub(t, f), callback())
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil || u.Email != tc.email || u.EmailVerified != tc.verified {
				t.Errorf("%q verified %t, %v", u.Email, u.EmailVerified, err)
			}
		})
	}
}

func TestGitHubGroups(t *testing.T) {
	for _, tc := range []struct {
		name        string
		required    []string
		orgs, teams []any
		groups      []string
		err         error
	}{
		{"of required organizations only", []string{"ACME"}, []any{organization("acme"), organization("other")},
			[]any{team("acme", "platform"), team("other", "staff")}, []string{"acme", "acme/platform"}, nil},
		{"in none of the required organizations", []string{"acme"}, []any{organization("acme2"), organization("acm")}, nil, nil, ErrDenied},
		{"in a team of an organization, but not in it", []string{"acme"}, nil, []any{team("acme", "platform")}, nil, ErrDenied},
		{"a team of an organization that is not listed", nil, []any{organization("other")}, []any{team("acme", "platform")}, []string{"other"}, nil},
		{"an organization that looks like a team", nil, []any{organization("acme/platform"), organization("other")}, nil, []string{"other"}, nil},
		{"a team that looks like two", nil, []any{organization("other")}, []any{team("other", "a/b"), team("other", "a,admin"), team("other", "")}, []string{"other"}, nil},
		{"names that are no text", nil, []any{organization("gr\u00fcn"), organization("a\nb"), organization("")}, nil, nil, nil},
		{"the same twice", nil, []any{organization("acme"), organization("ACME")}, nil, []string{"acme"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeGitHub(t)
			f.answers["/user/orgs"], f.answers["/user/teams"] = tc.orgs, tc.teams
			u, err := finishGitHub(t, newTestGitHub(t, f, func(c *GitHubConfig) { c.Organizations = tc.required }), callback())
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil || !reflect.DeepEqual(u.Groups, tc.groups) {
				t.Errorf("groups %q, %v; want %q, %v", u.Groups, err, tc.groups, tc.err)
			}
		})
	}
}

func TestGitHubListingsAreReadToTheirEndAndNoFurther(t *testing.T) {
	f := newFakeGitHub(t)
	pages := func(count int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var page int
			_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
			w.Header().Set("Link", `<https://hostile.example/user/orgs?page=2>; rel="next"`)
			entries := []any{}
			for i := range githubPage {
				if page > count || page == count && i > 0 {
					break
				}
				entries = append(entries, organization(fmt.Sprintf("org-%d-%d", page, i)))
			}
			writeJSON(w, entries)
		}
	}
	f.handle("/user/orgs", pages(2))
	u, err := finishGitHub(t, newTestGitHub(t, f), callback())
	if err != nil || len(u.Groups) != githubPage+1 || f.hits["/user/orgs"] != 2 {
		t.Errorf("%d groups after %d pages, %v", len(u.Groups), f.hits["/user/orgs"], err)
	}
	f.hits = map[string]int{}
	f.handle("/user/orgs", pages(99))
	if u, err = finishGitHub(t, newTestGitHub(t, f), callback()); err != nil || len(u.Groups) != maxGroups || f.hits["/user/orgs"] != maxGitHubPages {
		t.Errorf("%d groups after %d pages, %v", len(u.Groups), f.hits["/user/orgs"], err)
	}
	f.handle("/user/orgs", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, make([]githubOrganization, githubPage+1))
	})
	if _, err = finishGitHub(t, newTestGitHub(t, f), callback()); !errors.Is(err, ErrRefused) {
		t.Errorf("a page with more entries than asked for: %v", err)
	}
}

func TestGitHubAPIThatDoesNotAnswer(t *testing.T) {
	raw := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write([]byte(body)) }
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   error
	}{
		{"a token that is not valid", raw(401, hostile), ErrDenied},
		{"a rate limit", raw(403, hostile), ErrUnavailable},
		{"too many requests", raw(429, hostile), ErrUnavailable},
		{"not found", raw(404, hostile), ErrUnavailable},
		{"out of order", raw(500, hostile), ErrUnavailable},
		{"garbage", raw(200, hostile), ErrUnavailable},
		{"a text", raw(200, `"hostile"`), ErrUnavailable},
		{"a huge body", raw(200, `[{"x":"`+strings.Repeat("x", 2<<20)+`"}]`), ErrUnavailable},
		{"a redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://hostile.example/", http.StatusFound)
		}, ErrUnavailable},
	} {
		for _, path := range []string{"/user", "/user/emails", "/user/orgs", "/user/teams"} {
			t.Run(tc.name+" at "+path, func(t *testing.T) {
				f := newFakeGitHub(t)
				f.handle(path, tc.answer)
				if _, err := finishGitHub(t, newTestGitHub(t, f), callback()); !errors.Is(err, tc.want) {
					t.Errorf("error %v, want %v", err, tc.want)
				}
			})
		}
	}
}

func TestGitHubAccounts(t *testing.T) {
	for _, tc := range []struct {
		name, body, subject, shown string
		err                        error
	}{
		{"without a name", `{"id":7,"login":"ann","name":null}`, "7", "ann", nil},
		{"with a name that is none", `{"id":7,"login":"ann","name":"\u202e\u200b"}`, "7", "ann", nil},
		{"with a large id", `{"id":9007199254740993,"login":"ann"}`, "9007199254740993", "ann", nil},
		{"without an id", `{"login":"ann"}`, "", "", ErrRefused},
		{"with the id 0", `{"id":0}`, "", "", ErrRefused},
		{"with a negative id", `{"id":-1}`, "", "", ErrRefused},
		{"with an id that is a text", `{"id":"7"}`, "", "", ErrUnavailable},
		{"with a fraction as id", `{"id":7.5}`, "", "", ErrUnavailable},
		{"with an id beyond all numbers", `{"id":1e300}`, "", "", ErrUnavailable},
		{"that is null", `null`, "", "", ErrRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeGitHub(t)
			f.answers["/user"] = json.RawMessage(tc.body)
			u, err := finishGitHub(t, newTestGitHub(t, f), callback())
			if !errors.Is(err, tc.err) || tc.err == nil && err != nil || u.Subject != tc.subject || u.Name != tc.shown {
				t.Errorf("%+v, %v", u, err)
			}
		})
	}
}
