package mcpauth

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// A token that is good elsewhere is no guess: it must not use up what its address may guess, and the log
// must name it, or a stolen one could not be told.
func TestATokenAtTheWrongPlaceIsNoGuess(t *testing.T) {
	t.Setenv("CI_TOKEN", ciToken)
	t.Setenv("BACKUP_TOKEN", backupToken)
	log := new(trail)
	h := newTestHandler(t, &Resource{Paths: []string{"/github"}}, &Resource{Paths: []string{"/linear"}})
	h.audit = log
	settings, err := (&GuardOptions{MaxBadTokens: given(2)}).settings()
	if err != nil {
		t.Fatal(err)
	}
	h.guarding = settings
	for _, token := range []*Token{
		{Name: "ci", Value: "{env.CI_TOKEN}", Resources: []string{"/github"}, Expires: "2020-01-01"},
		{Name: "backup", Value: "{env.BACKUP_TOKEN}", Resources: []string{"/github"}},
	} {
		resolved, err := token.resolve()
		if err != nil {
			t.Fatal(err)
		}
		h.Options.tokens = append(h.Options.tokens, resolved)
	}
	if h.fixed, err = h.newSite(testIssuer); err != nil {
		t.Fatal(err)
	}
	made, minted, err := h.fixed.vault.MintUserToken(t.Context(), sessions.PersonalToken{
		User: person, Name: "nightly", Resources: []string{testIssuer + "/github"}, ExpiresAt: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path, token string) int {
		r, _ := request("POST", testIssuer+path, http.Header{"Authorization": {"Bearer " + token}})
		caddyhttp.SetVar(r.Context(), caddyhttp.ClientIPVarKey, "192.0.2.1")
		status, _, _ := serve(t, h, r)
		return status
	}
	for _, tc := range []struct {
		name, path, token, reason, credential string
	}{
		{"a person's token at another resource", "/linear", made, "other_resource", minted.Label()},
		{"a service token at another resource", "/linear", backupToken, "misplaced_token", "backup"},
		{"a service token after its end", "/github", ciToken, "misplaced_token", "ci"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log.take()
			for range 5 {
				if status := ask(tc.path, tc.token); status != http.StatusUnauthorized {
					t.Fatalf("status %d, want 401", status)
				}
			}
			events := log.take()
			if len(events) != 1 || events[0].Type != audit.AccessDenied || events[0].Reason != tc.reason || events[0].Credential != tc.credential {
				t.Errorf("the log says %+v, want one denial of %s for %s", events, tc.credential, tc.reason)
			}
		})
	}
	if status := ask("/github", "mcpat_guess"); status != http.StatusUnauthorized {
		t.Errorf("after all that the first guess was answered with %d", status)
	}
}
