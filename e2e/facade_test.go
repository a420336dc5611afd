package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// The official SDK's client registers, or names its document, at the edge; its person is asked there, signs in
// at the provider, and the client works with a token of the provider's, which knows one client only.
func TestAClientThatIsUnknownToTheProviderConnectsThroughAFacade(t *testing.T) {
	t.Parallel()
	const document = "https://client.example/oauth/client.json"
	file := filepath.Join(t.TempDir(), "client.json")
	metadata := fmt.Sprintf(`{"client_id":%q,"client_name":"Documented client","redirect_uris":[%q],"grant_types":["authorization_code","refresh_token"],"token_endpoint_auth_method":"none"}`,
		document, mcpclient.RedirectURI)
	if err := os.WriteFile(file, []byte(metadata), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newFacadeWorld(t, upstream.StreamablePath, "clients {\ncimd pin "+document+" `"+file+"`\n}")
	for name, o := range map[string]mcpclient.Options{"by registering": {}, "by a metadata document": {Document: document}} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			alice := newPerson(idp.Alice)
			client := w.mustConnect(upstream.StreamablePath, alice, o)
			var who upstream.Identity
			if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
				t.Fatal(err)
			}
			if want := (upstream.Identity{User: idp.Alice.Subject, Email: idp.Alice.Email, Groups: "engineering"}); who != want {
				t.Errorf("the server saw %+v, want %+v", who, want)
			}
			token := client.Token()
			if claims := claimsOf(t, token.AccessToken); claims.Issuer != w.idp.Issuer() {
				t.Errorf("the access token is of %q, want the provider %q", claims.Issuer, w.idp.Issuer())
			}
			if !strings.HasPrefix(token.RefreshToken, "mcprt_") || slices.Contains(w.idp.Issued(), token.RefreshToken) {
				t.Error("the client has a refresh token that is not ours")
			}
			if len(alice.seen) < 2 || !atConsent(alice.seen[0]) || !atProviderLogin(alice.seen[1]) {
				t.Errorf("the person was led over %d pages, the first with %q", len(alice.seen), alice.seen[0].Text)
			}
		})
	}
}

func TestAFacadeAdvertisesItselfAndWhatItDoes(t *testing.T) {
	t.Parallel()
	w := newFacadeWorld(t, upstream.StreamablePath)
	by := &oauthClient{t: t, ctx: w.ctx, base: w.edge.URL()}
	var resource struct {
		Servers []string `json:"authorization_servers"`
	}
	a := by.do(http.MethodGet, "/.well-known/oauth-protected-resource"+upstream.StreamablePath, nil, nil)
	if err := json.Unmarshal(a.Body, &resource); err != nil || !slices.Equal(resource.Servers, []string{w.edge.URL()}) {
		t.Errorf("the resource names %s, %v", a.Body, err)
	}
	var server map[string]any
	a = by.do(http.MethodGet, "/.well-known/oauth-authorization-server", nil, nil)
	if err := json.Unmarshal(a.Body, &server); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"issuer": w.edge.URL(), "authorization_endpoint": w.url("/oauth2/auth"), "token_endpoint": w.url("/oauth2/token"),
		"registration_endpoint": w.url("/oauth2/register"), "revocation_endpoint": w.url("/oauth2/revoke"),
		"introspection_endpoint": nil, "device_authorization_endpoint": nil, "client_id_metadata_document_supported": true,
	} {
		if server[name] != want {
			t.Errorf("%s is %v, want %v", name, server[name], want)
		}
	}
	if grants := fmt.Sprint(server["grant_types_supported"]); grants != "[authorization_code refresh_token]" {
		t.Errorf("grant types %s", grants)
	}
	// What is not advertised is not there.
	for _, path := range []string{"/oauth2/introspect", "/oauth2/device_authorization", "/oauth2/login", "/my"} {
		if a := by.form(path, url.Values{"token": {"x"}}); a.Status != http.StatusNotFound {
			t.Errorf("%s answers %d", path, a.Status)
		}
	}
}

