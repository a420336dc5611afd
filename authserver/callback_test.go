package authserver

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

func TestACallbackBelongsToOneBrowserAndOneUse(t *testing.T) {
	for _, tc := range []struct {
		name string
		come func(b *browser, state string) answer
	}{
		{"in another browser", func(b *browser, state string) answer { return b.w.newBrowser().callback(state) }},
		{"in another browser with a sign-in of its own", func(b *browser, state string) answer {
			other := b.w.newBrowser()
			other.toProvider()
			return other.callback(state)
		}},
		{"without its cookie", func(b *browser, state string) answer {
			delete(b.cookies, loginCookie)
			return b.callback(state)
		}},
		{"a second time", func(b *browser, state string) answer { b.callback(state); return b.callback(state) }},
		{"a second time with the cookie kept", func(b *browser, state string) answer {
			cookie := b.cookies[loginCookie]
			b.callback(state)
			b.cookies[loginCookie] = cookie
			return b.callback(state)
		}},
		{"too late", func(b *browser, state string) answer {
			b.w.clock.advance(10 * time.Minute)
			return b.callback(state)
		}},
		{"without a state", func(b *browser, _ string) answer { return b.get(CallbackPath, url.Values{"code": {"idp-code"}}) }},
		{"with another state", func(b *browser, state string) answer { return b.callback(state[:len(state)-1]) }},
		{"with the client's state", func(b *browser, _ string) answer { return b.callback("xyz") }},
		{"with two states", func(b *browser, state string) answer {
			return b.get(CallbackPath, url.Values{"code": {"idp-code"}, "state": {state, state}})
		}},
		{"with two codes", func(b *browser, state string) answer {
			return b.get(CallbackPath, url.Values{"code": {"idp-code", "idp-code"}, "state": {state}})
		}},
		{"with two resources", func(b *browser, state string) answer {
			return b.get(CallbackPath, url.Values{"code": {"idp-code"}, "state": {state}, "resource": {github, linear}})
		}},
		{"with a broken query", func(b *browser, state string) answer {
			return b.send(httptest.NewRequest("GET", issuer+CallbackPath+"?state="+state+"&x=%zz", nil))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.newBrowser()
			state := b.toProvider()
			wantPage(t, tc.come(b, state), http.StatusBadRequest)
			second := strings.HasPrefix(tc.name, "a second time")
			if asked := len(w.idp.finished); asked > 1 || asked == 1 && !second {
				t.Errorf("the provider was asked %d times", asked)
			}
		})
	}
	t.Run("as a form", func(t *testing.T) {
		b := newWorld(t).newBrowser()
		state := b.toProvider()
		wantPage(t, b.post(CallbackPath, url.Values{"state": {state}, "code": {"idp-code"}}), http.StatusMethodNotAllowed)
		b.callback(state).location(t)
	})
}

func TestTheProviderIsAskedWithWhatTheSignInBegan(t *testing.T) {
	w := newWorld(t)
	w.newBrowser().code("login_hint", "alice@example.com")
	w.newBrowser().code("login_hint", strings.Repeat("a", 300), "prompt", "select_account")
	for i, want := range []identity.Attempt{{LoginHint: "alice@example.com"}, {Prompt: "select_account"}} {
		began, ended := w.idp.attempts[i], w.idp.finished[i]
		if began != ended {
			t.Errorf("began %+v, ended %+v", began, ended)
		}
		if began.LoginHint != want.LoginHint || began.Prompt != want.Prompt || began.RedirectURI != issuer+CallbackPath {
			t.Errorf("began %+v", began)
		}
		if len(began.Nonce) < 43 || len(began.Verifier) < 43 || began.Nonce == began.Verifier || strings.Contains(began.State, began.Nonce) {
			t.Errorf("began %+v", began)
		}
	}
	if w.idp.attempts[0].Nonce == w.idp.attempts[1].Nonce || w.idp.attempts[0].Verifier == w.idp.attempts[1].Verifier {
		t.Error("two sign-ins share a secret")
	}
}

