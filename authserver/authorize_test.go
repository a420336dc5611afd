package authserver

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// A request whose client or redirect URI is wrong ends on a page of this server. Redirecting it would
// make the server an open redirector (RFC 9700, section 4.11.2).
func TestAnAuthorizationRequestThatStaysHere(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct{ name, query string }{
		{"no client", authorization("client_id", "-").Encode()},
		{"an unknown client", authorization("client_id", "nobody").Encode()},
		{"a sealed value of another kind as client", authorization("client_id", "mcpac_AAAA").Encode()},
		{"a forged client id", authorization("client_id", "mcpid_"+strings.Repeat("A", 200)).Encode()},
		{"another redirect URI", authorization("redirect_uri", "https://evil.example/cb").Encode()},
		{"a longer path", authorization("redirect_uri", callback+"/more").Encode()},
		{"a query added", authorization("redirect_uri", callback+"?x=1").Encode()},
		{"a fragment added", authorization("redirect_uri", callback+"#x").Encode()},
		{"another case of the host", authorization("redirect_uri", "https://Client.example/cb").Encode()},
		{"a port added", authorization("redirect_uri", "https://client.example:443/cb").Encode()},
		{"userinfo that looks like the host", authorization("redirect_uri", "https://client.example@evil.example/cb").Encode()},
		{"a dot after the host", authorization("redirect_uri", "https://client.example./cb").Encode()},
		{"a dot segment", authorization("redirect_uri", "https://client.example/x/../cb").Encode()},
		{"plain http", authorization("redirect_uri", "http://client.example/cb").Encode()},
		{"a script", authorization("redirect_uri", "javascript:alert(1)").Encode()},
		{"white space before it", authorization("redirect_uri", " "+callback).Encode()},
		{"no redirect URI of several", authorization("client_id", "other", "redirect_uri", "-").Encode()},
		{"the redirect URI of another client", authorization("client_id", "other").Encode()},
		{"two clients", authorization().Encode() + "&client_id=web"},
		{"two redirect URIs", authorization().Encode() + "&redirect_uri=" + url.QueryEscape(callback)},
		{"a loopback redirect to another path", authorization("client_id", "native", "redirect_uri", "http://127.0.0.1:33418/other").Encode()},
		{"a loopback redirect to another spelling", authorization("client_id", "native", "redirect_uri", "http://localhost:33418/callback").Encode()},
		{"a broken escape", authorization().Encode() + "&x=%zz"},
		{"a semicolon", authorization().Encode() + ";x=1"},
		{"2,000 parameters", authorization().Encode() + strings.Repeat("&x=1", 2000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := w.newBrowser()
			a := b.send(httptest.NewRequest("GET", issuer+AuthorizePath+"?"+tc.query, nil))
			wantPage(t, a, http.StatusBadRequest)
			if len(b.cookies) != 0 {
				t.Errorf("cookies were set: %v", b.cookies)
			}
		})
	}
	if w.store.written() != writesOfTheRing {
		t.Errorf("%d writes", w.store.written())
	}
}

// writesOfTheRing is what making a world writes.
const writesOfTheRing = 1

// wantPage asserts a page for people that leads nowhere.
func wantPage(t *testing.T, a answer, status int) {
	t.Helper()
	if a.status != status || a.header.Get("Location") != "" || a.header.Get("Refresh") != "" {
		t.Errorf("status %d, Location %q, Refresh %q; want %d and a page", a.status, a.header.Get("Location"), a.header.Get("Refresh"), status)
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.body, "<h1") {
		t.Errorf("no page: %q\n%s", a.header.Get("Content-Type"), a.body)
	}
	if strings.Contains(a.body, errStoreDown.Error()) || strings.Contains(a.body, "10.1.2.3") {
		t.Error("the page shows what is behind the server")
	}
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("a page may be read by other sites")
	}
}

