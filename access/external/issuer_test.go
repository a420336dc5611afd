package external_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access/external"
)

const resource = "https://mcp.example.com/github"

func here(audience string) bool { return audience == resource }

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// signer is a key of an issuer.
type signer struct {
	id        string
	algorithm jose.SignatureAlgorithm
	private   any
	public    any
}

func newSigner(t testing.TB, id string, algorithm jose.SignatureAlgorithm) signer {
	t.Helper()
	s := signer{id: id, algorithm: algorithm}
	var err error
	switch algorithm {
	case jose.ES256:
		var key *ecdsa.PrivateKey
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err == nil {
			s.private, s.public = key, &key.PublicKey
		}
	case jose.EdDSA:
		s.public, s.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		var key *rsa.PrivateKey
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err == nil {
			s.private, s.public = key, &key.PublicKey
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sign makes a JWT; header has further header parameters.
func (s signer) sign(t testing.TB, claims any, header map[jose.HeaderKey]any) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{jose.HeaderType: "at+jwt"}}
	maps.Copy(options.ExtraHeaders, header)
	key := any(s.private)
	if s.id != "" {
		key = jose.JSONWebKey{Key: s.private, KeyID: s.id}
	}
	made, err := jose.NewSigner(jose.SigningKey{Algorithm: s.algorithm, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := made.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// issuer is an authorization server, as far as a resource sees it.
type issuer struct {
	*httptest.Server
	clock *clock

	mu       sync.Mutex
	signers  []signer
	down     bool
	counts   map[string]int
	document map[string]any            // the metadata, by path
	answers  map[string]map[string]any // of introspection, by token
	asked    []*http.Request
	hold     chan struct{} // introspection waits for it, if there is one
	arrived  chan struct{} // and says here that it does
}

func newIssuer(t testing.TB, signers ...signer) *issuer {
	t.Helper()
	i := &issuer{
		clock: &clock{now: time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)}, signers: signers,
		counts: make(map[string]int), document: make(map[string]any), answers: make(map[string]map[string]any),
	}
	i.Server = httptest.NewServer(i)
	t.Cleanup(i.Close)
	i.document["/.well-known/oauth-authorization-server"] = map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.counts[r.URL.Path]++
	down, hold := i.down, i.hold
	i.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusBadGateway)
		return
	}
	var answer any
	switch r.URL.Path {
	case "/keys":
		answer = i.keys()
	case "/introspect":
		if hold != nil {
			i.arrived <- struct{}{}
			<-hold
		}
		answer = i.introspect(r)
	default:
		i.mu.Lock()
		answer = i.document[r.URL.Path]
		i.mu.Unlock()
	}
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (i *issuer) keys() jose.JSONWebKeySet {
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jose.JSONWebKeySet
	for _, s := range i.signers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.public, KeyID: s.id, Use: "sig"})
	}
	return set
}

func (i *issuer) introspect(r *http.Request) map[string]any {
	_ = r.ParseForm()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = append(i.asked, r)
	if answer := i.answers[r.PostForm.Get("token")]; answer != nil {
		return answer
	}
	return map[string]any{"active": false}
}

func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *issuer) count(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts[path]
}

// claims are those of a good token, with changes; nil removes one.
func (i *issuer) claims(changes map[string]any) map[string]any {
	now := i.clock.Now().Unix()
	claims := map[string]any{
		"iss": i.URL, "sub": "user-1", "aud": resource, "exp": now + 3600, "iat": now, "nbf": now,
		"client_id": "client-1", "scope": "read write", "email": "ann@example.com", "email_verified": true,
		"name": "Ann", "groups": []string{"engineering", "staff"},
	}
	for name, value := range changes {
		if value == nil {
			delete(claims, name)
			continue
		}
		claims[name] = value
	}
	return claims
}

// servers makes what is tested; change may alter its configuration.
func (i *issuer) servers(t testing.TB, change func(*external.Config)) external.Servers {
	t.Helper()
	c := external.Config{Issuer: i.URL, Now: i.clock.Now}
	if change != nil {
		change(&c)
	}
	s, err := external.New(c)
	if err != nil {
		t.Fatal(err)
	}
	servers, err := external.NewServers([]*external.Server{s})
	if err != nil {
		t.Fatal(err)
	}
	return servers
}
