package e2e

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/chromium"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/edge"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// What development mode decides by is what a browser says by itself about who began a navigation, so
// a real one has to say it.
func TestInARealBrowserDevelopmentModeAsksAboutPagesOnly(t *testing.T) {
	t.Parallel()
	tab := chromium.Start(t)
	edge.Binary(t)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	up := upstream.Start(t)
	address := fmt.Sprintf("localhost:%d", edge.FreePort(t))
	startCommand(t, nil, "--from", address, "--to", up.Addr())
	redirectURI, landed := loopbackReceiver(t)
	connect := func(signIn mcpclient.SignIn) (*mcpclient.Client, error) {
		return mcpclient.Connect(ctx, "http://"+address+upstream.StreamablePath, mcpclient.Options{RedirectURI: redirectURI, SignIn: signIn})
	}

	client, err := connect(func(ctx context.Context, address string) (*url.URL, error) {
		if err := chromedp.Do(tab, chromedp.Navigate(address)); err != nil {
			return nil, err
		}
		return arrival(ctx, t, tab, landed)
	})
	if err != nil {
		t.Fatalf("opened as a client opens it: %v", err)
	}
	defer client.Close()
	if err := client.Call(ctx, "whoami", nil, nil); err != nil {
		t.Error(err)
	}

	// 127.0.0.1 is another site than localhost to a browser; another port of localhost is not.
	for _, host := range []string{"127.0.0.1", "localhost"} {
		for name, markup := range map[string]string{
			"a link":   `<a id="go" href="%s">Free tools</a>`,
			"a script": `<button id="go" onclick="location='%s'">Free tools</button>`,
			"a form":   `<form method="post" action="%s"><button id="go">Free tools</button></form>`,
		} {
			t.Run(name+" at "+host, func(t *testing.T) {
				_, err := connect(func(_ context.Context, address string) (*url.URL, error) {
					site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Content-Type", "text/html")
						_, _ = fmt.Fprintf(w, markup, html.EscapeString(address))
					}))
					defer site.Close()
					err := chromedp.Do(tab,
						chromedp.Navigate(strings.Replace(site.URL, "127.0.0.1", host, 1)),
						chromedp.Click(chromedp.CSS("#go")),
					)
					if err != nil {
						return nil, err
					}
					return nil, waitForPage(tab)
				})
				if !errors.Is(err, errAsked) {
					t.Errorf("the browser was not asked: %v", err)
				}
				select {
				case u := <-landed:
					t.Errorf("a code went to %s", u.Path)
				default:
				}
			})
		}
	}
}

var errAsked = errors.New("the person was asked")

// waitForPage waits until the browser is asked something by a page of the server's own.
func waitForPage(tab context.Context) error {
	ctx, cancel := context.WithTimeout(tab, 20*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS("main h1"))); err != nil {
		return err
	}
	return errAsked
}
