package memstore

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions/storetest"
)

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

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

func TestStore(t *testing.T) {
	c := newClock()
	storetest.Run(t, func(*testing.T) sessions.Store { return New(c.Now) }, c.Advance)
}

func TestExpiredRecordsDoNotPileUp(t *testing.T) {
	for _, tc := range []struct {
		name string
		step time.Duration // between two writes
		most int
	}{
		{"writes over hours", time.Second, 200},
		{"a flood within one sweep interval", time.Millisecond, sweepAfter + 1001},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClock()
			s := New(c.Now)
			for i := range 20_000 {
				if err := s.Put(t.Context(), fmt.Sprintf("a/%d", i), []byte("value"), time.Second); err != nil {
					t.Fatal(err)
				}
				c.Advance(tc.step)
				if len(s.records) > tc.most {
					t.Fatalf("%d records are kept after %d writes, want at most %d", len(s.records), i+1, tc.most)
				}
			}
		})
	}
}
