package e2e

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/redisserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// redisPair is one site on two edges that share nothing but a Redis.
type redisPair struct {
	*world
	redis  *redisserver.Server
	second *edge.Edge
}

func newRedisPair(t *testing.T) *redisPair {
	t.Helper()
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	p := &redisPair{world: w, redis: redisserver.Start(t, "requirepass "+redisPassword)}
	// The whole URL is a secret here, as hosters hand it out.
	env := map[string]string{"REDIS_URL": "redis://:" + redisPassword + "@" + p.redis.Addr()}
	w.startAs(edge.Config{Site: w.oidcSite("store redis {env.REDIS_URL}"), Env: env})
	// To the world outside both are one: the first one's address is the issuer.
	site := w.oidcSite("store redis {env.REDIS_URL}", "issuer "+w.edge.URL())
	env = maps.Clone(env)
	env["OIDC_CLIENT_SECRET"] = clientSecret
	p.second = edge.Start(t, edge.Config{Site: site, Env: env})
	return p
}

// at is the client as it reaches another edge of the site.
func (c *oauthClient) at(e *edge.Edge) *oauthClient {
	other := *c
	other.base = e.URL()
	return &other
}

func (c *oauthClient) wantServed(what, token string) {
	c.t.Helper()
	if a := c.mcp(upstream.StatelessPath, token); a.Status != http.StatusOK {
		c.t.Errorf("%s: answered with %d", what, a.Status)
	}
}

func TestTwoEdgesOnOneRedis(t *testing.T) {
	t.Parallel()
	p := newRedisPair(t)
	c := p.newOAuthClient(upstream.StatelessPath)
	both := []*oauthClient{c, c.at(p.second)}
	alice := newPerson(idp.Alice)
	tokens := c.signIn(alice)
	both[1].wantServed("a token of the first edge at the second", tokens.AccessToken)

	t.Run("refreshes that race over both log nobody out", func(t *testing.T) {
		for round := range 3 {
			answers := make([]answer, 20)
			var wg sync.WaitGroup
			for i := range answers {
				wg.Go(func() { answers[i] = both[i%2].refresh(tokens.RefreshToken) })
			}
			wg.Wait()
			for i, a := range answers {
				if a.Status != http.StatusOK {
					t.Fatalf("round %d: a refresh was answered with %d %s", round, a.Status, a.Error)
				}
				both[(i+1)%2].wantServed("a token of a race at the other edge", a.AccessToken)
			}
			tokens = answers[round]
		}
	})

	t.Run("a code is redeemed once over both", func(t *testing.T) {
		code := c.code(alice, c.open(alice))
		first := both[1].form("/oauth2/token", c.tokenParams(code))
		if first.Status != http.StatusOK {
			t.Fatalf("a code of the first edge was answered with %d %s at the second", first.Status, first.Error)
		}
		c.form("/oauth2/token", c.tokenParams(code)).wantOAuthError(t, "the code again", http.StatusBadRequest, "invalid_grant")
		c.mcp(upstream.StatelessPath, first.AccessToken).wantRefused(t, "the token of a code that was replayed")

		// In a race the replay may come before the winner has its tokens; then nobody gets any.
		code = c.code(alice, c.open(alice))
		answers := make([]answer, 10)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() { answers[i] = both[i%2].form("/oauth2/token", c.tokenParams(code)) })
		}
		wg.Wait()
		redeemed := 0
		for _, a := range answers {
			if a.Status == http.StatusOK {
				redeemed++
			} else {
				a.wantOAuthError(t, "a code that another request redeemed", http.StatusBadRequest, "invalid_grant")
			}
		}
		if redeemed > 1 {
			t.Errorf("a code was redeemed %d times", redeemed)
		}
	})

	t.Run("a revocation at one ends streams at the other", func(t *testing.T) {
		c := p.newOAuthClient(upstream.SSEPath)
		tokens := c.signIn(alice)
		ended := openStreamAt(t, p.world, p.second, tokens.AccessToken)
		elsewhere := c.at(p.second)
		start := time.Now()
		if a := c.revoke(tokens.RefreshToken); a.Status != http.StatusOK {
			t.Fatalf("revoking answered %d %s", a.Status, a.Error)
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the stream did not end cleanly: %v", err)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("the stream outlived the revocation by %v", took)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the stream of a revoked grant is still open at the other edge")
		}
		elsewhere.mcp(upstream.SSEPath, tokens.AccessToken).wantRefused(t, "a revoked token at the other edge")
		elsewhere.refresh(tokens.RefreshToken).wantOAuthError(t, "a revoked refresh token at the other edge", http.StatusBadRequest, "invalid_grant")
	})
}

