package authserver

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
)

func TestTheCodeGoesToTheRedirectURI(t *testing.T) {
	for _, tc := range []struct{ name, registered, presented, begins string }{
		{"as it is", callback, callback, callback + "?"},
		{"that has a query", callback + "?a=b%20c", callback + "?a=b%20c", callback + "?a=b%20c&"},
		{"on loopback with the port that is free", "http://localhost/callback", "http://localhost:50124/callback", "http://localhost:50124/callback?"},
		{"on loopback without a path", "http://127.0.0.1/", "http://127.0.0.1:33418/", "http://127.0.0.1:33418/?"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.Clients = clients.New(clients.Config{Ring: w.Vault.Ring, Tenant: issuer, Static: []clients.Client{
				static(t, clients.Client{ID: "web", RedirectURIs: []string{tc.registered}}),
			}})
			b := w.newBrowser()
			a := b.callback(b.toProvider("redirect_uri", tc.presented))
			at := a.location(t)
			if got := at.String(); !strings.HasPrefix(got, tc.begins) {
				t.Errorf("sent to %s", got)
			}
			q := at.Query()
			if len(q["code"]) != 1 || len(q["state"]) != 1 || len(q["iss"]) != 1 || q.Has("error") {
				t.Errorf("%v", q)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Referrer-Policy") != "no-referrer" || a.body != "" {
				t.Errorf("headers %v, body %q", a.header, a.body)
			}
			if got := w.exchange(q.Get("code"), "redirect_uri", tc.presented); got.status != 200 {
				t.Errorf("status %d: %s", got.status, got.Description)
			}
		})
	}
}

// A program that claimed a scheme is opened from a page, since the redirect would leave an empty tab behind.
func TestTheCodeForAProgramGoesThroughAPage(t *testing.T) {
	for _, tc := range []struct{ name, uri string }{
		{"with a host", "cursor://anysphere.cursor-mcp/oauth/callback"},
		{"in reverse domain form", "com.example.app:/callback"},
		{"with characters that HTML and headers know", "com.example.app:/cb?a=1&b=';x,y"},
		{"that the page's own parser does not read", "com.example.app://host:port/callback"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.Clients = clients.New(clients.Config{Ring: w.Vault.Ring, Tenant: issuer, Static: []clients.Client{
				static(t, clients.Client{ID: "web", RedirectURIs: []string{tc.uri}}),
			}})
			b := w.newBrowser()
			a := b.callback(b.toProvider("redirect_uri", tc.uri))
			target, sent := strings.CutPrefix(a.header.Get("Refresh"), "0;url=")
			if a.status == http.StatusBadRequest {
				if sent {
					t.Error("the page says that nothing was sent, and sends the code")
				}
				return
			}
			if a.status != http.StatusOK || !strings.HasPrefix(target, tc.uri) {
				t.Fatalf("status %d, Refresh %q", a.status, a.header.Get("Refresh"))
			}
			_, query, _ := strings.Cut(target, "?")
			if q, err := url.ParseQuery(strings.ReplaceAll(query, ";", "%3B")); err != nil || q.Get("code") == "" || q.Get("state") != "xyz" || q.Get("iss") != issuer {
				t.Errorf("%s: %v", target, err)
			}
			if link := strings.ReplaceAll(target, "'", "%27"); !strings.Contains(html.UnescapeString(a.body), `href="`+link+`"`) {
				t.Errorf("the page has no link to %s:\n%s", target, a.body)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("headers %v", a.header)
			}
		})
	}
	t.Run("and a denial goes there, too", func(t *testing.T) {
		w := newWorld(t)
		b := w.newBrowser()
		a := b.decide(b.ticket("client_id", "native", "redirect_uri", "cursor://anysphere.cursor-mcp/oauth/callback"), "deny")
		if at := a.header.Get("Refresh"); !strings.HasPrefix(at, "0;url=cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied&") {
			t.Errorf("status %d, Refresh %q", a.status, at)
		}
	})
}
