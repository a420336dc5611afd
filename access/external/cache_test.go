package external

import (
	"crypto/sha256"
	"strconv"
	"testing"
	"time"
)

func TestCacheIsBounded(t *testing.T) {
	c := newCache(100)
	now := time.Unix(1000, 0)
	key := func(n int) [sha256.Size]byte { return sha256.Sum256([]byte(strconv.Itoa(n))) }
	for n := range 1000 {
		c.put(key(n), &Token{ClientID: strconv.Itoa(n)}, now.Add(time.Minute), now)
		if size := len(c.young) + len(c.old); size > 100 {
			t.Fatalf("%d entries", size)
		}
	}
	if token, ok := c.get(key(999), now); !ok || token.ClientID != "999" {
		t.Errorf("the last entry: %+v, %v", token, ok)
	}
	if _, ok := c.get(key(0), now); ok {
		t.Error("the first entry is still there")
	}
	if _, ok := c.get(key(999), now.Add(time.Minute)); ok {
		t.Error("an entry that has ended is still there")
	}
}

func TestCacheForgetsWhatNobodyAsksFor(t *testing.T) {
	c := newCache(100)
	now := time.Unix(1000, 0)
	for n := range 3 {
		c.put(sha256.Sum256([]byte(strconv.Itoa(n))), nil, now.Add(entryLife), now)
		now = now.Add(entryLife + time.Second)
	}
	if size := len(c.young) + len(c.old); size != 2 {
		t.Errorf("%d entries, want those of two generations", size)
	}
}
