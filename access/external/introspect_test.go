package external_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
)

const opaque = "ory_at_0123456789abcdef"

func introspecting(i *issuer) func(*external.Config) {
	return func(c *external.Config) {
		c.Introspection = &external.Introspection{URL: i.URL + "/introspect", ClientID: "edge:1", ClientSecret: "secret of the edge"}
	}
}

// answer is what the issuer says of a good token, with changes; nil removes a member.
func (i *issuer) answer(changes map[string]any) map[string]any {
	answer := i.claims(map[string]any{"active": true, "token_type": "Bearer"})
	for name, value := range changes {
		if answer[name] = value; value == nil {
			delete(answer, name)
		}
	}
	return answer
}

func TestIntrospection(t *testing.T) {
	i := newIssuer(t)
	now := i.clock.Now().Unix()
	type m = map[string]any
	for _, tc := range []struct {
		name    string
		changes m
		good    bool
	}{
		{"a good token", nil, true},
		{"an ended token", m{"active": false}, false},
		{"active as a text", m{"active": "true"}, false},
		{"active as a number", m{"active": 1}, false},
		{"nothing about active", m{"active": nil}, false},
		{"ACTIVE instead of active", m{"active": nil, "ACTIVE": true}, false},
		{"no issuer", m{"iss": nil}, true},
		{"another issuer", m{"iss": "https://evil.example"}, false},
		{"another audience", m{"aud": "https://other.example"}, false},
		{"no audience", m{"aud": nil}, false},
		{"no expiry", m{"exp": nil}, true},
		{"expired", m{"exp": now}, false},
		{"not valid yet", m{"nbf": now + 61}, false},
		{"no subject", m{"sub": nil}, false},
		{"a refresh token", m{"token_use": "refresh_token"}, false},
		{"an access token of Hydra", m{"token_use": "access_token"}, true},
		{"a DPoP token", m{"token_type": "DPoP"}, false},
		{"a token bound to a certificate", m{"cnf": m{"x5t#S256": "x"}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i.set(func(i *issuer) { i.answers[opaque] = nil })
			answer := i.answer(tc.changes)
			i.set(func(i *issuer) { i.answers[opaque] = answer })
			got, err := i.servers(t, introspecting(i)).Check(t.Context(), opaque, here)
			if tc.good && (err != nil || got.User.Subject != "user-1" || got.User.VerifiedEmail() != "ann@example.com" || got.Scope != "read write") {
				t.Errorf("got %+v, %v", got, err)
			}
			if !tc.good && !errors.Is(err, external.ErrInvalid) {
				t.Errorf("got %+v, %v; want ErrInvalid", got, err)
			}
		})
	}
}