func TestAnAuthorizationRequestThatIsRefusedToTheClient(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		name, query, code string
	}{
		{"two states", authorization().Encode() + "&state=xyz", "invalid_request"},
		{"two scopes", authorization().Encode() + "&scope=a", "invalid_request"},
		{"two challenges", authorization().Encode() + "&code_challenge=" + challenge, "invalid_request"},
		{"an unknown parameter twice", authorization().Encode() + "&x=1&x=1", "invalid_request"},
		{"no response type", authorization("response_type", "-").Encode(), "invalid_request"},
		{"the implicit flow", authorization("response_type", "token").Encode(), "unsupported_response_type"},
		{"a hybrid flow", authorization("response_type", "code id_token").Encode(), "unsupported_response_type"},
		{"another case of the response type", authorization("response_type", "Code").Encode(), "unsupported_response_type"},
		{"an answer in the fragment", authorization("response_mode", "fragment").Encode(), "invalid_request"},
		{"an answer as a form", authorization("response_mode", "form_post").Encode(), "invalid_request"},
		{"a request object", authorization("request", "eyJhbGciOiJub25lIn0.e30.").Encode(), "request_not_supported"},
		{"a request object elsewhere", authorization("request_uri", "http://169.254.169.254/").Encode(), "request_uri_not_supported"},
		{"no PKCE", authorization("code_challenge", "-", "code_challenge_method", "-").Encode(), "invalid_request"},
		{"plain PKCE", authorization("code_challenge_method", "plain").Encode(), "invalid_request"},
		{"plain PKCE by leaving the method out", authorization("code_challenge_method", "-").Encode(), "invalid_request"},
		{"another case of the method", authorization("code_challenge_method", "s256").Encode(), "invalid_request"},
		{"an empty challenge", authorization("code_challenge", "").Encode(), "invalid_request"},
		{"a short challenge", authorization("code_challenge", challenge[:42]).Encode(), "invalid_request"},
		{"a long challenge", authorization("code_challenge", challenge+"A").Encode(), "invalid_request"},
		{"a padded challenge", authorization("code_challenge", challenge[:42]+"=").Encode(), "invalid_request"},
		{"a challenge in plain base64", authorization("code_challenge", "+"+challenge[1:]).Encode(), "invalid_request"},
		{"a challenge with stray bits", authorization("code_challenge", challenge[:42]+"N").Encode(), "invalid_request"},
		{"a challenge with a line break", authorization("code_challenge", challenge[:42]+"\n").Encode(), "invalid_request"},
		{"a foreign resource", authorization("resource", "https://other.example/github").Encode(), "invalid_target"},
		{"a resource next to ours", authorization("resource", issuer+"/githubber").Encode(), "invalid_target"},
		{"no resource of several", authorization("resource", "-").Encode(), "invalid_target"},
		{"two resources", authorization().Encode() + "&resource=" + url.QueryEscape(linear), "invalid_target"},
		{"a good and a foreign resource", authorization().Encode() + "&resource=https://other.example", "invalid_target"},
		{"a resource that is nothing", authorization("resource", "%").Encode(), "invalid_target"},
		{"a scope with a quote", authorization("scope", `github:read"`).Encode(), "invalid_scope"},
		{"a scope of 5 KiB", authorization("scope", strings.Repeat("s", 5<<10)).Encode(), "invalid_scope"},
		{"a state of 5 KiB", authorization("state", strings.Repeat("s", 5<<10)).Encode(), "invalid_request"},
		{"nobody to be asked", authorization("prompt", "none").Encode(), "login_required"},
		{"nobody to be asked among others", authorization("prompt", "login none").Encode(), "invalid_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := w.newBrowser().send(httptest.NewRequest("GET", issuer+AuthorizePath+"?"+tc.query, nil))
			at := a.location(t)
			if got := at.Scheme + "://" + at.Host + at.Path; got != callback {
				t.Fatalf("sent to %s", got)
			}
			q := at.Query()
			if q.Get("error") != tc.code || q.Get("error_description") == "" || q.Has("code") {
				t.Errorf("%v, want error %s", q, tc.code)
			}
			if q.Get("iss") != issuer {
				t.Errorf("iss %q (RFC 9207, section 2)", q.Get("iss"))
			}
			if state := q.Get("state"); state != "xyz" && len(tc.query) < 5<<10 {
				t.Errorf("state %q", state)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("headers %v", a.header)
			}
		})
	}
	if w.store.written() != writesOfTheRing {
		t.Errorf("%d writes before anybody decided anything", w.store.written())
	}
}

