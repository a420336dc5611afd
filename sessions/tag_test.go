package sessions_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/memstore"
)

func TestTag(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	clock := func() time.Time { return now }
	store := memstore.New(clock)
	newRing := func() *sessions.Ring {
		ring, err := sessions.NewRing(sessions.RingConfig{Store: store, Now: clock, Rotation: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	ring, replica := newRing(), newRing()
	if _, err := ring.Tag([]byte("m")); !errors.Is(err, sessions.ErrUnavailable) {
		t.Errorf("a tag without keys: %v", err)
	}
	load := func() {
		for _, r := range []*sessions.Ring{ring, replica} {
			if err := r.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	load()
	tag, err := ring.Tag([]byte("m"))
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := replica.Tag([]byte("m")); !bytes.Equal(tag, again) {
		t.Error("replicas tag differently")
	}
	if !replica.Verify([]byte("m"), tag) {
		t.Error("another replica does not know the tag")
	}
	for name, wrong := range map[string][]byte{"of another message": nil, "cut": tag[:8], "empty": {}, "longer": append(bytes.Clone(tag), 0)} {
		message := []byte("m")
		if wrong == nil {
			message, wrong = []byte("n"), tag
		}
		if ring.Verify(message, wrong) {
			t.Errorf("a tag %s is accepted", name)
		}
	}
	for range 3 {
		now = now.Add(25 * time.Hour)
		load()
	}
	if later, _ := ring.Tag([]byte("m")); bytes.Equal(tag, later) {
		t.Error("the ring rotated and tags as before")
	}
	if !ring.Verify([]byte("m"), tag) {
		t.Error("a tag of an older key is not known any more")
	}
}
