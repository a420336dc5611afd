package e2e

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/chromium"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

// The TypeScript SDK in a real browser, in a page of another origin: the browser itself decides
// whether what the edge allows to scripts is enough to connect, to sign in, to call tools, to refresh
// and to end the session.
func TestAClientInABrowserConnectsAndRefreshes(t *testing.T) {
	t.Parallel()
	tab := chromium.Start(t)
	npmPackages(t)
	w := prepareWorld(t)
	if err := w.idp.Start(); err != nil {
		t.Fatal(err)
	}
	w.start(w.readableAnswers(w.oidcSite()))
	page := w.clientPage(w.url(upstream.StreamablePath))
	err := chromedp.Do(tab,
		chromedp.Navigate(page),
		chromedp.WaitVisible(chromedp.CSS(`button[value="allow"], #result`)),
	)
	if err != nil {
		t.Fatal(err)
	}
	if at, _ := chromedp.Run(tab, chromedp.Location()); strings.HasPrefix(at, page) {
		text, _ := chromedp.Run(tab, chromedp.Text(chromedp.CSS("#result")))
		t.Fatalf("the client did not get to the sign-in: %s", text)
	}
	var text string
	err = chromedp.Do(tab,
		chromedp.Click(chromedp.CSS(`button[value="allow"]`)),
		chromedp.WaitVisible(chromedp.CSS(`input[name="username"]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name="username"]`), idp.Alice.Email),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), idp.Alice.Password),
		chromedp.Click(chromedp.CSS(`button[name="signin"]`)),
		chromedp.WaitVisible(chromedp.CSS("#result")),
	)
	if err == nil {
		text, err = chromedp.Run(tab, chromedp.Text(chromedp.CSS("#result")))
	}
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Error         string
		Before, After upstream.Identity
		Refreshes     int
		Session       bool
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Error != "" {
		t.Fatalf("%s %v", text, err)
	}
	want := upstream.Identity{User: idp.Alice.Subject, Email: idp.Alice.Email, Groups: "engineering"}
	if got.Before != want || got.After != want {
		t.Errorf("the server saw %+v, after the refresh %+v; want %+v", got.Before, got.After, want)
	}
	if got.Refreshes != 1 || !got.Session {
		t.Errorf("%d refreshes, a session id that the script could read: %t", got.Refreshes, got.Session)
	}
}

// readableAnswers adds to a site what the MCP server of the tests does not say itself: that scripts may
// read its answers, and the id of their session.
func (w *world) readableAnswers(site string) string {
	proxy := "reverse_proxy " + w.up.Addr()
	return replaceOnce(w.t, site, proxy, proxy+` {
		header_down Access-Control-Allow-Origin *
		header_down Access-Control-Expose-Headers Mcp-Session-Id
	}`)
}

// clientPage serves the client to browsers, from the npm packages as they are, and returns its
// address.
func (w *world) clientPage(server string) string {
	w.t.Helper()
	imports, err := w.node("--conditions=browser", "importmap.mjs").Output()
	if err != nil {
		w.t.Fatalf("making the import map: %v", err)
	}
	dir := npmPackages(w.t)
	mux := http.NewServeMux()
	mux.Handle("GET /packages/", http.StripPrefix("/packages/", asScript(http.FileServer(http.Dir(filepath.Join(dir, "node_modules"))))))
	mux.HandleFunc("GET /page.mjs", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/javascript")
		http.ServeFile(rw, r, filepath.Join(dir, "page.mjs"))
	})
	mux.HandleFunc("GET /", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprintf(rw, `<!doctype html><title>Client</title><script type="importmap">%s</script>
			<body data-server="%s"><script type="module" src="/page.mjs"></script>`, imports, html.EscapeString(server))
	})
	s := httptest.NewServer(mux)
	w.t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

// asScript gives files the type without which a browser does not run modules, whatever the machine
// knows of their endings.
func asScript(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/javascript")
		next.ServeHTTP(rw, r)
	})
}