func TestARedisThatIsAwayOrLosesEverythingOpensNothing(t *testing.T) {
	t.Parallel()
	p := newRedisPair(t)
	c := p.newOAuthClient(upstream.StatelessPath)
	both := []*oauthClient{c, c.at(p.second)}
	alice := newPerson(idp.Alice)
	tokens, revoked := c.signIn(alice), c.signIn(alice)
	both[1].wantServed("a token of the first edge at the second", revoked.AccessToken)
	if a := c.revoke(revoked.RefreshToken); a.Status != http.StatusOK {
		t.Fatalf("revoking answered %d %s", a.Status, a.Error)
	}
	edge.Eventually(t, "the other edge learns of the revocation", 5*time.Second, func() bool {
		return both[1].mcp(upstream.StatelessPath, revoked.AccessToken).Status == http.StatusUnauthorized
	})
	code := c.code(alice, c.open(alice))

	p.redis.Kill()
	for _, c := range both {
		c.wantServed("a token while Redis is away", tokens.AccessToken)
		c.mcp(upstream.StatelessPath, revoked.AccessToken).wantRefused(t, "a revoked token while Redis is away")
		for what, a := range map[string]answer{
			"refreshing": c.refresh(tokens.RefreshToken), "redeeming": c.form("/oauth2/token", c.tokenParams(code)), "revoking": c.revoke(tokens.RefreshToken),
		} {
			if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || a.AccessToken != "" {
				t.Errorf("%s while Redis is away: %d %s, Retry-After %q; want 503", what, a.Status, a.Error, a.Header.Get("Retry-After"))
			}
		}
	}

	p.redis.Run()
	edge.Eventually(t, "the edges find Redis again", 20*time.Second, func() bool {
		return both[0].refresh(tokens.RefreshToken).Status != http.StatusServiceUnavailable &&
			both[1].refresh(tokens.RefreshToken).Status != http.StatusServiceUnavailable
	})
	for _, c := range both {
		c.refresh(tokens.RefreshToken).wantOAuthError(t, "a refresh token that Redis has lost", http.StatusBadRequest, "invalid_grant")
		c.form("/oauth2/token", c.tokenParams(code)).wantOAuthError(t, "a code that Redis has lost", http.StatusBadRequest, "invalid_grant")
		c.mcp(upstream.StatelessPath, revoked.AccessToken).wantRefused(t, "a revoked token after Redis has lost everything")
	}
	// The key ring is lost, too: once the edges have begun anew, nothing that the old one sealed opens.
	p.edge.Restart()
	p.second.Restart()
	for _, c := range both {
		for what, token := range map[string]string{"a revoked token": revoked.AccessToken, "an old token": tokens.AccessToken} {
			c.mcp(upstream.StatelessPath, token).wantRefused(t, what+" under a new key ring")
		}
	}
	again := p.newOAuthClient(upstream.StatelessPath)
	fresh := again.signIn(newPerson(idp.Alice))
	again.at(p.second).wantServed("a new token of the first edge at the second", fresh.AccessToken)
	for _, e := range []*edge.Edge{p.edge, p.second} {
		if lines := e.Logs().LinesWith(redisPassword); len(lines) > 0 {
			t.Errorf("the log holds the password: %s", lines[0])
		}
		for line := range strings.Lines(e.Logs().String()) {
			if !strings.HasPrefix(line, "{") && strings.Contains(line, "redis") {
				t.Errorf("the client library writes past the log: %s", line)
				break
			}
		}
	}
}
