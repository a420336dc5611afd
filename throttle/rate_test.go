package throttle

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	type step struct {
		after           time.Duration // since start
		issuer, subject string
		times           int
		wait            time.Duration // of the last one
	}
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"a minute's worth at once, and no more", []step{{0, "i", "a", 6, 0}, {0, "i", "a", 1, 10 * time.Second}}},
		{"what was refused does not count", []step{{0, "i", "a", 50, 10 * time.Second}, {10 * time.Second, "i", "a", 1, 0}}},
		{"steadily, for ever", []step{{0, "i", "a", 6, 0}, {10 * time.Second, "i", "a", 1, 0}, {20 * time.Second, "i", "a", 1, 0}, {20 * time.Second, "i", "a", 1, 10 * time.Second}}},
		{"somebody else", []step{{0, "i", "a", 6, 0}, {0, "i", "b", 6, 0}}},
		{"the same subject of another issuer", []step{{0, "i", "a", 6, 0}, {0, "j", "a", 6, 0}}},
		{"issuer and subject the other way round", []step{{0, "i", "a", 6, 0}, {0, "a", "i", 6, 0}}},
		{"the same text for both, which must not be one bucket for all such", []step{{0, "x", "x", 6, 0}, {0, "y", "y", 6, 0}}},
		{"a long pause saves up nothing", []step{{0, "i", "a", 6, 0}, {time.Hour, "i", "a", 7, 10 * time.Second}}},
		{"a clock that is set back", []step{{time.Hour, "i", "a", 6, 0}, {time.Hour - time.Minute, "i", "a", 1, 70 * time.Second}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := NewRate(6)
			for i, s := range tc.steps {
				var wait time.Duration
				for range s.times {
					wait = r.Take(s.issuer, s.subject, start.Add(s.after))
				}
				if wait != s.wait {
					t.Errorf("step %d: wait %s, want %s", i, wait, s.wait)
				}
			}
		})
	}
}

func TestRateForgetsTheIdleAndOnlyThem(t *testing.T) {
	r := NewRate(2)
	now := time.Unix(1_700_000_000, 0)
	for i := range 100_000 {
		if i%1000 == 0 {
			now = now.Add(time.Minute) // all before are idle by now
			r.Take("i", "greedy", now)
			r.Take("i", "greedy", now)
		}
		r.Take("i", fmt.Sprint(i), now)
		if r.Take("i", "greedy", now) == 0 {
			t.Fatalf("somebody at their limit was forgotten at the %dth other person", i)
		}
	}
	kept := 0
	for i := range r.shards {
		kept += len(r.shards[i].full)
	}
	if most := rateShards * 2 * sweepFrom; kept > most {
		t.Errorf("%d people are remembered, want at most %d", kept, most)
	}
}

func TestRateIsExactWhenRaced(t *testing.T) {
	r := NewRate(500)
	now := time.Unix(1_700_000_000, 0)
	var granted atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				if r.Take("i", "a", now) == 0 {
					granted.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := granted.Load(); n != 500 {
		t.Errorf("%d requests passed, want 500", n)
	}
}

func TestRateAllocatesNothingForWhomItKnows(t *testing.T) {
	r := NewRate(1_000_000)
	now := time.Unix(1_700_000_000, 0)
	r.Take("https://idp.example", "alice", now)
	if n := testing.AllocsPerRun(100, func() { r.Take("https://idp.example", "alice", now) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkRate(b *testing.B) {
	r := NewRate(10_000_000)
	subjects := make([]string, 10_000)
	for i := range subjects {
		subjects[i] = fmt.Sprintf("1076915035000615071511%d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if r.Take("https://idp.example", subjects[i%len(subjects)], time.Unix(1_700_000_000, int64(i)*100_000)) > 0 {
			b.Fatal("limited")
		}
	}
}
