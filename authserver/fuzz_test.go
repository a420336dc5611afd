package authserver

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// Whatever the query: no panic, no failure of the server, and nobody is sent anywhere but to a redirect URI
// that the client registered.
func FuzzAuthorize(f *testing.F) {
	for _, seed := range []string{
		authorization().Encode(),
		authorization("redirect_uri", "https://client.example@evil.example/cb").Encode(),
		authorization("redirect_uri", "//evil.example").Encode() + "&redirect_uri=" + url.QueryEscape(callback),
		authorization("client_id", "native", "redirect_uri", "http://127.0.0.1:1/callback", "response_type", "token").Encode(),
		authorization("client_id", "native", "redirect_uri", "http://127.0.0.1:@evil.example/callback").Encode(),
		authorization("client_id", "mcpid_AAAA").Encode(),
		authorization("response_type", "-").Encode() + "&state=%00%ff&%73tate=2",
		"client_id=web&response_type=token&redirect_uri=" + url.QueryEscape(callback) + "&state=%0d%0aLocation:x",
		"client_id=web;redirect_uri=x",
		"%",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		w := newWorld(t)
		r := httptest.NewRequest("GET", issuer+AuthorizePath, nil)
		r.URL.RawQuery = query
		a := w.send(r)
		at := a.header.Get("Location")
		switch {
		case a.status == 200 || a.status == 400:
			if at != "" || a.header.Get("Refresh") != "" {
				t.Fatalf("status %d leads to %q", a.status, at)
			}
		case a.status == 303:
			if strings.ContainsAny(at, "\r\n\x00 ") || !registeredTarget(at) {
				t.Fatalf("sent to %q", at)
			}
			if q, err := url.Parse(at); err != nil || q.Query().Get("error") == "" || q.Query().Has("code") || q.Query().Get("iss") != issuer {
				t.Fatalf("sent to %q", at)
			}
		default:
			t.Fatalf("status %d", a.status)
		}
		if w.store.written() != writesOfTheRing {
			t.Fatal("something was written")
		}
	})
}

// registeredTarget tells whether a redirect leads to a redirect URI of the fixture's clients.
func registeredTarget(target string) bool {
	base, _, _ := strings.Cut(target, "?")
	switch base {
	case callback, "https://other.example/cb", "https://other.example/cb2", "cursor://anysphere.cursor-mcp/oauth/callback", "http://127.0.0.1/callback":
		return true
	}
	u, err := url.Parse(base)
	return err == nil && u.Scheme == "http" && u.Hostname() == "127.0.0.1" && u.User == nil && u.Path == "/callback"
}

// Whatever the form: no panic, no failure of the server, no token for nothing, and what others hold is unharmed.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{
		"grant_type=authorization_code&client_id=web&code=mcpac_AAAA&code_verifier=" + verifier,
		"grant_type=refresh_token&client_id=web&refresh_token=mcprt_AAAA&scope=a+b&resource=x&resource=y",
		"grant_type=refresh_token&client_id=confidential&client_secret=x&refresh_token=y",
		"grant_type=refresh_token&client_id=mcpid_AAAA&refresh_token=" + strings.Repeat("%41", 300),
		"grant_type=password&username=a&password=b",
		"grant_type=refresh_token&grant_type=x",
		"token=mcpat_AAAA&client_id=web",
		"%&;=",
	} {
		f.Add("", seed)
		f.Add("Basic d2ViOg==", seed)
	}
	f.Fuzz(func(t *testing.T, authorization, form string) {
		w := newWorld(t)
		for _, path := range []string{TokenPath, RevokePath} {
			r := httptest.NewRequest("POST", issuer+path, strings.NewReader(form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			got := w.decode(w.send(r))
			if got.status >= 500 || got.status < 200 || got.AccessToken != "" || got.RefreshToken != "" || got.header.Get("Location") != "" {
				t.Fatalf("%s: status %d: %s", path, got.status, got.body)
			}
			if got.status == 200 && path == TokenPath || got.status != 200 && got.Error == "" {
				t.Fatalf("%s: status %d: %s", path, got.status, got.body)
			}
			if got.header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%s: Cache-Control %q", path, got.header.Get("Cache-Control"))
			}
		}
	})
}

// Whatever is posted as a decision or comes in as a callback: nobody who has not begun is sent anywhere.
func FuzzBrowserEndpoints(f *testing.F) {
	f.Add("ticket=mcpct_AAAA&decision=allow", "mcpcc_AAAA")
	f.Add("state=mcpls_AAAA&code=x", "mcplc_AAAA")
	f.Add("state=a&state=b&email=a&password=b", "")
	f.Fuzz(func(t *testing.T, params, cookie string) {
		w := newWorld(t)
		for path, name := range map[string]string{ConsentPath: consentCookie, LoginPath: loginCookie, CallbackPath: loginCookie} {
			r := httptest.NewRequest("POST", issuer+path, strings.NewReader(params))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if path == CallbackPath {
				r = httptest.NewRequest("GET", issuer+path, nil)
				r.URL.RawQuery = params
			}
			r.Header.Set("Cookie", name+"="+cookie)
			if a := w.send(r); a.status < 400 || a.status > 499 || a.header.Get("Location") != "" {
				t.Fatalf("%s: status %d, Location %q", path, a.status, a.header.Get("Location"))
			}
		}
	})
}