func TestAnAuthorizationRequestThatIsAskedAbout(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		name   string
		change []string
		scopes []string // shown
	}{
		{"as it should be", nil, []string{"github:read"}},
		{"without a state", []string{"state", "-"}, []string{"github:read"}},
		{"without the only redirect URI", []string{"redirect_uri", "-"}, []string{"github:read"}},
		{"with the query named as response mode", []string{"response_mode", "query"}, []string{"github:read"}},
		{"with a resource below ours", []string{"resource", github + "/mcp"}, []string{"github:read"}},
		{"with a slash after the resource", []string{"resource", github + "/"}, []string{"github:read"}},
		{"with scopes that do not exist", []string{"scope", "openid offline_access github:write evil"}, []string{"github:write"}},
		{"without a scope", []string{"scope", "-"}, []string{"github:read", "github:write"}},
		{"with unknown scopes only", []string{"scope", "openid"}, []string{"github:read", "github:write"}},
		{"with a prompt that others know", []string{"prompt", "consent"}, []string{"github:read"}},
		{"with parameters without a value", []string{"request", "", "request_uri", "", "response_mode", ""}, []string{"github:read"}},
		{"with any port on loopback", []string{"client_id", "native", "redirect_uri", "http://127.0.0.1:33418/callback"}, []string{"github:read"}},
		{"with a state as long as allowed", []string{"state", strings.Repeat("\x01", maxState)}, []string{"github:read"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := w.newBrowser().get(AuthorizePath, authorization(tc.change...))
			a.hidden(t)
			for _, scope := range []string{"github:read", "github:write", "openid", "offline_access", "evil"} {
				want := false
				for _, s := range tc.scopes {
					want = want || s == scope
				}
				if strings.Contains(a.body, scope) != want {
					t.Errorf("the page names %s: %t, want %t", scope, !want, want)
				}
			}
		})
	}
	t.Run("posted as a form", func(t *testing.T) {
		w.send(formRequest(AuthorizePath, authorization())).hidden(t)
	})
	t.Run("without a resource, of which there is one", func(t *testing.T) {
		one := newWorld(t)
		*one.resources = (*one.resources)[:1]
		one.newBrowser().ticket("resource", "-")
	})
	if w.store.written() != writesOfTheRing {
		t.Errorf("%d writes before anybody decided anything", w.store.written())
	}
}

func TestTheAuthorizationEndpointTakesQueriesAndForms(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		a := w.send(httptest.NewRequest(method, issuer+AuthorizePath+"?"+authorization().Encode(), nil))
		wantPage(t, a, http.StatusMethodNotAllowed)
		if a.header.Get("Allow") != "GET, POST" {
			t.Errorf("%s: Allow %q", method, a.header.Get("Allow"))
		}
	}
	t.Run("a form's query counts for nothing", func(t *testing.T) {
		r := formRequest(AuthorizePath, nil)
		r.URL.RawQuery = authorization().Encode()
		wantPage(t, w.send(r), http.StatusBadRequest)
	})
	t.Run("another body", func(t *testing.T) {
		r := formRequest(AuthorizePath, authorization())
		r.Header.Set("Content-Type", "text/plain")
		wantPage(t, w.send(r), http.StatusBadRequest)
	})
	t.Run("asked for the header only", func(t *testing.T) {
		a := w.send(httptest.NewRequest("HEAD", issuer+AuthorizePath+"?"+authorization().Encode(), nil))
		if a.status != http.StatusOK || a.body != "" {
			t.Errorf("status %d with %d bytes", a.status, len(a.body))
		}
	})
}

// The client compares state byte for byte (OAuth 2.1, section 4.1.2), so nothing on the way may change it.
func TestStateComesBackAsItWas(t *testing.T) {
	for i, state := range []string{
		"xyz", "", "a b+c%20d", "&iss=https://evil.example&code=stolen", "=&?#/", "\"'<>\\", "ünïcode ☃", "\u2028\u2029",
		`{"json":"<b>&amp;"}`, "\x01\x1f\x7f", "line\r\nSet-Cookie: a=b", "\xff\xfe not UTF-8 \x80", strings.Repeat("\xff", maxState),
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			w := newWorld(t)
			b := w.newBrowser()
			for name, at := range map[string]*url.URL{
				"success":     b.callback(b.toProvider("state", state)).location(t),
				"denial":      b.decide(b.ticket("state", state, "prompt", "consent"), "deny").location(t),
				"first error": b.get(AuthorizePath, authorization("state", state, "response_type", "token")).location(t),
			} {
				if got := at.Query().Get("state"); got != state {
					t.Errorf("%s: state %q, want %q", name, got, state)
				}
				if len(at.Query()["state"]) > 1 || len(at.Query()["iss"]) != 1 || at.Query().Get("iss") != issuer || at.Fragment != "" {
					t.Errorf("%s: %s", name, at)
				}
				if strings.ContainsAny(at.RawQuery, "+ \r\n") {
					t.Errorf("%s: %q is not plain percent-encoding", name, at.RawQuery)
				}
			}
		})
	}
}

// Whoever reads this page can do something about it only if all of it is there.
func TestThePageOfAnUnknownClientSaysWhatToDoInEachApplication(t *testing.T) {
	w := newWorld(t)
	a := w.newBrowser().get(AuthorizePath, authorization("client_id", "gone"))
	wantPage(t, a, http.StatusBadRequest)
	for _, want := range strings.Split(unknownClient.ways, "\n") {
		if !strings.Contains(html.UnescapeString(a.body), want+"<") {
			t.Errorf("the page lacks %q, or cuts it off", want)
		}
	}
	if strings.Contains(a.body, "…") {
		t.Errorf("something is cut off: %s", a.body)
	}
}
