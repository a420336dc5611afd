package mcpauth

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// What serves the other paths of a site gets no token that opens one of the resources; its own credentials
// it gets.
func TestOurTokensAreNotHandedToWhatServesOtherPaths(t *testing.T) {
	t.Setenv("CI_TOKEN", ciToken)
	h := newTestHandler(t, &Resource{Paths: []string{"/github"}})
	token, err := (&Token{Name: "ci", Value: "{env.CI_TOKEN}"}).resolve()
	if err != nil {
		t.Fatal(err)
	}
	h.Options.tokens = []*serviceToken{token}
	if h.fixed, err = h.newSite(testIssuer); err != nil {
		t.Fatal(err)
	}
	made, _, err := h.fixed.vault.MintUserToken(t.Context(), sessions.PersonalToken{
		User: person, Name: "nightly", Resources: []string{testIssuer + "/github"}, ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	ours := h.token(t, testIssuer+"/github", nil)
	for _, tc := range []struct {
		name    string
		sent    []string
		arrives bool
	}{
		{"an access token", []string{"Bearer " + ours}, false},
		{"a refresh token", []string{"bearer mcprt_0123456789"}, false},
		{"a token that a person made", []string{"Bearer " + made}, false},
		{"a service token", []string{"Bearer " + ciToken}, false},
		{"one of ours behind another", []string{"Basic YTpi", "Bearer " + made}, false},
		{"somebody else's token", []string{"Bearer ghp_0123456789"}, true},
		{"a password", []string{"Basic YTpi"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, _ := request("GET", testIssuer+"/blog", http.Header{"Authorization": tc.sent})
			status, _, got := serve(t, h, r)
			if status != 204 || got == nil || (len(got.Header["Authorization"]) > 0) != tc.arrives {
				t.Errorf("status %d, passed on with %v", status, got.Header)
			}
		})
	}
}

// A stream on a service token ends with the token, and after a day at the latest.
func TestAServiceTokensStreamEndsWithIt(t *testing.T) {
	t.Setenv("CI_TOKEN", ciToken)
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		expires string
		want    time.Time
	}{
		"one that ends today":   {"2027-01-15T09:00:00Z", now.Add(time.Hour)},
		"one that ends later":   {"2028-01-15", now.Add(maxTrust)},
		"one that does not end": {"", now.Add(maxTrust)},
	} {
		t.Run(name, func(t *testing.T) {
			option := "token ci {\nvalue {env.CI_TOKEN}\n}"
			if tc.expires != "" {
				option = "token ci {\nvalue {env.CI_TOKEN}\nexpires " + tc.expires + "\n}"
			}
			h := newModeHandler(t, option)
			var c caller
			if err := h.fixed.serviceToken(ciToken, h.fixed.resources.all[0], "192.0.2.1", now, &c); err != nil {
				t.Fatal(err)
			}
			if got := time.Unix(c.Access.ExpiresAt, 0); !got.Equal(tc.want) {
				t.Errorf("until %s, want %s", got.UTC(), tc.want)
			}
		})
	}
}
