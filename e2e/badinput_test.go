package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/idp"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/mcpclient"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/e2e/upstream"
)

func TestMachineEndpointsAnswerBadInputWithJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StatelessPath)
	const form, js = "application/x-www-form-urlencoded", "application/json"
	good := "grant_type=refresh_token&refresh_token=x&client_id=" + url.QueryEscape(c.id)
	huge := strings.Repeat("a", 2<<20)
	for _, tc := range []struct {
		name, path, contentType, body string
		statuses                      []int
		code                          string
	}{
		{"a repeated grant type", "/oauth2/token", form, good + "&grant_type=refresh_token", []int{400}, "invalid_request"},
		{"a repeated client", "/oauth2/token", form, good + "&client_id=other", []int{400}, "invalid_request"},
		{"a JSON body for a token", "/oauth2/token", js, `{"grant_type":"refresh_token"}`, []int{400, 415}, "invalid_request"},
		{"a body without a type for a token", "/oauth2/token", "", good, []int{400, 415}, "invalid_request"},
		{"parameters in the query", "/oauth2/token?" + good, form, "", []int{400}, "invalid_request"},
		{"an oversized token request", "/oauth2/token", form, good + "&x=" + huge, []int{400, 413}, "invalid_request"},
		{"a broken escape", "/oauth2/token", form, good + "&x=%zz", []int{400}, "invalid_request"},
		{"a client that does not exist", "/oauth2/token", form, "grant_type=refresh_token&refresh_token=x&client_id=nobody", []int{401}, "invalid_client"},
		{"a token request without a client", "/oauth2/token", form, "grant_type=refresh_token&refresh_token=x", []int{400, 401}, "invalid_client"},
		{"a grant that is not offered", "/oauth2/token", form, "grant_type=password&username=a&password=b&client_id=" + url.QueryEscape(c.id), []int{400}, "unsupported_grant_type"},
		{"a refresh token that is none", "/oauth2/token", form, good, []int{400}, "invalid_grant"},
		{"a refresh token that is missing", "/oauth2/token", form, "grant_type=refresh_token&client_id=" + url.QueryEscape(c.id), []int{400}, "invalid_request"},
		{"a repeated token to revoke", "/oauth2/revoke", form, "token=a&token=b&client_id=" + url.QueryEscape(c.id), []int{400}, "invalid_request"},
		{"a JSON body to revoke", "/oauth2/revoke", js, `{"token":"a"}`, []int{400, 415}, "invalid_request"},
		{"an oversized revocation", "/oauth2/revoke", form, "token=" + huge + "&client_id=" + url.QueryEscape(c.id), []int{400, 413}, "invalid_request"},
		{"a revocation by a client that does not exist", "/oauth2/revoke", form, "token=a&client_id=nobody", []int{401}, "invalid_client"},
		{"a registration that is a form", "/oauth2/register", form, "redirect_uris=https://a.example/cb", []int{400, 415}, "invalid_client_metadata"},
		{"a registration cut off", "/oauth2/register", js, `{"redirect_uris":["https://a.exa`, []int{400}, "invalid_client_metadata"},
		{"an empty registration", "/oauth2/register", js, ``, []int{400}, "invalid_client_metadata"},
		{"a registration that is a list", "/oauth2/register", js, `[]`, []int{400}, "invalid_client_metadata"},
		{"a registration with two redirect lists", "/oauth2/register", js, `{"redirect_uris":["https://a.example/cb"],"redirect_uris":["https://b.example/cb"]}`, []int{400}, "invalid_client_metadata"},
		{"an oversized registration", "/oauth2/register", js, `{"redirect_uris":["https://a.example/cb"],"client_name":"` + huge + `"}`, []int{400, 413}, "invalid_client_metadata"},
		{"a script as redirect", "/oauth2/register", js, `{"redirect_uris":["javascript:alert(1)"]}`, []int{400}, "invalid_redirect_uri"},
		{"a redirect over plain HTTP", "/oauth2/register", js, `{"redirect_uris":["http://a.example/cb"]}`, []int{400}, "invalid_redirect_uri"},
		{"a redirect with a fragment", "/oauth2/register", js, `{"redirect_uris":["https://a.example/cb#x"]}`, []int{400}, "invalid_redirect_uri"},
		{"a redirect with a user in it", "/oauth2/register", js, `{"redirect_uris":["https://good.example@a.example/cb"]}`, []int{400}, "invalid_redirect_uri"},
		{"no redirect", "/oauth2/register", js, `{"redirect_uris":[]}`, []int{400}, "invalid_redirect_uri"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			if tc.contentType != "" {
				h.Set("Content-Type", tc.contentType)
			}
			a := c.do(http.MethodPost, tc.path, h, strings.NewReader(tc.body))
			status := tc.statuses[0]
			for _, s := range tc.statuses {
				if a.Status == s {
					status = s
				}
			}
			a.wantOAuthError(t, tc.name, status, tc.code)
			if !strings.Contains(a.Header.Get("Cache-Control"), "no-store") {
				t.Errorf("Cache-Control is %q", a.Header.Get("Cache-Control"))
			}
		})
	}
	t.Run("a token that is none to revoke", func(t *testing.T) { // RFC 7009, section 2.2
		if a := c.revoke("nothing"); a.Status != http.StatusOK {
			t.Errorf("status %d, want 200", a.Status)
		}
	})
	for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/register"} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			t.Run(method+" "+path, func(t *testing.T) {
				if a := c.do(method, path, nil, nil); a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") == "" {
					t.Errorf("status %d, Allow %q", a.Status, a.Header.Get("Allow"))
				}
			})
		}
	}
}

func TestATruncatedBodyDoesNoHarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StatelessPath)
	for _, path := range []string{"/oauth2/token", "/oauth2/revoke", "/oauth2/register", "/oauth2/consent"} {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(w.edge.URL(), "http://"), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
			"Content-Length: 1000\r\n\r\ngrant_type=refr", path, strings.TrimPrefix(w.edge.URL(), "http://"))
		_ = conn.(*net.TCPConn).CloseWrite()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil { // or the connection was closed without an answer, which is as good
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode < 400 || resp.StatusCode > 499 {
				t.Errorf("%s answered a truncated body with %d", path, resp.StatusCode)
			}
		}
		_ = conn.Close()
	}
	if a := c.refresh("nothing"); a.Error != "invalid_grant" {
		t.Errorf("afterwards the token endpoint answered %d %s", a.Status, a.Error)
	}
}

func TestBadAuthorizationRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.newOAuthClient(upstream.StatelessPath)
	set := func(name string, values ...string) func(url.Values) {
		return func(q url.Values) { q[name] = values }
	}
	for _, tc := range []struct {
		name   string
		change func(url.Values)
		code   string // the error told to the client; "" means a page and no redirect
	}{
		{"a client that does not exist", set("client_id", "nobody"), ""},
		{"a client id of another kind", set("client_id", "mcprt_AAAA"), ""},
		{"no client", set("client_id"), ""},
		{"two clients", func(q url.Values) { q.Add("client_id", c.id) }, ""},
		{"another redirect", set("redirect_uri", "https://evil.example/cb"), ""},
		{"a redirect that goes on", set("redirect_uri", mcpclient.RedirectURI+"/more"), ""},
		{"a redirect with a query", set("redirect_uri", mcpclient.RedirectURI+"?x=1"), ""},
		{"a redirect with another host spelling", set("redirect_uri", "http://localhost:33418/callback"), ""},
		{"a script as redirect", set("redirect_uri", "javascript:alert(1)"), ""},
		{"two redirects", func(q url.Values) { q.Add("redirect_uri", mcpclient.RedirectURI) }, ""},
		{"no challenge", func(q url.Values) { q.Del("code_challenge"); q.Del("code_challenge_method") }, "invalid_request"},
		{"a plain challenge", set("code_challenge_method", "plain"), "invalid_request"},
		{"a challenge without a method", func(q url.Values) { q.Del("code_challenge_method") }, "invalid_request"},
		{"a short challenge", set("code_challenge", "short"), "invalid_request"},
		{"the implicit flow", set("response_type", "token"), "unsupported_response_type"},
		{"no response type", set("response_type"), "invalid_request"},
		{"two states", func(q url.Values) { q.Add("state", "other") }, "invalid_request"},
		{"a foreign resource", set("resource", "https://other.example/mcp"), "invalid_target"},
		{"a silent request", set("prompt", "none"), "any"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := c.authorizeParams()
			tc.change(q)
			p := newPerson(idp.Alice)
			page, err := p.Open(w.ctx, c.authorizeURL(q))
			if err != nil {
				t.Fatal(err)
			}
			if tc.code == "" {
				wantReadablePage(t, page, http.StatusBadRequest)
				return
			}
			if !page.Landed {
				t.Fatalf("not told to the client: %d %s", page.Status, page.Text)
			}
			got := page.URL.Query()
			if got.Get("error") == "" || (tc.code != "any" && got.Get("error") != tc.code) || got.Has("code") {
				t.Errorf("error %q, want %q", got.Get("error"), tc.code)
			}
			if got.Get("iss") != w.edge.URL() {
				t.Errorf("iss is %q", got.Get("iss"))
			}
		})
	}
	t.Run("a state of 100 KB", func(t *testing.T) {
		q := c.authorizeParams()
		q.Set("state", strings.Repeat("s", 100<<10))
		if a := c.do(http.MethodGet, "/oauth2/auth?"+q.Encode(), nil, nil); a.Status < 400 || a.Status > 499 {
			t.Errorf("status %d", a.Status)
		}
	})
	if w.idp.Logins() != 0 {
		t.Error("one of these requests reached a login")
	}
}
