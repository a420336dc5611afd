package identity

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const testRefresh = "refresh-token-1"

// offline makes p give refresh tokens: at the sign-in, and another one at each refresh. refreshed
// alters the answer of a refresh.
func (p *idp) offline(refreshed func(answer map[string]any)) {
	n := 0
	p.handle("/token", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.tokenForm = r.PostForm
		p.basicUser, p.basicPass, _ = r.BasicAuth()
		answer := map[string]any{
			"access_token": testAccess, "token_type": "Bearer", "id_token": p.sign(mustJSON(p.claims)), "refresh_token": testRefresh,
		}
		if r.PostForm.Get("grant_type") == "refresh_token" {
			n++
			answer["refresh_token"] = testRefresh + strings.Repeat("+", n)
			if refreshed != nil {
				refreshed(answer)
			}
		}
		writeJSON(w, answer)
	})
}

// recheck asks again and makes sure that an error tells no secrets and nothing foreign.
func recheck(t testing.TB, r Rechecker, upstream []byte) (User, []byte, error) {
	t.Helper()
	u, next, err := r.Recheck(context.Background(), upstream)
	checkErrorText(t, err)
	if err != nil && strings.Contains(err.Error(), testRefresh) {
		t.Errorf("error text %q holds the refresh token", err)
	}
	if err != nil && u.Subject != "" {
		t.Errorf("got user %+v together with error %v", u, err)
	}
	return u, next, err
}

