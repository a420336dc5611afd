package assertion

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

const issuer = "https://mcp.example.com"

type fixture struct {
	*Signer
	now        time.Time
	signatures int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	ring, err := sessions.NewRing(sessions.RingConfig{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{now: time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)}
	f.Signer = New(Config{Keys: ring, Issuer: issuer, Lifetime: time.Minute, Now: func() time.Time { return f.now }})
	f.sign = func(k sessions.SigningKey, c any) (string, error) {
		f.signatures++
		return sign(k, c)
	}
	return f
}

func (f *fixture) access() sessions.Access {
	return sessions.Access{
		ID: sessions.ID{1}, Grant: sessions.ID{2}, IssuedAt: f.now.Unix(), ExpiresAt: f.now.Add(time.Hour).Unix(),
		Resource: issuer + "/github", Scope: "read write", UserIssuer: "https://idp.example", Subject: "ada",
		Email: "ada@example.com", Name: "Ada “Countess” Lovelace", Groups: "engineering,staff", ClientID: "dcr-01", ClientName: "Claude",
	}
}

func (f *fixture) must(t *testing.T, a sessions.Access) string {
	t.Helper()
	text, err := f.For(&a)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// verify reads an assertion as an upstream does, with the published keys only.
func (f *fixture) verify(t *testing.T, text string) map[string]any {
	t.Helper()
	document, err := f.KeySet()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(document), `"d":`) {
		t.Fatal("the key set holds a private key")
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(document, &set); err != nil {
		t.Fatal(err)
	}
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	header := token.Headers[0]
	keys := set.Key(header.KeyID)
	if len(keys) != 1 || header.ExtraHeaders["typ"] != "JWT" || keys[0].Use != "sig" || keys[0].Algorithm != "ES256" {
		t.Fatalf("header %+v, keys %+v", header, keys)
	}
	var c map[string]any
	if err := token.Claims(keys[0].Key, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnAssertionSaysWhoCalls(t *testing.T) {
	f := newFixture(t)
	got := f.verify(t, f.must(t, f.access()))
	if id, _ := got["jti"].(string); len(id) != 32 {
		t.Errorf("jti %v", got["jti"])
	}
	delete(got, "jti")
	want := map[string]any{
		"iss": issuer, "aud": issuer + "/github", "sub": "ada", "idp": "https://idp.example", "email": "ada@example.com",
		"name": "Ada “Countess” Lovelace", "groups": []any{"engineering", "staff"}, "client_id": "dcr-01", "client_name": "Claude",
		"scope": "read write", "iat": float64(f.now.Unix()), "exp": float64(f.now.Add(time.Minute).Unix()),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("claims %v, want %v", got, want)
	}
	bare := f.verify(t, f.must(t, sessions.Access{Resource: issuer, Subject: "ada"}))
	for _, name := range []string{"email", "groups", "name", "scope", "idp"} {
		if _, ok := bare[name]; ok {
			t.Errorf("%s is there although it is not known", name)
		}
	}
}

func TestOneSignatureServesManyRequests(t *testing.T) {
	f := newFixture(t)
	first := f.must(t, f.access())
	a := f.access()
	for range 29 {
		f.now = f.now.Add(time.Second)
		if f.must(t, a) != first {
			t.Fatal("another assertion within half of the life of the first")
		}
	}
	if f.signatures != 1 {
		t.Errorf("%d signatures, want 1", f.signatures)
	}
	f.now = f.now.Add(time.Second)
	if f.must(t, a) == first || f.signatures != 2 {
		t.Error("an assertion is used for longer than half of its life")
	}
}

func TestAnAssertionEndsWithItsToken(t *testing.T) {
	f := newFixture(t)
	a := f.access()
	f.now = time.Unix(a.ExpiresAt, 0).Add(-10 * time.Second)
	first := f.must(t, a)
	if exp := f.verify(t, first)["exp"]; exp != float64(a.ExpiresAt) {
		t.Errorf("exp %v, the token's is %d", exp, a.ExpiresAt)
	}
	f.now = f.now.Add(5 * time.Second)
	if f.must(t, a) == first {
		t.Error("it is used for longer than half of its life")
	}
}

func TestNoTwoTokensShareAnAssertion(t *testing.T) {
	f := newFixture(t)
	seen := map[string]string{f.must(t, f.access()): "unchanged"}
	for name, change := range map[string]func(*sessions.Access){
		"token": func(a *sessions.Access) { a.ID = sessions.ID{9} }, "grant": func(a *sessions.Access) { a.Grant = sessions.ID{9} },
		"resource": func(a *sessions.Access) { a.Resource += "x" }, "scope": func(a *sessions.Access) { a.Scope = "read" },
		"user issuer": func(a *sessions.Access) { a.UserIssuer += "x" }, "subject": func(a *sessions.Access) { a.Subject = "bob" },
		"groups": func(a *sessions.Access) { a.Groups = "" }, "client": func(a *sessions.Access) { a.ClientID = "x" },
	} {
		a := f.access()
		change(&a)
		text := f.must(t, a)
		if other, ok := seen[text]; ok {
			t.Errorf("another %s gets the assertion of another %s", name, other)
		}
		seen[text] = name
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	f := newFixture(t)
	f.sign = func(sessions.SigningKey, any) (string, error) { return "x", nil }
	a := f.access()
	for i := range maxCached + maxCached/2 {
		a.Subject = strconv.Itoa(i)
		f.must(t, a)
	}
	if n := len(f.ready); n > maxCached || n < maxCached/2 {
		t.Errorf("%d assertions are kept", n)
	}
	f.now = f.now.Add(time.Minute)
	for i := range maxCached {
		a.Subject = "later " + strconv.Itoa(i)
		f.must(t, a)
	}
	for key := range f.ready {
		if !strings.HasPrefix(key.Subject, "later") {
			t.Fatal("an assertion that is used no more takes the place of one that is")
		}
	}
}

func TestNothingIsSignedWithoutKeys(t *testing.T) {
	ring, err := sessions.NewRing(sessions.RingConfig{Store: memstore.New(nil)})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Keys: ring, Issuer: issuer, Lifetime: time.Minute})
	if text, err := s.For(new(sessions.Access)); !errors.Is(err, sessions.ErrUnavailable) || text != "" {
		t.Errorf("For: %q, %v", text, err)
	}
	if set, err := s.KeySet(); !errors.Is(err, sessions.ErrUnavailable) || set != nil {
		t.Errorf("KeySet: %s, %v", set, err)
	}
}

func TestManyRequestsAtOnce(t *testing.T) {
	f := newFixture(t)
	f.sign = sign
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 50 {
				a := f.access()
				a.Subject = strconv.Itoa((i + j) % 5)
				if text, err := f.For(&a); err != nil || text == "" {
					t.Errorf("For: %v", err)
				}
			}
		})
	}
	all.Wait()
	if n := len(f.ready); n != 5 {
		t.Errorf("%d assertions are kept, want 5", n)
	}
}

func TestReuseDoesNotAllocate(t *testing.T) {
	f := newFixture(t)
	a := f.access()
	f.must(t, a)
	if n := testing.AllocsPerRun(100, func() { _, _ = f.For(&a) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFor(b *testing.B) {
	ring, err := sessions.NewRing(sessions.RingConfig{Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdef")}})
	if err != nil {
		b.Fatal(err)
	}
	a := (&fixture{now: time.Now()}).access()
	b.Run("ready", func(b *testing.B) {
		s := New(Config{Keys: ring, Issuer: issuer, Lifetime: time.Hour})
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.For(&a)
		}
	})
	b.Run("signed", func(b *testing.B) {
		s := New(Config{Keys: ring, Issuer: issuer, Lifetime: 0})
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.For(&a)
		}
	})
}