// The provider's session is live and it has seen its one client before, so it answers without a page. Each MCP
// client needs the person's word here all the same, every time (MCP security best practices, "Confused Deputy
// Problem").
func TestASilentProviderGivesNoClientACodeThatNobodyAgreedTo(t *testing.T) {
	t.Parallel()
	w := newFacadeWorld(t, upstream.StreamablePath)
	w.idp.SignedIn(idp.Alice)
	alice := newPerson(idp.Alice)
	first, second := w.newOAuthClient(upstream.StreamablePath), w.newOAuthClient(upstream.StreamablePath)
	first.signIn(alice)
	for name, c := range map[string]*oauthClient{"another client": second, "the same client again": first} {
		page := c.open(alice)
		if !atConsent(page) || page.Landed {
			t.Errorf("%s: no consent page but %d at %s", name, page.Status, page.URL)
		}
		q := c.authorizeParams()
		q.Set("prompt", "none")
		page, err := alice.Open(w.ctx, c.authorizeURL(q))
		if err != nil || !page.Landed || page.URL.Query().Get("code") != "" || page.URL.Query().Get("error") != "login_required" {
			t.Errorf("%s, unseen: %v, %v", name, page.URL, err)
		}
	}
	alice.decision = "deny"
	page, err := alice.walk(w.ctx, second.open(alice), nil)
	if err != nil || page.URL.Query().Get("error") != "access_denied" || page.URL.Query().Get("iss") != w.edge.URL() {
		t.Errorf("after declining: %v, %v", page.URL, err)
	}
	alice.decision, alice.seen = "allow", nil
	tokens := second.signIn(alice)
	if n := consents(alice.seen); n != 1 {
		t.Errorf("the second client's consent was asked for %d times", n)
	}
	if a := second.mcp(upstream.StreamablePath, tokens.AccessToken); a.Status != http.StatusOK {
		t.Errorf("the server answered %d", a.Status)
	}
	if w.idp.Logins() != 0 {
		t.Errorf("%d passwords were asked for", w.idp.Logins())
	}
}

// An attacker agrees to a client of theirs, stops before the provider and lures somebody else there, or back from
// there.
func TestAFacadesSignInBelongsToOneBrowser(t *testing.T) {
	t.Parallel()
	w := newFacadeWorld(t, upstream.StreamablePath)
	c := w.newOAuthClient(upstream.StreamablePath)
	mallory, alice := newPerson(idp.Mallory), newPerson(idp.Alice)

	captured := c.toProvider(w, mallory)
	w.idp.SignedIn(idp.Alice)
	page, err := alice.Open(w.ctx, captured.String())
	if err != nil || page.Landed || page.Status != http.StatusBadRequest || page.URL.Path != "/oauth2/callback" {
		t.Fatalf("the victim ended at %v, %v", page.URL, err)
	}
	if issued := w.idp.Issued(); len(issued) != 1 {
		t.Errorf("the provider's code was redeemed: it issued %d things", len(issued))
	}

	// The callback of a sign-in that succeeded is worth nothing the second time, in the same browser too.
	captured = c.toProvider(w, alice)
	alice.StopAt(w.url("/oauth2/callback"))
	back, err := alice.Open(w.ctx, captured.String())
	if err != nil {
		t.Fatal(err)
	}
	alice.StopAt(mcpclient.RedirectURI)
	page, err = alice.Open(w.ctx, back.URL.String())
	if err != nil || !page.Landed {
		t.Fatalf("the sign-in ended at %v, %v", page.URL, err)
	}
	c.tokens(page.URL.Query().Get("code"))
	before := len(w.idp.Issued())
	if page, err = alice.Open(w.ctx, back.URL.String()); err != nil || page.Landed || page.Status != http.StatusBadRequest {
		t.Errorf("the replayed callback ended at %v, %v", page.URL, err)
	}
	if n := len(w.idp.Issued()); n != before {
		t.Error("the provider was asked again")
	}

	// An answer that somebody else has worded is neither believed nor shown.
	q := c.toProvider(w, alice).Query()
	page, err = alice.Open(w.ctx, w.url("/oauth2/callback?error=server_error&error_description=Call+0800+SCAM&state="+url.QueryEscape(q.Get("state"))))
	if err != nil || page.Landed || strings.Contains(page.Text, "SCAM") {
		t.Errorf("the provider's words ended at %v: %s", page.URL, page.Text)
	}
}

