package e2e

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestAClientStaysSignedInWithShortAccessTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "access_token_lifetime 5s") // the SDK renews a token ten seconds before its end: at each call
	client := w.mustConnect(upstream.StreamablePath, newPerson(idp.Alice), mcpclient.Options{})
	var who upstream.Identity
	for range 5 {
		if err := client.Call(w.ctx, "whoami", nil, &who); err != nil {
			t.Fatal(err)
		}
	}
	if who.User != idp.Alice.Subject || client.SignIns() != 1 {
		t.Errorf("the server saw %+v after %d sign-ins", who, client.SignIns())
	}
	if n := len(client.Tokens()); n < 5 {
		t.Errorf("only %d different access tokens", n)
	}
}

func TestAnExpiredAccessTokenIsRefusedAndRenewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "access_token_lifetime 2s")
	c := w.newOAuthClient(upstream.StatelessPath)
	tokens := c.signIn(newPerson(idp.Alice))
	if a := c.mcp(upstream.StatelessPath, tokens.AccessToken); a.Status != http.StatusOK {
		t.Fatalf("a fresh token was answered with %d", a.Status)
	}
	if tokens.ExpiresIn != 2 || !strings.EqualFold(tokens.TokenType, "Bearer") {
		t.Errorf("expires_in %d, token_type %q", tokens.ExpiresIn, tokens.TokenType)
	}
	var refused answer
	edge.Eventually(t, "the token expires", 10*time.Second, func() bool {
		refused = c.mcp(upstream.StatelessPath, tokens.AccessToken)
		return refused.Status != http.StatusOK
	})
	refused.wantRefused(t, "an expired token")
	renewed := c.refresh(tokens.RefreshToken)
	if renewed.Status != http.StatusOK || renewed.RefreshToken == "" || renewed.RefreshToken == tokens.RefreshToken {
		t.Fatalf("refreshing answered %d %s", renewed.Status, renewed.Error)
	}
	if a := c.mcp(upstream.StatelessPath, renewed.AccessToken); a.Status != http.StatusOK {
		t.Errorf("the renewed token was answered with %d", a.Status)
	}
}

func TestParallelRefreshesOfOneTokenAllSucceed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StatelessPath)
	tokens := c.signIn(newPerson(idp.Alice))
	answers := make([]answer, 50) // each over a connection of its own
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = c.refresh(tokens.RefreshToken) })
	}
	wg.Wait()
	if a := c.refresh(tokens.RefreshToken); a.Status != http.StatusOK {
		t.Errorf("the token that all of them used was answered with %d %s", a.Status, a.Error)
	}
	for _, a := range answers {
		if a.Status != http.StatusOK {
			t.Fatalf("one of the refreshes was answered with %d %s", a.Status, a.Error)
		}
		if got := c.mcp(upstream.StatelessPath, a.AccessToken); got.Status != http.StatusOK {
			t.Errorf("an access token of a parallel refresh was answered with %d", got.Status)
		}
		if next := c.refresh(a.RefreshToken); next.Status != http.StatusOK {
			t.Errorf("a refresh token of a parallel refresh was answered with %d %s", next.Status, next.Error)
		}
	}
	// They are one family of two generations, so the first one is a copy by now, and ends them all.
	c.refresh(tokens.RefreshToken).wantOAuthError(t, "a token two generations old", http.StatusBadRequest, "invalid_grant")
	c.refresh(answers[49].RefreshToken).wantOAuthError(t, "a token of the ended family", http.StatusBadRequest, "invalid_grant")
}

func TestAReusedRefreshTokenEndsTheGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StatelessPath)
	first := c.signIn(newPerson(idp.Alice))
	second := c.refresh(first.RefreshToken)
	third := c.refresh(second.RefreshToken)
	if a := c.mcp(upstream.StatelessPath, third.AccessToken); a.Status != http.StatusOK {
		t.Fatalf("the newest token was answered with %d", a.Status)
	}
	c.refresh(first.RefreshToken).wantOAuthError(t, "a token two generations old", http.StatusBadRequest, "invalid_grant")
	c.mcp(upstream.StatelessPath, third.AccessToken).wantRefused(t, "the newest access token after a reuse")
	c.refresh(third.RefreshToken).wantOAuthError(t, "the newest refresh token after a reuse", http.StatusBadRequest, "invalid_grant")
}

func TestACodeIsRedeemedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StatelessPath)
	alice := newPerson(idp.Alice)
	code := c.code(alice, c.open(alice))
	tokens := c.tokens(code)
	c.form("/oauth2/token", c.tokenParams(code)).wantOAuthError(t, "a code again", http.StatusBadRequest, "invalid_grant")
	c.mcp(upstream.StatelessPath, tokens.AccessToken).wantRefused(t, "the token of a code that was replayed")
}

func TestRevocationEndsAccessAndOpenStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.SSEPath)
	tokens := c.signIn(newPerson(idp.Alice))
	ended := openStream(t, w, tokens.AccessToken)

	stranger := w.newOAuthClient(upstream.SSEPath)
	stranger.revoke(tokens.RefreshToken)
	if a := c.refresh(tokens.RefreshToken); a.Status != http.StatusOK {
		t.Fatalf("another client revoked the grant: %d %s", a.Status, a.Error)
	}
	if a := c.revoke(tokens.RefreshToken); a.Status != http.StatusOK {
		t.Fatalf("revoking answered %d %s", a.Status, a.Error)
	}
	c.mcp(upstream.SSEPath, tokens.AccessToken).wantRefused(t, "an access token after revocation")
	c.refresh(tokens.RefreshToken).wantOAuthError(t, "a refresh token after revocation", http.StatusBadRequest, "invalid_grant")
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the stream did not end cleanly: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the stream of a revoked grant is still open")
	}
}

// openStream opens the legacy stream, waits for its first event and reports how it ends.
func openStream(t *testing.T, w *world, token string) <-chan error {
	t.Helper()
	return openStreamAt(t, w, w.edge, token)
}

func openStreamAt(t *testing.T, w *world, e *edge.Edge, token string) <-chan error {
	t.Helper()
	req, err := http.NewRequestWithContext(w.ctx, http.MethodGet, e.URL()+upstream.SSEPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	events := bufio.NewReader(resp.Body)
	if line, err := events.ReadString('\n'); err != nil || !strings.HasPrefix(line, "event: endpoint") {
		t.Fatalf("the stream begins with %q, %v (status %d)", line, err, resp.StatusCode)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, events)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		ended <- err
	}()
	return ended
}

func TestATokenIsWorthNothingWhereItDoesNotBelong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StreamablePath)
	alice := newPerson(idp.Alice)
	tokens := c.signIn(alice)
	unspent := w.newOAuthClient(upstream.StreamablePath)
	code := unspent.code(alice, unspent.open(alice))
	before := len(w.up.Seen())

	c.mcp(upstream.StatelessPath, tokens.AccessToken).wantRefused(t, "a token of another resource")
	c.mcp(upstream.SSEPath, tokens.AccessToken).wantRefused(t, "a token of another resource")
	c.mcp(upstream.StreamablePath, tokens.RefreshToken).wantRefused(t, "a refresh token as access token")
	c.mcp(upstream.StreamablePath, code).wantRefused(t, "a code as access token")
	c.mcp(upstream.StreamablePath, c.id).wantRefused(t, "a client id as access token")
	c.mcp(upstream.StreamablePath, tokens.AccessToken[:len(tokens.AccessToken)-2]+"AA").wantRefused(t, "a forged token")
	c.refresh(tokens.AccessToken).wantOAuthError(t, "an access token as refresh token", http.StatusBadRequest, "invalid_grant")
	c.refresh(code).wantOAuthError(t, "a code as refresh token", http.StatusBadRequest, "invalid_grant")
	c.form("/oauth2/token", c.tokenParams(tokens.AccessToken)).wantOAuthError(t, "an access token as code", http.StatusBadRequest, "invalid_grant")
	c.form("/oauth2/token", c.tokenParams(tokens.RefreshToken)).wantOAuthError(t, "a refresh token as code", http.StatusBadRequest, "invalid_grant")
	for _, secret := range w.idp.Issued() {
		c.mcp(upstream.StreamablePath, secret).wantRefused(t, "a code or token of the identity provider")
	}
	c.mcp(upstream.StreamablePath+"?access_token="+tokens.AccessToken, "")
	if n := len(w.up.Seen()); n != before {
		t.Errorf("%d of these requests reached the server", n-before)
	}

	stolen := w.newOAuthClient(upstream.StreamablePath)
	stolen.form("/oauth2/token", stolen.tokenParams(code)).wantOAuthError(t, "a code of another client", http.StatusBadRequest, "invalid_grant")
	stolen.refresh(tokens.RefreshToken).wantOAuthError(t, "a refresh token of another client", http.StatusBadRequest, "invalid_grant")
	if a := c.refresh(tokens.RefreshToken); a.Status != http.StatusOK {
		t.Errorf("the owner's refresh token was answered with %d %s after all that", a.Status, a.Error)
	}
}