func TestIntrospectionRequest(t *testing.T) {
	i := newIssuer(t)
	i.answers[opaque] = i.answer(nil)
	for _, tc := range []struct {
		name   string
		change func(*external.Introspection)
		want   string
	}{
		// RFC 6749, section 2.3.1: form-encoded before they are joined by a colon.
		{"client credentials", func(*external.Introspection) {}, "Basic ZWRnZSUzQTE6c2VjcmV0K29mK3RoZStlZGdl"},
		{"a bearer token", func(e *external.Introspection) { *e = external.Introspection{URL: e.URL, BearerToken: "key"} }, "Bearer key"},
		{"nothing", func(e *external.Introspection) { *e = external.Introspection{URL: e.URL} }, ""},
	} {
		servers := i.servers(t, func(c *external.Config) {
			introspecting(i)(c)
			tc.change(c.Introspection)
		})
		if _, err := servers.Check(t.Context(), opaque, here); err != nil {
			t.Fatal(err)
		}
		asked := i.asked[len(i.asked)-1]
		if asked.Method != "POST" || asked.URL.RawQuery != "" || asked.PostForm.Get("token") != opaque || asked.PostForm.Get("token_type_hint") != "access_token" {
			t.Errorf("%s: asked by %s %s with %v", tc.name, asked.Method, asked.URL, asked.PostForm)
		}
		if got := asked.Header.Get("Authorization"); got != tc.want {
			t.Errorf("%s: asked with %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestIntrospectionIsRemembered(t *testing.T) {
	i := newIssuer(t)
	i.answers[opaque] = i.answer(map[string]any{"exp": i.clock.Now().Add(90 * time.Second).Unix()})
	servers := i.servers(t, introspecting(i))
	wantAsked := func(what string, good bool, want int) {
		t.Helper()
		if _, err := servers.Check(t.Context(), opaque, here); (err == nil) != good {
			t.Errorf("%s: got %v", what, err)
		}
		if n := i.count("/introspect"); n != want {
			t.Errorf("%s: the issuer was asked %d times, want %d", what, n, want)
		}
	}
	wantAsked("first", true, 1)
	i.clock.Advance(59 * time.Second)
	wantAsked("within a minute", true, 1)
	i.clock.Advance(2 * time.Second)
	wantAsked("after a minute", true, 2)
	i.set(func(i *issuer) { i.answers[opaque] = nil })
	i.clock.Advance(28 * time.Second)
	wantAsked("in its last second", true, 2)
	i.clock.Advance(2 * time.Second)
	wantAsked("after its end", false, 3)
	wantAsked("refused a moment ago", false, 3)
	i.clock.Advance(6 * time.Second)
	wantAsked("refused some time ago", false, 4)
}

func TestARevocationAtTheIssuerActsWithinAMinute(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	token := key.sign(t, i.claims(nil), nil)
	for name, text := range map[string]string{"an opaque token": opaque, "a JWT": token} {
		answer := i.answer(nil)
		i.set(func(i *issuer) { i.answers[text] = answer })
		servers := i.servers(t, introspecting(i))
		if _, err := servers.Check(t.Context(), text, here); err != nil {
			t.Fatal(err)
		}
		i.set(func(i *issuer) { i.answers[text] = nil })
		i.clock.Advance(61 * time.Second)
		if _, err := servers.Check(t.Context(), text, here); !errors.Is(err, external.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestKeysBesideIntrospectionSpareTheQuestion(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	i.answers[opaque] = i.answer(nil)
	servers := i.servers(t, func(c *external.Config) {
		introspecting(i)(c)
		c.JWKS = i.URL + "/keys"
	})
	if _, err := servers.Check(t.Context(), key.sign(t, i.claims(nil), nil), here); err != nil || i.count("/introspect") != 0 {
		t.Errorf("a JWT: %v, after %d questions", err, i.count("/introspect"))
	}
	if _, err := servers.Check(t.Context(), opaque, here); err != nil || i.count("/introspect") != 1 {
		t.Errorf("an opaque token: %v, after %d questions", err, i.count("/introspect"))
	}
}

// What is not the issuer's may be somebody's good token elsewhere.
func TestForeignTokensAreNotShownToTheIssuer(t *testing.T) {
	key := newSigner(t, "key-1", jose.ES256)
	i := newIssuer(t, key)
	servers := i.servers(t, introspecting(i))
	foreign := key.sign(t, i.claims(map[string]any{"iss": "https://other.example"}), nil)
	if _, err := servers.Check(t.Context(), foreign, here); !errors.Is(err, external.ErrInvalid) || i.count("/introspect") != 0 {
		t.Errorf("got %v, after %d questions", err, i.count("/introspect"))
	}
}

func TestManyRequestsWithOneTokenAskOnce(t *testing.T) {
	i := newIssuer(t)
	i.answers[opaque] = i.answer(nil)
	i.hold, i.arrived = make(chan struct{}), make(chan struct{}, 1)
	servers := i.servers(t, introspecting(i))
	gone, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := servers.Check(gone, opaque, here)
		first <- err
	}()
	<-i.arrived
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := servers.Check(t.Context(), opaque, here); err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
	// The first one goes away; the others must get their answer all the same.
	leave()
	if err := <-first; !errors.Is(err, external.ErrUnavailable) {
		t.Errorf("the one that left: %v", err)
	}
	close(i.hold)
	group.Wait()
	if n := i.count("/introspect"); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

func TestIntrospectionWhileTheIssuerIsDown(t *testing.T) {
	i := newIssuer(t)
	i.answers[opaque] = i.answer(nil)
	servers := i.servers(t, introspecting(i))
	if _, err := servers.Check(t.Context(), opaque, here); err != nil {
		t.Fatal(err)
	}
	i.set(func(i *issuer) { i.down = true })
	for n := range 20 {
		_, err := servers.Check(t.Context(), fmt.Sprint("another-token-", n), here)
		if !errors.Is(err, external.ErrUnavailable) || strings.Contains(err.Error(), "another-token") {
			t.Errorf("another token: %v", err)
		}
	}
	if n := i.count("/introspect"); n != 2 {
		t.Errorf("an issuer that is down was asked %d times", n)
	}
	if _, err := servers.Check(t.Context(), opaque, here); err != nil {
		t.Errorf("a token that is known: %v", err)
	}
	i.clock.Advance(61 * time.Second)
	if _, err := servers.Check(t.Context(), opaque, here); !errors.Is(err, external.ErrUnavailable) {
		t.Errorf("a token that was known: %v", err)
	}
	i.set(func(i *issuer) { i.down = false })
	i.clock.Advance(2 * time.Second)
	if _, err := servers.Check(t.Context(), opaque, here); err != nil {
		t.Errorf("once it is back: %v", err)
	}
}

// An issuer that decodes a JWT loosely knows it in every spelling; here it has one, by which it can be refused.
func TestAJWTInAnotherSpellingIsNotAskedAbout(t *testing.T) {
	i := newIssuer(t)
	signer := newSigner(t, "1", jose.ES256)
	token := signer.sign(t, i.claims(nil), nil)
	last := strings.IndexByte("AQgw", token[len(token)-1]) // 64 bytes leave four bits of the last character unused
	if last < 0 {
		t.Fatalf("the signature ends in %q", token[len(token)-1:])
	}
	respelled := token[:len(token)-1] + "BRhx"[last:last+1]
	i.answers[token], i.answers[respelled] = i.answer(nil), i.answer(nil)
	servers := i.servers(t, introspecting(i))
	if _, err := servers.Check(t.Context(), token, here); err != nil {
		t.Errorf("as it was issued: %v", err)
	}
	if _, err := servers.Check(t.Context(), respelled, here); !errors.Is(err, external.ErrInvalid) {
		t.Errorf("in another spelling: %v", err)
	}
}
