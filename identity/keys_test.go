package identity

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestKeyRollover(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	signIn := func() error { _, err := finish(t, o, callback()); return err }
	if err := signIn(); err != nil {
		t.Fatal(err)
	}
	p.clock.advance(keysRest + time.Second)
	p.rollKey("key-2", newRSAKey())
	if err := signIn(); err != nil {
		t.Errorf("with the new key: %v", err)
	}
	if n := p.count("/keys"); n != 2 {
		t.Errorf("keys were fetched %d times, want twice", n)
	}
	if err := signIn(); err != nil || p.count("/keys") != 2 {
		t.Errorf("once more: %v after %d fetches", err, p.count("/keys"))
	}
}

func TestAFloodOfUnknownKeysReachesTheProviderOnce(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	p.sign = signer(testKey(), "unknown", "RS256")
	flood := func() {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := finish(t, o, callback()); !errors.Is(err, ErrRefused) {
					t.Errorf("got %v, want %v", err, ErrRefused)
				}
			})
		}
		all.Wait()
	}
	flood()
	if n := p.count("/keys"); n != 1 {
		t.Errorf("keys were fetched %d times, want once", n)
	}
	p.clock.advance(keysRest)
	flood()
	if n := p.count("/keys"); n != 1 {
		t.Errorf("after 30 s keys were fetched %d times, want still once", n)
	}
	p.clock.advance(time.Second)
	flood()
	if n := p.count("/keys"); n != 2 {
		t.Errorf("after 31 s keys were fetched %d times, want twice", n)
	}
}

func TestAWithdrawnKeyIsForgotten(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	if _, err := finish(t, o, callback()); err != nil {
		t.Fatal(err)
	}
	stolen := p.sign
	p.rollKey("key-2", newRSAKey())
	p.sign = stolen
	p.clock.advance(keysLife + time.Second)
	if _, err := finish(t, o, callback()); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want %v", err, ErrRefused)
	}
}

func TestKeysThatCannotBeHad(t *testing.T) {
	symmetric, _ := json.Marshal(jose.JSONWebKey{Key: []byte(strings.Repeat("k", 32)), KeyID: "key-1"})
	private, _ := json.Marshal(jose.JSONWebKey{Key: testKey(), KeyID: "key-1"})
	encryption, _ := json.Marshal(jose.JSONWebKey{Key: testKey().Public(), KeyID: "key-1", Use: "enc"})
	raw := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
	}{
		{"out of order", func(w http.ResponseWriter, r *http.Request) { http.Error(w, hostile, 500) }},
		{"garbage", raw(hostile)},
		{"no keys", raw(`{"keys":[]}`)},
		{"symmetric keys only", raw(`{"keys":[` + string(symmetric) + `]}`)},
		{"private keys only", raw(`{"keys":[` + string(private) + `]}`)},
		{"encryption keys only", raw(`{"keys":[` + string(encryption) + `]}`)},
		{"a huge set", raw(`{"keys":[],"x":"` + strings.Repeat("x", 2<<20) + `"}`)},
		{"a redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://hostile.example/", http.StatusFound)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newIDP(t)
			o := p.provider(t)
			p.handle("/keys", tc.h)
			if _, err := finish(t, o, callback()); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("got %v, want %v", err, ErrUnavailable)
			}
			p.handle("/keys", nil)
			p.clock.advance(retryAfter)
			if _, err := finish(t, o, callback()); err != nil {
				t.Errorf("after the keys are back: %v", err)
			}
		})
	}
}

// Somebody must not get in because the keys cannot be asked for again.
func TestANewKeyWhileTheKeySetIsDown(t *testing.T) {
	p := newIDP(t)
	o := p.provider(t)
	if _, err := finish(t, o, callback()); err != nil {
		t.Fatal(err)
	}
	p.clock.advance(keysRest + time.Second)
	p.rollKey("key-2", newRSAKey())
	p.handle("/keys", func(w http.ResponseWriter, r *http.Request) { http.Error(w, hostile, 500) })
	if _, err := finish(t, o, callback()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want %v", err, ErrUnavailable)
	}
	p.handle("/keys", nil)
	p.clock.advance(retryAfter)
	if _, err := finish(t, o, callback()); err != nil {
		t.Errorf("after the keys are back: %v", err)
	}
}

func TestKeysAreSkippedThatNobodyUnderstands(t *testing.T) {
	good, _ := json.Marshal(jose.JSONWebKey{Key: testKey().Public(), KeyID: "key-1"})
	body := `{"keys":[{"kty":"hostile"},7,null,{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},` + string(good) + `]}`
	keys, err := fetchKeys(func(into any) error { return json.Unmarshal([]byte(body), into) })
	if err != nil || len(keys) != 1 || keys[0].KeyID != "key-1" {
		t.Errorf("got %d keys, %v", len(keys), err)
	}
}

// A key that is declared for one algorithm is not used with another one, even an allowed one.
func TestAKeyIsBoundToItsAlgorithm(t *testing.T) {
	p := newIDP(t)
	p.keys[0].Algorithm = "RS512"
	if _, err := finish(t, p.provider(t), callback()); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want %v", err, ErrRefused)
	}
}

func FuzzFinishWithAnyIDToken(f *testing.F) {
	p := newIDP(f)
	o := p.provider(f)
	claims, _ := json.Marshal(p.claims)
	good := p.sign(string(claims))
	f.Add(good)
	f.Add(good + "=")
	f.Add(unsigned("none", string(claims)))
	f.Add("{}")
	f.Add(rand.Text())
	md, err := o.metadata(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	parts := strings.Split(good, ".")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := o.verify(t.Context(), md, token, testAttempt.Nonce)
		if err != nil {
			return
		}
		// Only what the provider signed is believed, whatever encloses it.
		if got := strings.Split(strings.TrimSpace(token), "."); len(got) != 3 || got[0] != parts[0] || c.text("sub") != "user-1" {
			t.Errorf("accepted %q with claims %v", token, c)
		}
	})
}
