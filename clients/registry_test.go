package clients

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const tenant = "https://mcp.example.com"

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newRing(tb testing.TB) *sessions.Ring {
	tb.Helper()
	ring, err := sessions.NewRing(sessions.RingConfig{
		Secrets: [][]byte{[]byte("0123456789abcdef0123456789abcdeX")},
		Now:     func() time.Time { return now },
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := ring.Load(context.Background()); err != nil {
		tb.Fatal(err)
	}
	return ring
}

func newRegistry(tb testing.TB, change func(*Config)) *Registry {
	tb.Helper()
	config := Config{
		Ring: newRing(tb), Tenant: tenant, DynamicRegistration: true,
		Now: func() time.Time { return now },
	}
	if change != nil {
		change(&config)
	}
	return New(config)
}

func register(tb testing.TB, g *Registry, body string) (*Registration, *Client) {
	tb.Helper()
	answer, client, err := g.Register([]byte(body))
	if err != nil {
		tb.Fatalf("registering %s: %v", body, err)
	}
	return answer.(*Registration), client
}

func TestLookupOfADynamicClient(t *testing.T) {
	g := newRegistry(t, nil)
	answer, registered := register(t, g, `{"redirect_uris":["https://a.example/cb"],"client_name":"A","client_uri":"https://a.example","token_endpoint_auth_method":"none"}`)
	// Another replica with the same ring knows the client without having seen the registration.
	c, err := newRegistry(t, nil).Lookup(context.Background(), answer.ClientID)
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != answer.ClientID || c.Name != "A" || c.URI != "https://a.example" || c.Source != Dynamic || c.AuthMethod != AuthNone ||
		!c.IssuedAt.Equal(now) || !c.MayRefresh() || !c.Redirect("https://a.example/cb") || c.Redirect("https://a.example/cb2") {
		t.Errorf("%+v", c)
	}
	if c.Label() != registered.Label() || c.VerifiedHost() != "" {
		t.Errorf("label %q, verified host %q", c.Label(), c.VerifiedHost())
	}
	sum := sha256.Sum256([]byte(c.ID))
	if want := "dcr-" + hex.EncodeToString(sum[:])[:16]; c.Label() != want {
		t.Errorf("label %q, want %q", c.Label(), want)
	}
}

func TestUnknownClients(t *testing.T) {
	g := newRegistry(t, nil)
	answer, _ := register(t, g, `{"redirect_uris":["https://a.example/cb"]}`)
	id := answer.ClientID
	ring := newRing(t)
	sealed := func(k sessions.Kind, plain string) string {
		s, err := ring.Seal(k, tenant, []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, tc := range []struct {
		name, id string
		g        *Registry
	}{
		{"nothing", "", g},
		{"a word", "claude", g},
		{"the prefix", sessions.ClientID.Prefix(), g},
		{"a changed character", id[:40] + string(id[40]^1) + id[41:], g},
		{"one character less", id[:len(id)-1], g},
		{"something after it", id + "A", g},
		{"a very long id", sessions.ClientID.Prefix() + strings.Repeat("A", 1<<20), g},
		{"an id of another tenant", id, newRegistry(t, func(c *Config) { c.Tenant = "https://other.example.com" })},
		{"an id after registration was switched off", id, newRegistry(t, func(c *Config) { c.DynamicRegistration = false })},
		{"an access token", sealed(sessions.AccessToken, "x"), g},
		{"an access token in an id's clothes", sessions.ClientID.Prefix() + strings.TrimPrefix(sealed(sessions.AccessToken, "x"), sessions.AccessToken.Prefix()), g},
		{"a sealed registration that is none", sealed(sessions.ClientID, "x"), g},
		{"a URL", "https://a.example/client.json", g},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := tc.g.Lookup(context.Background(), tc.id)
			if c != nil || !errors.Is(err, ErrUnknown) {
				t.Errorf("%v, %v", c, err)
			}
			if _, err := tc.g.Authenticate(context.Background(), Credentials{ClientID: tc.id, Method: AuthNone}); !errors.Is(err, ErrUnknown) {
				t.Errorf("authenticating: %v", err)
			}
		})
	}
}

// A ring that is not loaded says nothing about the client. Were it "unknown", clients would throw
// away their registrations and tokens.
func TestRingNotLoaded(t *testing.T) {
	g := newRegistry(t, nil)
	answer, _ := register(t, g, `{"redirect_uris":["https://a.example/cb"]}`)
	down := newRegistry(t, nil)
	down.ring = unloadedRing{}
	if _, err := down.Lookup(context.Background(), answer.ClientID); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnknown) {
		t.Errorf("lookup: %v", err)
	}
	if _, _, err := down.Register([]byte(`{"redirect_uris":["https://a.example/cb"]}`)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("registration: %v", err)
	}
}

type unloadedRing struct{}

func (unloadedRing) Seal(sessions.Kind, string, []byte) (string, error) {
	return "", sessions.ErrUnavailable
}
func (unloadedRing) Open(sessions.Kind, string, string) ([]byte, error) {
	return nil, sessions.ErrUnavailable
}
func (unloadedRing) Derive(sessions.Kind, string, string) (string, error) {
	return "", sessions.ErrUnavailable
}
