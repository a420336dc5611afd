package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/chromium"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// loopbackReceiver is where a native client waits for its code.
func loopbackReceiver(t *testing.T) (redirectURI string, landed <-chan *url.URL) {
	t.Helper()
	arrived := make(chan *url.URL, 4)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/callback" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("You may close this window."))
		arrived <- r.URL
	}))
	t.Cleanup(server.Close)
	return server.URL + "/callback", arrived
}

func TestARealBrowserSignsIn(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name              string
		world             func(*testing.T, ...string) *world
		user, pass        string
		email, secret     string
		wantEmail, submit string
	}{
		{"with the provider", newWorld, `input[name="username"]`, `input[name="password"]`,
			idp.Alice.Email, idp.Alice.Password, idp.Alice.Email, `button[name="signin"]`},
		{"as a local user", newLocalWorld, `input[name="email"]`, `input[name="password"]`,
			idp.Alice.Email, localPassword, idp.Alice.Email, `main form button`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tab := chromium.Start(t)
			w := tc.world(t)
			redirectURI, landed := loopbackReceiver(t)
			client, err := mcpclient.Connect(w.ctx, w.url(upstream.StreamablePath), mcpclient.Options{
				RedirectURI: redirectURI,
				SignIn: func(ctx context.Context, address string) (*url.URL, error) {
					consent, err := allowInChromium(tab, address)
					if err != nil {
						return nil, err
					}
					for _, want := range []string{"End-to-end client", strings.TrimPrefix(strings.TrimSuffix(redirectURI, "/callback"), "http://")} {
						if !strings.Contains(consent, want) {
							t.Errorf("the consent page does not name %q: %s", want, consent)
						}
					}
					err = chromedp.Do(tab,
						chromedp.WaitVisible(chromedp.CSS(tc.user)),
						chromedp.SendKeys(chromedp.CSS(tc.user), tc.email),
						chromedp.SendKeys(chromedp.CSS(tc.pass), tc.secret),
						chromedp.Click(chromedp.CSS(tc.submit)),
					)
					if err != nil {
						return nil, err
					}
					return arrival(ctx, t, tab, landed)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			var who upstream.Identity
			if err := client.Call(w.ctx, "whoami", nil, &who); err != nil || who.Email != tc.wantEmail {
				t.Fatalf("whoami answered %+v, %v", who, err)
			}
			wantCookiesHidden(t, tab)
		})
	}
}

func TestARealBrowserDenies(t *testing.T) {
	t.Parallel()
	tab := chromium.Start(t)
	w := newWorld(t)
	redirectURI, landed := loopbackReceiver(t)
	_, err := mcpclient.Connect(w.ctx, w.url(upstream.StreamablePath), mcpclient.Options{
		RedirectURI: redirectURI,
		SignIn: func(ctx context.Context, address string) (*url.URL, error) {
			err := chromedp.Do(tab, chromedp.Navigate(address), chromedp.Click(chromedp.CSS(`button[value="deny"]`)))
			if err != nil {
				return nil, err
			}
			return arrival(ctx, t, tab, landed)
		},
	})
	if err == nil || !strings.Contains(err.Error(), "access_denied") {
		t.Errorf("the client was told %v", err)
	}
}

// allowInChromium opens the authorization request, reads the consent page and allows.
func allowInChromium(tab context.Context, address string) (consent string, err error) {
	if err := chromedp.Do(tab, chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS(`button[value="allow"]`))); err != nil {
		return "", err
	}
	if consent, err = chromedp.Run(tab, chromedp.Text(chromedp.CSS("body"))); err != nil {
		return "", err
	}
	return consent, chromedp.Do(tab, chromedp.Click(chromedp.CSS(`button[value="allow"]`)))
}

func arrival(ctx context.Context, t *testing.T, tab context.Context, landed <-chan *url.URL) (*url.URL, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	select {
	case u := <-landed:
		return u, nil
	case <-ctx.Done():
		at, _ := chromedp.Run(tab, chromedp.Location())
		text, _ := chromedp.Run(tab, chromedp.Text(chromedp.CSS("body")))
		t.Errorf("the browser stayed at %s: %s", at, text)
		return nil, ctx.Err()
	}
}

// wantCookiesHidden asserts that no script of the site could read a cookie of ours.
func wantCookiesHidden(t *testing.T, tab context.Context) {
	t.Helper()
	visible, err := chromedp.Run(tab, chromedp.Evaluate[string]("document.cookie"))
	if err != nil || visible != "" {
		t.Errorf("scripts see the cookies %q, %v", visible, err)
	}
}