func TestRecheck(t *testing.T) {
	p := newIDP(t)
	p.offline(nil)
	o := p.provider(t)
	u, err := finish(t, o, callback())
	if err != nil || len(u.Upstream) == 0 {
		t.Fatalf("%v; upstream %q", err, u.Upstream)
	}
	p.claims = with(p.claims, map[string]any{"email": "ann@new.example", "groups": []string{"sales"}, "nonce": nil})
	got, next, err := recheck(t, o, u.Upstream)
	if err != nil || got.Subject != "user-1" || got.Email != "ann@new.example" || !got.EmailVerified || !slices.Equal(got.Groups, []string{"sales"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if p.tokenForm.Get("refresh_token") != testRefresh || p.basicUser != testClientID || p.basicPass != url.QueryEscape(testSecret) {
		t.Errorf("the provider was sent %v by %s", p.tokenForm, p.basicUser)
	}
	if _, _, err = recheck(t, o, next); err != nil || p.tokenForm.Get("refresh_token") != testRefresh+"+" {
		t.Errorf("the second time the provider was sent %v, %v", p.tokenForm, err)
	}
}

func TestRecheckJudgesTheAnswer(t *testing.T) {
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		want   error
	}{
		{"the grant has ended", status(400, `{"error":"invalid_grant","error_description":"hostile"}`), ErrDenied},
		{"the account needs attention", status(400, `{"error":"interaction_required"}`), ErrDenied},
		{"our secret was changed", status(401, `{"error":"invalid_client"}`), ErrUnavailable},
		{"an error in its own words", status(400, `{"error":"hostile"}`), ErrUnavailable},
		{"an error page", status(403, hostile), ErrUnavailable},
		{"the grant has ended, says a server out of order", status(500, `{"error":"invalid_grant"}`), ErrUnavailable},
		{"too many requests", status(429, hostile), ErrUnavailable},
		{"garbage", status(200, hostile), ErrUnavailable},
		{"no access token", status(200, `{}`), ErrUnavailable},
		{"a huge body", status(200, `{"access_token":"x","x":"`+strings.Repeat("x", 2<<20)+`"}`), ErrUnavailable},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://hostile.example/", http.StatusTemporaryRedirect)
		}, ErrUnavailable},
		{"an endless refresh token", status(200, `{"access_token":"x","refresh_token":"`+strings.Repeat("x", 20<<10)+`"}`), ErrRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.offline(nil)
			o := p.provider(t)
			u, err := finish(t, o, callback())
			if err != nil {
				t.Fatal(err)
			}
			p.discovery = with(p.discovery, map[string]any{"userinfo_endpoint": nil})
			p.handle("/token", tc.answer)
			o2 := p.provider(t)
			if _, _, err := recheck(t, o2, u.Upstream); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

func TestRecheckChecksTheNewIDToken(t *testing.T) {
	type m = map[string]any
	for _, tc := range []struct {
		name    string
		changes m
		want    error
	}{
		{"as at the sign-in", nil, nil},
		{"without a nonce", m{"nonce": nil}, nil},
		{"with another nonce", m{"nonce": "hostile"}, ErrRefused},
		{"about another subject", m{"sub": "hostile"}, ErrRefused},
		{"of another issuer", m{"iss": "https://hostile.example"}, ErrRefused},
		{"for another audience", m{"aud": "hostile"}, ErrRefused},
		{"expired", m{"exp": 1}, ErrRefused},
		{"outside of the hosted domain", m{"hd": "hostile.example"}, ErrDenied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.claims["hd"] = "example.com"
			p.offline(nil)
			o := p.provider(t, func(c *OIDCConfig) { c.RequireHostedDomain = []string{"example.com"} })
			u, err := finish(t, o, callback())
			if err != nil {
				t.Fatal(err)
			}
			p.claims = with(p.claims, tc.changes)
			_, next, err := recheck(t, o, u.Upstream)
			if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if !strings.Contains(string(next), testRefresh+"+") {
				t.Errorf("the new refresh token is lost: %q", next)
			}
		})
	}
	t.Run("signed by somebody else", func(t *testing.T) {
		p := newIDP(t)
		p.offline(nil)
		o := p.provider(t)
		u, err := finish(t, o, callback())
		if err != nil {
			t.Fatal(err)
		}
		p.sign = signer(newRSAKey(), "key-1", "RS256")
		if _, _, err := recheck(t, o, u.Upstream); !errors.Is(err, ErrRefused) {
			t.Errorf("error %v", err)
		}
	})
}

func TestRecheckWithoutAnIDToken(t *testing.T) {
	without := func(answer map[string]any) { delete(answer, "id_token"); delete(answer, "refresh_token") }
	for _, tc := range []struct {
		name     string
		userInfo map[string]any
		endpoint bool
		email    string
		want     error
	}{
		{"asks UserInfo", map[string]any{"sub": "user-1", "email": "u@example.com", "email_verified": true}, true, "u@example.com", nil},
		{"takes no address for none", map[string]any{"sub": "user-1"}, true, "", nil},
		{"refuses UserInfo about another subject", map[string]any{"sub": "hostile", "email": "u@example.com"}, true, "", ErrRefused},
		{"waits for UserInfo that is down", nil, true, "", ErrUnavailable},
		{"takes the refresh itself where there is no UserInfo", nil, false, "Ann@example.com", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.offline(without)
			if !tc.endpoint {
				p.discovery = with(p.discovery, map[string]any{"userinfo_endpoint": nil})
			}
			p.userInfo = tc.userInfo
			o := p.provider(t)
			u, err := finish(t, o, callback())
			if err != nil {
				t.Fatal(err)
			}
			got, next, err := recheck(t, o, u.Upstream)
			if !errors.Is(err, tc.want) || tc.want == nil && err != nil || got.Email != tc.email {
				t.Errorf("%+v, %v; want %s, %v", got, err, tc.email, tc.want)
			}
			if !strings.Contains(string(next), testRefresh) {
				t.Errorf("the refresh token is lost: %q", next)
			}
			if n := p.count("/userinfo"); tc.endpoint && n != 1 {
				t.Errorf("UserInfo was asked %d times", n)
			}
		})
	}
}

