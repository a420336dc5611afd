package facade

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

func TestBegin(t *testing.T) {
	for _, tc := range []struct {
		name    string
		change  func(*Settings)
		prompt  string
		present map[string]string
		absent  []string
	}{
		{"as it is by default", func(s *Settings) { s.Scopes = nil }, "", map[string]string{"scope": "tools:read"}, []string{"nonce", "resource", "prompt"}},
		{"with an ID token", func(*Settings) {}, "", map[string]string{"scope": "openid offline_access tools:read", "nonce": nonce}, []string{"resource"}},
		{"with scopes that are longer there", func(s *Settings) { s.ScopePrefix = "api://tools/" }, "", map[string]string{"scope": "openid offline_access api://tools/tools:read"}, nil},
		{"with the resource", func(s *Settings) { s.ResourceIndicator = true }, "", map[string]string{"resource": resource}, nil},
		{"with parameters of the operator's", func(s *Settings) { s.AuthParams = map[string]string{"audience": "tools", "prompt": "consent"} }, "login",
			map[string]string{"audience": "tools", "prompt": "consent login"}, nil},
		{"with what the client wants the person to be asked", func(*Settings) {}, "login", map[string]string{"prompt": "login"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newIssuer(t)
			a := attempt()
			a.Prompt = tc.prompt
			address, err := s.provider(tc.change).Begin(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(address)
			if err != nil || !strings.HasPrefix(address, s.URL+"/authorize?") {
				t.Fatalf("%s, %v", address, err)
			}
			q := u.Query()
			for name, want := range map[string]string{
				"client_id": "edge", "redirect_uri": callback, "state": "state", "response_type": "code", "code_challenge_method": "S256",
			} {
				tc.present[name] = want
			}
			for name, want := range tc.present {
				if len(q[name]) != 1 || q.Get(name) != want {
					t.Errorf("%s is %q, want %q", name, q[name], want)
				}
			}
			for _, name := range tc.absent {
				if q.Has(name) {
					t.Errorf("%s is there: %q", name, q[name])
				}
			}
			if strings.Contains(address, a.Verifier) || strings.Contains(address, secret) {
				t.Error("a secret is in the address")
			}
		})
	}
	t.Run("an attempt without a resource", func(t *testing.T) {
		a := attempt()
		a.Resource = ""
		if _, err := newIssuer(t).provider().Begin(t.Context(), a); err == nil {
			t.Error("it began")
		}
	})
	t.Run("while the provider is down", func(t *testing.T) {
		s := newIssuer(t)
		p := s.provider()
		s.Close()
		if _, err := p.Begin(t.Context(), attempt()); !errors.Is(err, identity.ErrUnavailable) {
			t.Errorf("Begin: %v", err)
		}
		if err := p.Ready(t.Context()); !errors.Is(err, identity.ErrUnavailable) {
			t.Errorf("Ready: %v", err)
		}
	})
}

func TestFinish(t *testing.T) {
	s := newIssuer(t)
	p := s.provider(func(s *Settings) { s.ResourceIndicator = true })
	user, err := p.Finish(t.Context(), attempt(), url.Values{"code": {"c"}, "state": {"state"}})
	if err != nil {
		t.Fatal(err)
	}
	if user.Issuer != s.URL || user.Subject != "alice" || user.VerifiedEmail() != "alice@example.com" {
		t.Errorf("signed in %+v", user)
	}
	form := s.lastForm()
	if form.Get("code_verifier") != attempt().Verifier || form.Get("redirect_uri") != callback || form.Get("resource") != resource {
		t.Errorf("the provider was asked with %v", form)
	}
	issued, err := p.Issued(user.Upstream)
	if err != nil || strings.Count(issued.AccessToken, ".") != 2 || issued.Scope != "tools:read" || !issued.Refreshable {
		t.Errorf("%+v, %v", issued, err)
	}
	if left := time.Until(issued.ExpiresAt); left < 29*time.Minute || left > 31*time.Minute {
		t.Errorf("it lives %s; the provider says 30m in its answer and an hour in the token", left)
	}
	if s.gaveBack() != 0 {
		t.Error("something was given back")
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	unfit := func(why authserver.Unfitness) func(error) bool {
		return func(err error) bool {
			e := new(authserver.UnfitError)
			return errors.As(err, &e) && e.Why == why
		}
	}
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	refused := is(identity.ErrRefused)
	for _, tc := range []struct {
		name   string
		set    func(*issuer)
		params string
		want   func(error) bool
		back   int // how many tokens are given back
	}{
		{"of another server", nil, "code=c&iss=https://evil.example", refused, 0},
		{"unmarked, though the provider marks its answers", func(s *issuer) { s.marks = true }, "code=c", refused, 0},
		{"with somebody's own words", nil, "error=%3Cscript%3E&error_description=Call+0800", refused, 0},
		{"of a person who declined", nil, "error=access_denied", is(identity.ErrDenied), 0},
		{"with two codes", nil, "code=c&code=d", refused, 0},
		{"with a code that the provider refuses", func(s *issuer) { s.status, s.problem = 400, "invalid_grant" }, "code=c", refused, 0},
		{"with a client that the provider refuses", func(s *issuer) { s.status, s.problem = 401, "invalid_client" }, "code=c", refused, 0},
		{"while the provider fails", func(s *issuer) { s.status, s.problem = 500, "server_error" }, "code=c", is(identity.ErrUnavailable), 0},
		{"without an ID token", func(s *issuer) { s.id = nil }, "code=c", refused, 2},
		{"with the ID token of another sign-in", func(s *issuer) { s.id["nonce"] = "another" }, "code=c", refused, 2},
		{"with an ID token without nonce", func(s *issuer) { s.id["nonce"] = nil }, "code=c", refused, 2},
		{"with the ID token of another client", func(s *issuer) { s.id["aud"] = "another" }, "code=c", refused, 2},
		{"with an ID token for several, issued to another", func(s *issuer) { s.id["aud"], s.id["azp"] = []string{"edge", "another"}, "another" }, "code=c", refused, 2},
		{"with the ID token of another issuer", func(s *issuer) { s.id["iss"] = "https://evil.example" }, "code=c", refused, 2},
		{"with an ID token that has expired", func(s *issuer) { s.id["exp"] = 1 }, "code=c", refused, 2},
		{"with a token for something else", func(s *issuer) { s.access = map[string]any{"aud": "https://graph.example"} }, "code=c", unfit(authserver.OtherAudience), 2},
		{"with a token for another resource of ours", func(s *issuer) { s.access = map[string]any{"aud": "https://mcp.example.com/other"} }, "code=c", unfit(authserver.OtherAudience), 2},
		{"with a token for both", func(s *issuer) { s.access = map[string]any{"aud": []string{resource, "https://mcp.example.com/other"}} }, "code=c", unfit(authserver.TooWide), 2},
		{"with a token for nothing", func(s *issuer) { s.access = map[string]any{"aud": nil} }, "code=c", unfit(authserver.OtherAudience), 2},
		{"with a token that lacks a scope", func(s *issuer) { s.access = map[string]any{"scope": "profile"} }, "code=c", unfit(authserver.TooNarrow), 2},
		{"with a token of another issuer", func(s *issuer) { s.access = map[string]any{"iss": "https://evil.example"} }, "code=c", unfit(authserver.Unreadable), 2},
		{"with a token that nobody can read", func(s *issuer) { s.opaque = true }, "code=c", unfit(authserver.Unreadable), 2},
		{"with the ID token as access token", func(s *issuer) { s.access = map[string]any{"at_hash": "x"} }, "code=c", unfit(authserver.Unreadable), 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newIssuer(t)
			if tc.set != nil {
				tc.set(s)
			}
			params, err := url.ParseQuery(tc.params)
			if err != nil {
				t.Fatal(err)
			}
			user, err := s.provider().Finish(t.Context(), attempt(), params)
			if err == nil || !tc.want(err) || user.Subject != "" || user.Upstream != nil {
				t.Fatalf("%+v, %v", user, err)
			}
			if n := s.gaveBack(); n != tc.back {
				t.Errorf("%d tokens were given back, want %d", n, tc.back)
			}
			for _, foreign := range []string{"script", "0800", "nobody should read", "eyJ", secret, "refresh-"} {
				if strings.Contains(err.Error(), foreign) {
					t.Errorf("the error has %q in it: %v", foreign, err)
				}
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Settings)
		want   string
	}{
		{"a parameter of the flow", func(s *Settings) { s.AuthParams = map[string]string{"redirect_uri": "https://evil.example"} }, "redirect_uri"},
		{"another response mode", func(s *Settings) { s.AuthParams = map[string]string{"response_mode": "form_post"} }, "response_mode"},
		{"the resource twice", func(s *Settings) { s.ResourceIndicator, s.AuthParams = true, map[string]string{"resource": "x"} }, "resource_indicator"},
		{"a prefix of two words", func(s *Settings) { s.ScopePrefix = "a b" }, "scope_prefix"},
		{"no client", func(s *Settings) { s.ClientID = "" }, "client_id"},
		{"plain http", func(s *Settings) { s.Issuer = "http://login.example.com" }, "https"},
		{"one endpoint of two", func(s *Settings) { s.TokenEndpoint = "https://login.example.com/token" }, "belong together"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			settings := Settings{Issuer: "https://login.example.com", ClientID: "edge"}
			tc.change(&settings)
			if _, err := New(settings); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	client, err := New(Settings{Issuer: "https://login.example.com/tenant", ClientID: "edge"})
	if err != nil || client.Name() != "login.example.com" || client.ID() != ID {
		t.Errorf("%v, %v", client, err)
	}
}

// A refresh brings another access token and, as a rule, another refresh token.
func TestRecheck(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*issuer)
		want error // nil: good
		unfit,
		replaced bool
	}{
		{"good", nil, nil, false, true},
		{"a token for something else", func(s *issuer) { s.access = map[string]any{"aud": "https://graph.example"} }, nil, true, true},
		{"the grant has ended", func(s *issuer) { s.status, s.problem = 400, "invalid_grant" }, identity.ErrDenied, false, false},
		{"the account needs attention", func(s *issuer) { s.status, s.problem = 400, "interaction_required" }, identity.ErrDenied, false, false},
		{"our client is refused", func(s *issuer) { s.status, s.problem = 401, "invalid_client" }, identity.ErrRefused, false, false},
		{"the provider fails", func(s *issuer) { s.status, s.problem = 503, "" }, identity.ErrUnavailable, false, false},
		{"too many questions", func(s *issuer) { s.status, s.problem = 429, "" }, identity.ErrUnavailable, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newIssuer(t)
			p := s.provider(func(s *Settings) { s.ResourceIndicator = true })
			user, err := p.Finish(t.Context(), attempt(), url.Values{"code": {"c"}})
			if err != nil {
				t.Fatal(err)
			}
			before, err := open(user.Upstream)
			if err != nil {
				t.Fatal(err)
			}
			if tc.set != nil {
				s.set(func() { tc.set(s) })
			}
			again, upstream, err := p.Recheck(t.Context(), user.Upstream)
			e := new(authserver.UnfitError)
			if good := tc.want == nil && !tc.unfit; (err == nil) != good || tc.want != nil && !errors.Is(err, tc.want) || errors.As(err, &e) != tc.unfit {
				t.Fatalf("Recheck: %v", err)
			}
			if form := s.lastForm(); form.Get("grant_type") != "refresh_token" || form.Get("refresh_token") != before.Refresh || form.Get("resource") != resource {
				t.Errorf("the provider was asked with %v", form)
			}
			if (upstream != nil) != tc.replaced {
				t.Fatalf("what is kept is replaced: %t", upstream != nil)
			}
			if upstream == nil {
				return
			}
			after, err := open(upstream)
			if err != nil || after.Refresh == before.Refresh || (after.Access == before.Access) != tc.unfit {
				t.Errorf("kept %+v, %v", after, err)
			}
			if !tc.unfit && (again.Subject != "alice" || again.Issuer != s.URL) {
				t.Errorf("it is %+v now", again)
			}
		})
	}
	t.Run("without a refresh token", func(t *testing.T) {
		_, _, err := newIssuer(t).provider().Recheck(t.Context(), []byte(`{"t":"`+resource+`","a":"access"}`))
		if !errors.Is(err, identity.ErrDenied) {
			t.Errorf("Recheck: %v", err)
		}
	})
	t.Run("of what cannot be read", func(t *testing.T) {
		if _, _, err := newIssuer(t).provider().Recheck(t.Context(), []byte(`{`)); !errors.Is(err, identity.ErrRefused) {
			t.Errorf("Recheck: %v", err)
		}
	})
}

func TestOwnerAndRevoke(t *testing.T) {
	s := newIssuer(t)
	p := s.provider()
	user, err := p.Finish(t.Context(), attempt(), url.Values{"code": {"c"}})
	if err != nil {
		t.Fatal(err)
	}
	issued, err := p.Issued(user.Upstream)
	if err != nil {
		t.Fatal(err)
	}
	if owner, err := p.Owner(t.Context(), issued.AccessToken); err != nil || owner.Subject != "alice" {
		t.Errorf("Owner: %+v, %v", owner, err)
	}
	if owner, err := p.Owner(t.Context(), s.sign(map[string]any{"iss": s.URL, "sub": "alice", "aud": "https://graph.example"}, nil)); err == nil {
		t.Errorf("the owner of a token for something else: %+v", owner)
	}
	if err := p.RevokeAccess(t.Context(), issued.AccessToken); err != nil || s.gaveBack() != 1 {
		t.Errorf("RevokeAccess: %v", err)
	}
	if err := p.Revoke(t.Context(), user.Upstream); err != nil || s.gaveBack() != 3 {
		t.Errorf("Revoke: %v", err)
	}
	for status, again := range map[int]bool{http.StatusServiceUnavailable: true, http.StatusBadRequest: false} {
		s.set(func() { s.revoking = status })
		if err := p.Revoke(t.Context(), user.Upstream); err == nil || errors.Is(err, identity.ErrUnavailable) != again {
			t.Errorf("status %d: %v", status, err)
		}
	}
}
