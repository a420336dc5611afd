package e2e

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/browser"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// interruptions are what an operator does to a running edge.
var interruptions = []struct {
	name string
	do   func(w *world)
}{
	{"reload", func(w *world) { w.edge.Reload(w.oidcSite()) }},
	{"restart", func(w *world) { w.edge.Restart() }},
}

func TestALoginSurvivesAnInterruptionAtAnyPage(t *testing.T) {
	t.Parallel()
	for _, interruption := range interruptions {
		for _, at := range []struct {
			name string
			page func(*browser.Page) bool
		}{
			{"at the consent page", atConsent},
			{"at the provider's login page", atProviderLogin},
			{"before the code is redeemed", func(p *browser.Page) bool { return p.Landed }},
		} {
			t.Run(interruption.name+" "+at.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				c := w.newOAuthClient(upstream.StatelessPath)
				alice := newPerson(idp.Alice)
				page, err := alice.walk(w.ctx, c.open(alice), at.page)
				if err != nil {
					t.Fatal(err)
				}
				if !at.page(page) {
					t.Fatalf("the browser is at %s with status %d: %s", page.URL, page.Status, page.Text)
				}
				interruption.do(w)
				tokens := c.tokens(c.code(alice, page))
				interruption.do(w)
				renewed := c.refresh(tokens.RefreshToken)
				if renewed.Status != http.StatusOK {
					t.Fatalf("refreshing afterwards answered %d %s", renewed.Status, renewed.Error)
				}
				for _, token := range []string{tokens.AccessToken, renewed.AccessToken} {
					if a := c.mcp(upstream.StatelessPath, token); a.Status != http.StatusOK {
						t.Errorf("an access token was answered with %d afterwards", a.Status)
					}
				}
			})
		}
	}
}

// A client whose answer is lost sends the same refresh token again, as real ones do.
func TestRefreshesInTheMiddleOfAnInterruptionLogNobodyOut(t *testing.T) {
	t.Parallel()
	for _, interruption := range interruptions {
		t.Run(interruption.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.newOAuthClient(upstream.StatelessPath)
			tokens := c.signIn(newPerson(idp.Alice))
			interrupted := make(chan struct{})
			var refreshes int
			var refused answer
			var wg sync.WaitGroup
			wg.Go(func() {
				for over := false; !over && w.ctx.Err() == nil; {
					select {
					case <-interrupted:
						over = true // once more, with the edge back
					default:
					}
					a, err := c.try(http.MethodPost, "/oauth2/token", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
						strings.NewReader(c.refreshParams(tokens.RefreshToken).Encode()))
					switch {
					case err != nil || a.Status == http.StatusServiceUnavailable:
						continue
					case a.Status != http.StatusOK:
						refused = a
						return
					}
					tokens = a
					refreshes++
				}
			})
			for range 3 {
				interruption.do(w)
			}
			close(interrupted)
			wg.Wait()
			if refused.Status != 0 {
				t.Fatalf("after %d refreshes the edge answered %d %s", refreshes, refused.Status, refused.Error)
			}
			if a := c.mcp(upstream.StatelessPath, tokens.AccessToken); a.Status != http.StatusOK || refreshes < 2 {
				t.Errorf("after %d refreshes the newest token was answered with %d", refreshes, a.Status)
			}
		})
	}
}

func TestOpenStreamsSurviveAReload(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, path string
		legacy     bool
	}{
		{"Streamable HTTP", upstream.StreamablePath, false},
		{"HTTP+SSE", upstream.SSEPath, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			progress := make(chan float64, 8)
			client := w.mustConnect(tc.path, newPerson(idp.Alice), mcpclient.Options{
				LegacySSE:  tc.legacy,
				OnProgress: func(p *mcp.ProgressNotificationParams) { progress <- p.Progress },
			})
			done := make(chan error, 1)
			var text string
			go func() {
				done <- client.Call(w.ctx, "slow", map[string]any{"steps": 3, "gate": tc.name}, &text)
			}()
			for step := 1; step <= 3; step++ {
				select {
				case <-progress:
				case err := <-done:
					t.Fatalf("the call ended at step %d: %q, %v", step, text, err)
				case <-time.After(15 * time.Second):
					t.Fatalf("no report of step %d", step)
				}
				if step < 3 {
					w.edge.Reload(w.oidcSite())
				}
				w.up.Open(tc.name)
			}
			if err := <-done; err != nil || text != "3 steps done" {
				t.Errorf("the call ended with %q, %v", text, err)
			}
			if client.SignIns() != 1 {
				t.Errorf("%d sign-ins, want 1", client.SignIns())
			}
		})
	}
}

func TestARestartEndsStreamsQuicklyAndKeepsEverybodySignedIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.SSEPath)
	tokens := c.signIn(newPerson(idp.Alice))
	ended := openStream(t, w, tokens.AccessToken)
	client := w.mustConnect(upstream.StreamablePath, newPerson(idp.Alice), mcpclient.Options{})

	// At the exit the streams belong to a configuration that was replaced before.
	w.edge.Reload(w.oidcSite())
	start := time.Now()
	w.edge.Restart()
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("the restart took %v with streams open", took)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the stream did not end cleanly: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the stream outlived the process that served it")
	}
	openStream(t, w, tokens.AccessToken)
	var who upstream.Identity
	if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.User != idp.Alice.Subject {
		t.Errorf("the connected client was answered with %+v, %v", who, err)
	}
	if client.SignIns() != 1 {
		t.Errorf("%d sign-ins, want 1", client.SignIns())
	}
}

func TestAStricterAllowListActsAtTheReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StatelessPath)
	tokens := c.signIn(newPerson(idp.Alice))
	site := w.oidcSite()
	w.edge.Reload(replaceOnce(t, site, "allow domain example.com", "allow domain elsewhere.example"))
	if a := c.mcp(upstream.StatelessPath, tokens.AccessToken); a.Status != http.StatusForbidden && a.Status != http.StatusUnauthorized {
		t.Errorf("somebody who may no longer come in was answered with %d", a.Status)
	}
	if a := c.refresh(tokens.RefreshToken); a.Status == http.StatusOK {
		t.Error("somebody who may no longer come in got a new token")
	}
}

func TestAnEdgeStartsWithoutItsProviderAndRecovers(t *testing.T) {
	t.Parallel()
	w := prepareWorld(t)
	w.start(w.oidcSite())
	c := w.newOAuthClient(upstream.StatelessPath)
	alice := newPerson(idp.Alice)
	page, err := alice.walk(w.ctx, c.open(alice), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantReadablePage(t, page, http.StatusServiceUnavailable)
	if page.Header.Get("Retry-After") == "" {
		t.Error("the page has no Retry-After")
	}
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	edge.Eventually(t, "the edge finds its provider again", 30*time.Second, func() bool {
		page, err = alice.walk(w.ctx, c.open(alice), nil)
		return err == nil && page.Landed
	})
	tokens := c.tokens(page.URL.Query().Get("code"))
	if err := w.idp.Stop(); err != nil {
		t.Fatal(err)
	}
	if a := c.mcp(upstream.StatelessPath, tokens.AccessToken); a.Status != http.StatusOK {
		t.Errorf("with the provider down again a token was answered with %d", a.Status)
	}
}
