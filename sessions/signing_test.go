package sessions_test

import (
	"crypto"
	"encoding/base64"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

func signingKey(t *testing.T, r *sessions.Ring, tenant string) sessions.SigningKey {
	t.Helper()
	key, err := r.SigningKey(tenant)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestReplicasSignWithTheSameKeyAndTenantsWithTheirOwn(t *testing.T) {
	c := newClock()
	store := memstore.New(c.Now)
	a, b := newVault(t, store, c), newVault(t, store, c)
	one := signingKey(t, a.Ring, tenant)
	if two := signingKey(t, b.Ring, tenant); one.ID != two.ID || !one.Private.Equal(two.Private) {
		t.Error("two replicas have different keys")
	}
	if other := signingKey(t, a.Ring, "https://other.example.com"); other.ID == one.ID || other.Private.Equal(one.Private) {
		t.Error("two tenants share a key")
	}
	jwk := jose.JSONWebKey{Key: one.Private.Public()}
	want, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil || one.ID != base64.RawURLEncoding.EncodeToString(want) {
		t.Errorf("id %s is not the thumbprint, %v", one.ID, err)
	}
}

func TestSigningKeysOverlapWhenTheRingRotates(t *testing.T) {
	c := newClock()
	v := newVault(t, memstore.New(c.Now), c)
	shown := func() map[string]bool {
		t.Helper()
		if err := v.Ring.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		keys, err := v.Ring.SigningKeys(tenant)
		if err != nil {
			t.Fatal(err)
		}
		ids := make(map[string]bool)
		for _, key := range keys {
			ids[key.ID] = true
		}
		return ids
	}
	first := signingKey(t, v.Ring, tenant).ID
	if ids := shown(); len(ids) != 1 || !ids[first] {
		t.Fatalf("a new ring shows %v", ids)
	}

	c.Advance(90 * 24 * time.Hour)
	ids := shown()
	if len(ids) != 2 || !ids[first] || signingKey(t, v.Ring, tenant).ID != first {
		t.Fatalf("right after the rotation %v are shown, want the next key shown before it signs", ids)
	}
	c.Advance(2 * time.Hour)
	second := signingKey(t, v.Ring, tenant).ID
	if ids = shown(); second == first || !ids[first] || !ids[second] {
		t.Errorf("after the next key took over %v are shown, want both", ids)
	}
	c.Advance(24 * time.Hour)
	if ids = shown(); len(ids) != 1 || !ids[second] {
		t.Errorf("a day later %v are shown, want the new one only", ids)
	}
}

func TestSigningKeysOfGivenSecrets(t *testing.T) {
	ring := staticRing(t, secretTwo, secretOne)
	keys, err := ring.SigningKeys(tenant)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v; want one for each secret", len(keys), err)
	}
	if signingKey(t, ring, tenant).ID != keys[0].ID {
		t.Error("it is not the first secret that signs")
	}
	if signingKey(t, staticRing(t, secretOne), tenant).ID != keys[1].ID {
		t.Error("the key of a secret depends on the others")
	}
}

func TestNobodySignsBeforeTheRingIsLoaded(t *testing.T) {
	ring, err := sessions.NewRing(sessions.RingConfig{Store: memstore.New(nil)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ring.SigningKey(tenant)
	wantErr(t, "SigningKey", err, sessions.ErrUnavailable)
	_, err = ring.SigningKeys(tenant)
	wantErr(t, "SigningKeys", err, sessions.ErrUnavailable)
}
