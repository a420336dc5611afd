package sessions_test

import (
	"errors"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

const (
	githubURI = "https://mcp.example.com/github"
	linearURI = "https://mcp.example.com/linear"
)

func storeCredential(t *testing.T, v *sessions.Vault, user, resource, secret string) sessions.Credential {
	t.Helper()
	c, err := v.UpdateCredential(t.Context(), user, resource, time.Hour, func(c *sessions.Credential) error {
		c.Version, c.Secret = sessions.NewID(), secret
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACredentialBelongsToOneUserAndOneResource(t *testing.T) {
	eachStore(t, func(t *testing.T, c *clock, replica func() sessions.Store) {
		a, b := newVault(t, replica(), c), newVault(t, replica(), c)
		eve := sessions.User{Issuer: ada.Issuer, Subject: "eve"}.Key()
		want := storeCredential(t, a, ada.Key(), githubURI, "ghp_ada")
		storeCredential(t, a, eve, githubURI, "ghp_eve")
		if got, err := b.LoadCredential(t.Context(), ada.Key(), githubURI); err != nil || got.Secret != want.Secret || got.Version != want.Version {
			t.Errorf("LoadCredential: %+v, %v", got, err)
		}
		_, err := b.LoadCredential(t.Context(), ada.Key(), linearURI)
		wantErr(t, "of another resource", err, sessions.ErrNotFound)
		other := *b
		other.Tenant = "https://other.example.com"
		_, err = other.LoadCredential(t.Context(), ada.Key(), githubURI)
		wantErr(t, "at another tenant", err, sessions.ErrNotFound)

		_, err = a.UpdateCredential(t.Context(), ada.Key(), githubURI, time.Hour, func(c *sessions.Credential) error {
			c.User = eve
			return nil
		})
		if err == nil {
			t.Error("a credential passed to another user")
		}
		if got, err := a.TakeCredential(t.Context(), ada.Key(), githubURI); err != nil || got.Secret != "ghp_ada" {
			t.Errorf("TakeCredential: %+v, %v", got, err)
		}
		_, err = b.TakeCredential(t.Context(), ada.Key(), githubURI)
		wantErr(t, "taken twice", err, sessions.ErrNotFound)
		if got, err := b.LoadCredential(t.Context(), eve, githubURI); err != nil || got.Secret != "ghp_eve" {
			t.Errorf("the other user's: %+v, %v", got, err)
		}
		c.Advance(time.Hour)
		_, err = b.LoadCredential(t.Context(), eve, githubURI)
		wantErr(t, "after its time", err, sessions.ErrNotFound)
	})
}

// Whoever can write to the store but holds no key cannot give one person's credential to another.
func TestACredentialMovedInTheStoreDoesNotOpen(t *testing.T) {
	v, _ := memVault(t)
	storeCredential(t, v, ada.Key(), githubURI, "ghp_ada")
	eve := sessions.User{Issuer: ada.Issuer, Subject: "eve"}.Key()
	storeCredential(t, v, eve, githubURI, "ghp_eve")
	keys, err := v.Store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var moved []string
	values := make(map[string][]byte)
	for _, key := range keys {
		if key != "keyring" {
			moved = append(moved, key)
			if values[key], err = v.Store.Get(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(moved) != 2 {
		t.Fatalf("records %v", moved)
	}
	for i, key := range moved {
		if err := v.Store.Put(t.Context(), key, values[moved[1-i]], time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{ada.Key(), eve} {
		_, err := v.LoadCredential(t.Context(), user, githubURI)
		wantErr(t, "loading an exchanged record", err, sessions.ErrInvalid)
	}
}

func TestARefusedChangeLeavesTheCredential(t *testing.T) {
	v, _ := memVault(t)
	want := storeCredential(t, v, ada.Key(), githubURI, "first")
	refused := errors.New("refused")
	got, err := v.UpdateCredential(t.Context(), ada.Key(), githubURI, time.Hour, func(c *sessions.Credential) error {
		c.Secret = "second"
		return refused
	})
	if !errors.Is(err, refused) || got.Secret != "first" {
		t.Errorf("UpdateCredential: %+v, %v", got, err)
	}
	if got, err := v.LoadCredential(t.Context(), ada.Key(), githubURI); err != nil || got != want {
		t.Errorf("LoadCredential: %+v, %v", got, err)
	}
}

func TestASupersededVersionIsKnownOnEveryReplica(t *testing.T) {
	v, _ := memVault(t)
	version := sessions.NewID()
	if v.Superseded(version) {
		t.Error("superseded before")
	}
	if err := v.Supersede(t.Context(), sessions.ID{}, time.Hour); err != nil || v.Superseded(sessions.ID{}) {
		t.Errorf("the zero version: %v", err)
	}
	if err := v.Supersede(t.Context(), version, time.Hour); err != nil || !v.Superseded(version) {
		t.Errorf("Supersede: %v", err)
	}
	replica := newVault(t, v.Store, newClock())
	if !replica.Superseded(version) {
		t.Error("another replica does not know")
	}
}