func TestWhichRefreshTokensAreKept(t *testing.T) {
	for _, tc := range []struct {
		name   string
		more   map[string]any
		change func(*OIDCConfig)
		want   bool
	}{
		{"one that says nothing of its life", nil, nil, true},
		{"one without an end", map[string]any{"refresh_expires_in": 0}, nil, true},
		{"one of a day", map[string]any{"refresh_expires_in": 24 * 3600}, nil, true},
		{"one that ends with a short session", map[string]any{"refresh_expires_in": 1800}, nil, false},
		{"none", map[string]any{"refresh_token": nil}, nil, false},
		{"one that the operator does not want", nil, func(c *OIDCConfig) { c.DisableRecheck = true }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			p.handle("/token", func(w http.ResponseWriter, r *http.Request) {
				answer := map[string]any{
					"access_token": testAccess, "token_type": "Bearer", "id_token": p.sign(mustJSON(p.claims)), "refresh_token": testRefresh,
				}
				writeJSON(w, with(answer, tc.more))
			})
			o := p.provider(t)
			if tc.change != nil {
				o = p.provider(t, tc.change)
			}
			u, err := finish(t, o, callback())
			if err != nil || (len(u.Upstream) > 0) != tc.want {
				t.Errorf("%v; kept %t, want %t", err, len(u.Upstream) > 0, tc.want)
			}
		})
	}
}

func TestRecheckRefusesWhatItDidNotMake(t *testing.T) {
	p := newIDP(t)
	for _, upstream := range []string{"", "null", "{}", `{"r":"x"}`, `{"u":{"Subject":"user-1"}}`, hostile} {
		for _, r := range []Rechecker{p.provider(t), newTestGitHub(t, newFakeGitHub(t))} {
			if _, next, err := recheck(t, r, []byte(upstream)); !errors.Is(err, ErrRefused) || next != nil {
				t.Errorf("%T with %q: %q, %v", r, upstream, next, err)
			}
		}
	}
	if n := p.count("/token"); n != 0 {
		t.Errorf("the provider was asked %d times", n)
	}
}

func TestRecheckGivesUp(t *testing.T) {
	p := newIDP(t)
	p.offline(nil)
	o := p.provider(t, func(c *OIDCConfig) { c.HTTPClient = &http.Client{Timeout: 50 * time.Millisecond} })
	u, err := finish(t, o, callback())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	p.handle("/token", func(http.ResponseWriter, *http.Request) { <-done })
	if _, _, err := recheck(t, o, u.Upstream); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

func TestEndSession(t *testing.T) {
	for _, tc := range []struct {
		name, endpoint, want string
	}{
		{"an address", "/logout", "/logout?client_id=client-1&id_token_hint=hint&post_logout_redirect_uri=https%3A%2F%2Fmcp.example.com%2Fout"},
		{"an address with a query", "/logout?a=b", "/logout?a=b&client_id=client-1&id_token_hint=hint&post_logout_redirect_uri=https%3A%2F%2Fmcp.example.com%2Fout"},
		{"none", "", ""},
		{"a script", "javascript:hostile()", ""},
		{"a plain one elsewhere", "http://hostile.example/logout", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			endpoint := tc.endpoint
			if strings.HasPrefix(endpoint, "/") {
				endpoint = p.URL + endpoint
			}
			p.discovery["end_session_endpoint"] = endpoint
			o := p.provider(t)
			if got := strings.TrimPrefix(o.EndSession(t.Context(), "hint", "https://mcp.example.com/out"), p.URL); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			u, err := finish(t, o, callback())
			if err != nil || (u.LogoutHint != "") != (tc.want != "") {
				t.Errorf("hint %q, %v", u.LogoutHint, err)
			}
		})
	}
	t.Run("an ID token that fits into no address", func(t *testing.T) {
		p := newIDP(t)
		p.discovery["end_session_endpoint"] = p.URL + "/logout"
		p.claims["padding"] = strings.Repeat("x", maxLogoutHint)
		o := p.provider(t)
		u, err := finish(t, o, callback())
		if err != nil || u.LogoutHint != "" {
			t.Errorf("hint of %d bytes, %v", len(u.LogoutHint), err)
		}
		if got := o.EndSession(t.Context(), "", "https://mcp.example.com/out"); got == "" || strings.Contains(got, "id_token_hint") {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a provider that is down", func(t *testing.T) {
		p := newIDP(t)
		o := p.provider(t)
		p.Close()
		if got := o.EndSession(t.Context(), "hint", "https://mcp.example.com/out"); got != "" {
			t.Errorf("got %s", got)
		}
	})
}