// The provider rotates its refresh tokens and ends the family of one that is used twice; the facade's clients
// refresh in parallel.
func TestParallelRefreshesThroughAFacadeLogNobodyOut(t *testing.T) {
	t.Parallel()
	w := newFacadeWorld(t, upstream.StreamablePath)
	c := w.newOAuthClient(upstream.StreamablePath)
	tokens := c.signIn(newPerson(idp.Alice))
	seen := map[string]bool{tokens.AccessToken: true}
	for round := range 3 {
		answers := make([]answer, 8)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = c.refresh(tokens.RefreshToken) })
		}
		all.Wait()
		for _, a := range answers {
			if a.Status != http.StatusOK || a.RefreshToken == "" || a.AccessToken != answers[0].AccessToken {
				t.Fatalf("round %d: status %d %s", round, a.Status, a.Error)
			}
		}
		tokens = answers[len(answers)-1]
		if seen[tokens.AccessToken] {
			t.Errorf("round %d brought no other access token", round)
		}
		seen[tokens.AccessToken] = true
		if a := c.mcp(upstream.StreamablePath, tokens.AccessToken); a.Status != http.StatusOK {
			t.Errorf("round %d: the server answered %d", round, a.Status)
		}
	}
	if n := w.idp.Renewals(); n != 3 {
		t.Errorf("the provider's refresh tokens were used %d times", n)
	}
	other := w.newOAuthClient(upstream.StreamablePath)
	other.refresh(tokens.RefreshToken).wantOAuthError(t, "another client's refresh", http.StatusBadRequest, "invalid_grant")
	if a := c.refresh(tokens.RefreshToken); a.Status != http.StatusOK {
		t.Errorf("after another client has tried: status %d %s", a.Status, a.Error)
	}
}

func TestAFacadeWhileItsProviderIsDownOrThePersonHasLeft(t *testing.T) {
	t.Parallel()
	w := newFacadeWorld(t, upstream.StreamablePath)
	c := w.newOAuthClient(upstream.StreamablePath)
	tokens := c.signIn(newPerson(idp.Alice))
	if err := w.idp.Stop(); err != nil {
		t.Fatal(err)
	}
	a := c.refresh(tokens.RefreshToken)
	a.wantOAuthError(t, "while the provider is down", http.StatusServiceUnavailable, "temporarily_unavailable")
	if a.Header.Get("Retry-After") == "" || strings.Contains(string(a.Body), "refused") {
		t.Errorf("it says %s", a.Body)
	}
	if a := c.mcp(upstream.StreamablePath, tokens.AccessToken); a.Status != http.StatusOK {
		t.Errorf("the access token answers %d", a.Status)
	}
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	edge.Eventually(t, "the provider is asked again", 20*time.Second, func() bool {
		a = c.refresh(tokens.RefreshToken)
		return a.Status == http.StatusOK
	})
	w.idp.RemoveUser(idp.Alice)
	c.refresh(a.RefreshToken).wantOAuthError(t, "somebody who has left", http.StatusBadRequest, "invalid_grant")
	c.mcp(upstream.StreamablePath, a.AccessToken).wantRefused(t, "their access token")
}

func TestRevokingThroughAFacade(t *testing.T) {
	t.Parallel()
	w := newFacadeWorld(t, upstream.StreamablePath)
	alice := newPerson(idp.Alice)
	c, other := w.newOAuthClient(upstream.StreamablePath), w.newOAuthClient(upstream.StreamablePath)
	first, others := c.signIn(alice), other.signIn(alice)
	second := c.refresh(first.RefreshToken)

	other.revoke(second.AccessToken).wantOAuthError(t, "another client's access token", http.StatusBadRequest, "invalid_grant")
	other.revoke(second.RefreshToken).wantOAuthError(t, "another client's refresh token", http.StatusBadRequest, "invalid_grant")
	if a := c.mcp(upstream.StreamablePath, second.AccessToken); a.Status != http.StatusOK {
		t.Fatalf("after another client has tried: status %d", a.Status)
	}
	if n, families := w.idp.Revoked(); n+families != 0 {
		t.Errorf("the provider was told of %d tokens and %d families", n, families)
	}

	if a := c.revoke(second.AccessToken); a.Status != http.StatusOK {
		t.Errorf("revoking an access token: status %d %s", a.Status, a.Error)
	}
	c.mcp(upstream.StreamablePath, second.AccessToken).wantRefused(t, "a revoked access token")
	if a := c.mcp(upstream.StreamablePath, first.AccessToken); a.Status != http.StatusOK {
		t.Errorf("the access token before: status %d", a.Status)
	}
	if n, families := w.idp.Revoked(); n != 1 || families != 0 {
		t.Errorf("the provider was told of %d tokens and %d families", n, families)
	}

	// The provider is down, so it hears later; here all is over at once.
	if err := w.idp.Stop(); err != nil {
		t.Fatal(err)
	}
	c.revoke(second.RefreshToken).wantOAuthError(t, "while the provider is down", http.StatusServiceUnavailable, "temporarily_unavailable")
	c.mcp(upstream.StreamablePath, first.AccessToken).wantRefused(t, "an access token of the grant")
	c.refresh(second.RefreshToken).wantOAuthError(t, "a refresh", http.StatusBadRequest, "invalid_grant")
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	other.revoke(second.RefreshToken).wantOAuthError(t, "another client's dead refresh token", http.StatusBadRequest, "invalid_grant")
	edge.Eventually(t, "the provider hears of it", 20*time.Second, func() bool { return c.revoke(second.RefreshToken).Status == http.StatusOK })
	if _, families := w.idp.Revoked(); families != 1 {
		t.Errorf("the provider was told of %d families", families)
	}
	if a := other.mcp(upstream.StreamablePath, others.AccessToken); a.Status != http.StatusOK {
		t.Errorf("the other client: status %d", a.Status)
	}
	if a := c.revoke("a-token-of-nobody"); a.Status != http.StatusOK {
		t.Errorf("a token of nobody: status %d", a.Status)
	}
}