// Each provider answers at its own address, so that an answer of one is never taken for another's
// (RFC 9700, section 4.4).
func TestAnAnswerAtAnotherProvidersAddress(t *testing.T) {
	second := &provider{id: "second", user: bob}
	w := newWorld(t, func(c *Config) {
		c.Providers = append(c.Providers, second)
		c.CallbackPaths = map[string]string{"second": "/oauth2/callback/second"}
	})
	b := w.newBrowser()
	state := b.toProvider()
	wantPage(t, b.get("/oauth2/callback/second", url.Values{"state": {state}, "code": {"idp-code"}}), http.StatusBadRequest)
	if len(w.idp.finished)+len(second.finished) != 0 {
		t.Error("a provider was asked")
	}
}

func TestAProviderThatSignsNobodyIn(t *testing.T) {
	for _, tc := range []struct {
		name   string
		err    error
		status int // 303: told to the client
	}{
		{"because it or the person declined", identity.ErrDenied, 303},
		{"because it cannot be reached", identity.ErrUnavailable, 503},
		{"in a way that can be trusted", identity.ErrRefused, 403},
		{"and says something else", errors.New("id_token eyJhbGciOi for alice"), 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.idp.finish = fmt.Errorf("finishing with %w", tc.err)
			b := w.newBrowser()
			a := b.callback(b.toProvider())
			if b.cookies[sessionCookie] != "" {
				t.Error("somebody is signed in")
			}
			if events := w.trail.of(audit.SignIn); len(events) != 1 || events[0].Allowed || events[0].Reason == "" {
				t.Errorf("recorded %v", events)
			}
			if tc.status == 303 {
				q := a.location(t).Query()
				if q.Get("error") != "access_denied" || q.Get("state") != "xyz" || q.Get("iss") != issuer || q.Has("code") {
					t.Errorf("%v", q)
				}
				return
			}
			wantPage(t, a, tc.status)
			if tc.status == 503 {
				wantRetryAfter(t, a)
			}
			if strings.Contains(a.body, "finishing") || strings.Contains(a.body, "eyJ") {
				t.Errorf("the page words the error:\n%s", a.body)
			}
		})
	}
	t.Run("when it should begin", func(t *testing.T) {
		w := newWorld(t)
		w.idp.begin = identity.ErrUnavailable
		b := w.newBrowser()
		a := b.decide(b.ticket(), "allow")
		wantPage(t, a, http.StatusServiceUnavailable)
		wantRetryAfter(t, a)
	})
	t.Run("when nobody has been asked yet", func(t *testing.T) {
		w := newWorld(t)
		w.idp.ready = identity.ErrUnavailable
		a := w.newBrowser().get(AuthorizePath, authorization())
		wantPage(t, a, http.StatusServiceUnavailable)
		wantRetryAfter(t, a)
	})
}

func TestAPersonWhoMayNotComeIn(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*world)
		says   string
	}{
		{"of another domain", func(w *world) { w.idp.user.Email = "mallory@evil.example" }, "mallory@evil.example"},
		{"of a subdomain", func(w *world) { w.idp.user.Email = "mallory@sub.example.com" }, "no access"},
		{"with an unverified address", func(w *world) { w.idp.user.EmailVerified = false }, "not verified"},
		{"without an address", func(w *world) { w.idp.user.Email = "" }, "no e-mail address"},
		{"whom the resource does not admit", func(w *world) {
			(*w.resources)[0].Policy = policy(w.t, access.Rule{Kind: access.Group, Value: "finance"})
		}, "no access"},
		{"whom the resource would admit with a verified address", func(w *world) {
			w.Policy = policy(w.t, access.Rule{Kind: access.Any})
			(*w.resources)[0].Policy = policy(w.t, access.Rule{Kind: access.Domain, Value: "example.com"})
			w.idp.user.EmailVerified = false
		}, "not verified"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.change(w)
			b := w.newBrowser()
			a := b.callback(b.toProvider())
			wantPage(t, a, http.StatusForbidden)
			if !strings.Contains(a.body, tc.says) {
				t.Errorf("the page does not say %q:\n%s", tc.says, a.body)
			}
			if b.cookies[sessionCookie] != "" {
				t.Error("a session began")
			}
			if events := w.trail.of(audit.SignIn); len(events) != 1 || events[0].Allowed || !strings.Contains(events[0].Reason, "no allow rule matches: ") {
				t.Errorf("recorded %v", events)
			}
			if strings.Contains(a.body, "no allow rule") {
				t.Error("the page tells the rules")
			}
		})
	}
}

