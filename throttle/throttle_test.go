package throttle

import (
	"testing"
	"time"
)

func TestThrottleForgetsTheOldest(t *testing.T) {
	th := New(1, time.Minute, 3)
	now := time.Unix(1_700_000_000, 0)
	for _, key := range []string{"a", "b", "a", "c", "d"} { // b is unused the longest when d comes
		th.Take(key, now)
	}
	if len(th.buckets) != 3 || th.byUse.Len() != 3 {
		t.Fatalf("%d keys are remembered, want 3", len(th.buckets))
	}
	for key, limited := range map[string]bool{"a": true, "c": true, "d": true, "b": false} {
		if _, known := th.buckets[key]; known != limited {
			t.Errorf("%s is remembered: %v, want %v", key, known, limited)
		}
	}
	th.GiveBack("nobody")
	if th.Take("b", now) != 0 {
		t.Error("a forgotten key is limited")
	}
}

func TestThrottleGivesNoMoreThanTheBurst(t *testing.T) {
	th := New(2, time.Minute, 3)
	now := time.Unix(1_700_000_000, 0)
	for range 10 {
		th.GiveBack("a")
	}
	th.Take("a", now)
	for range 10 {
		th.GiveBack("a")
	}
	now = now.Add(24 * time.Hour)
	got := 0
	for th.Take("a", now) == 0 {
		got++
	}
	if got != 2 {
		t.Errorf("got %d attempts, want 2", got)
	}
}

func TestAddressKey(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"IPv4", "192.0.2.1", "192.0.2.1"},
		{"IPv4 with a port", "192.0.2.1:4711", "192.0.2.1"},
		{"IPv4 in IPv6", "::ffff:192.0.2.1", "192.0.2.1"},
		{"IPv6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"IPv6 with a port", "[2001:db8:1:2::1]:443", "2001:db8:1:2::/64"},
		{"IPv6 with a zone", "fe80::1%eth0", "fe80::/64"},
		{"nothing", "", "unknown"},
		{"something else", "192.0.2.1, 10.0.0.1", "unknown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := AddressKey(tc.in); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