// The provider writes another audience into its tokens than the resource. A client would come back for another
// token for ever; the person is told instead.
func TestAPersonIsToldThatTheProvidersTokenIsForSomethingElse(t *testing.T) {
	t.Parallel()
	w := newFacadeWorld(t, "/elsewhere")
	c := w.newOAuthClient(upstream.StreamablePath)
	alice := newPerson(idp.Alice)
	page, err := alice.walk(w.ctx, c.open(alice), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantReadablePage(t, page, http.StatusBadGateway)
	if page.Landed || !strings.Contains(page.Text, "for something else than "+w.url(upstream.StreamablePath)) {
		t.Errorf("at %s: %s", page.URL, page.Text)
	}
	if _, families := w.idp.Revoked(); families != 1 {
		t.Errorf("what nobody gets was not given back: %d families", families)
	}
	// The allow rules hold as they do for the guard.
	w = newFacadeWorld(t, upstream.StreamablePath)
	c = w.newOAuthClient(upstream.StreamablePath)
	bob := newPerson(idp.Bob)
	if page, err = bob.walk(w.ctx, c.open(bob), nil); err != nil || page.Landed || page.Status != http.StatusForbidden {
		t.Errorf("somebody who is not let in: at %v with status %d, %v", page.URL, page.Status, err)
	}
	if _, families := w.idp.Revoked(); families != 1 {
		t.Errorf("what somebody else was issued was not given back: %d families", families)
	}
}

func TestAFacadesLogAndStoreHoldNoSecret(t *testing.T) {
	t.Parallel()
	w := newFacadeWorld(t, upstream.StreamablePath)
	c := w.newOAuthClient(upstream.StreamablePath)
	alice := newPerson(idp.Alice)
	code := c.code(alice, c.open(alice))
	tokens := c.tokens(code)
	renewed := c.refresh(tokens.RefreshToken)
	c.form("/oauth2/token", c.tokenParams(code)) // a replay, which ends it
	secrets := map[string]string{
		"the client secret": facadeSecret, "a code": code, "a verifier": c.verifier, "the client's state": c.state,
		"a refresh token": tokens.RefreshToken, "another": renewed.RefreshToken,
	}
	for i, s := range w.idp.Issued() {
		secrets[fmt.Sprintf("what the provider issued, number %d", i)] = s
	}
	collectPageSecrets(secrets, alice.seen)
	for _, cookie := range alice.Cookies(w.edge.URL()) {
		secrets["the cookie "+cookie.Name] = cookie.Value
	}
	c.mcp(upstream.StreamablePath, tokens.AccessToken).wantRefused(t, "a token of the replayed code")
	w.edge.Stop()
	log := w.edge.Logs().String()
	for what, secret := range secrets {
		if len(secret) < 8 || strings.Contains(log, secret) || strings.Contains(log, url.QueryEscape(secret)) {
			t.Errorf("%s is in the log, or too short to look for", what)
		}
	}
	for _, seen := range w.up.Seen() {
		if seen.Header.Get("Authorization") != "" {
			t.Error("the token went on to the server")
		}
	}
	wantStoreSealed(t, filepath.Join(w.edge.Dir(), "storage"), secrets)
}