// An address that the provider does not vouch for opens nothing later either, when only the session is looked at.
func TestAnUnverifiedAddressStaysOutOfSessionsAndTokens(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Policy = policy(t, access.Rule{Kind: access.Any}) })
	(*w.resources)[0].Policy = policy(t, access.Rule{Kind: access.Domain, Value: "example.com"})
	w.idp.user.EmailVerified = false
	b := w.newBrowser()
	got := w.exchange(b.code("resource", linear, "scope", "-"))
	var a sessions.Access
	if err := w.Vault.OpenAccess(got.AccessToken, &a); err != nil || a.Email != "" {
		t.Errorf("the token says %q: %v", a.Email, err)
	}
	wantPage(t, b.decide(b.ticket(), "allow"), http.StatusForbidden)
}

func TestASessionBeginsAtTheSignIn(t *testing.T) {
	w := newWorld(t)
	t.Run("in place of the one that was there", func(t *testing.T) {
		b := w.newBrowser()
		b.code()
		before := b.cookies[sessionCookie]
		w.idp.user = bob
		b.callback(b.toProvider("prompt", "login")).location(t)
		if b.cookies[sessionCookie] == before {
			t.Fatal("the session is the same")
		}
		if _, err := w.Vault.LoadBrowser(t.Context(), before); !errors.Is(err, sessions.ErrNotFound) {
			t.Errorf("the session from before: %v", err)
		}
		w.idp.user = alice
	})
	t.Run("and not with what was planted before", func(t *testing.T) {
		b := w.newBrowser()
		for _, planted := range []string{"planted", "mcpbs_planted", strings.Repeat("x", 6<<10)} {
			b.cookies[sessionCookie] = planted
			state := b.toProvider()
			b.cookies[sessionCookie] = planted
			b.callback(state).location(t)
			if b.cookies[sessionCookie] == planted {
				t.Error("the planted cookie is a session")
			}
		}
	})
	t.Run("and its cookie keeps to this site", func(t *testing.T) {
		b := w.newBrowser()
		a := b.callback(b.toProvider())
		for _, c := range (&http.Response{Header: a.header}).Cookies() {
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("cookie %v", c)
			}
		}
	})
}

func TestElevenSignInsAtATime(t *testing.T) {
	b := newWorld(t).newBrowser()
	states := make([]string, maxPendingLogins+1)
	for i := range states {
		states[i] = b.toProvider()
	}
	if size := len(b.cookies[loginCookie]); size > 2<<10 {
		t.Errorf("the cookie has %d bytes", size)
	}
	wantPage(t, b.callback(states[0]), http.StatusBadRequest)
	for _, i := range []int{len(states) - 1, 1} {
		b.callback(states[i]).location(t)
	}
	b.w.clock.advance(b.w.Lifetimes.Login)
	delete(b.cookies, sessionCookie)
	b.toProvider()
	if size := len(b.cookies[loginCookie]); size > 300 {
		t.Errorf("the cookie still has %d bytes after the others expired", size)
	}
}

// A client may go while its person is at the provider; nobody is then sent to where it was.
func TestAClientThatIsGoneAtTheCallback(t *testing.T) {
	for name, finish := range map[string]error{"signed in": nil, "declined": identity.ErrDenied} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.idp.finish = finish
			b := w.newBrowser()
			state := b.toProvider()
			w.Clients = clients.New(clients.Config{Ring: w.Vault.Ring, Tenant: issuer})
			wantPage(t, b.callback(state), http.StatusBadRequest)
		})
	}
	t.Run("not gone but out of reach", func(t *testing.T) {
		w := newWorld(t)
		registered := w.registered("none")
		b := w.newBrowser()
		state := b.toProvider("client_id", registered)
		ring := must(sessions.NewRing(sessions.RingConfig{Store: w.store}))(t) // not loaded
		w.Clients = clients.New(clients.Config{Ring: ring, Tenant: issuer, DynamicRegistration: true})
		a := b.callback(state)
		wantPage(t, a, http.StatusServiceUnavailable)
		wantRetryAfter(t, a)
	})
}
