package authserver

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// deny admits somebody else than the people of these tests.
var deny = access.Rule{Kind: access.Email, Value: "nobody@example.net"}

func TestALinkFillsTheCodeInAndDoesNothingElse(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	b := w.newBrowser()
	for _, tc := range []struct {
		name, code string
		fills      bool
	}{
		{"the code", device.UserCode, true},
		{"the code in small letters", strings.ToLower(device.UserCode), true},
		{"no code", "", false},
		{"something else", "><script>alert(1)</script>", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			written := w.store.written()
			a := b.get(DevicePath, url.Values{"user_code": {tc.code}})
			if a.status != http.StatusOK || strings.Contains(a.body, "ticket") || strings.Contains(a.body, "Terminal") || strings.Contains(a.body, "<script>") {
				t.Errorf("status %d\n%s", a.status, a.body)
			}
			if fills := strings.Contains(a.body, `value="`+device.UserCode+`"`); fills != tc.fills {
				t.Errorf("the field is filled in: %v, want %v", fills, tc.fills)
			}
			if w.store.written() != written {
				t.Error("opening the page wrote something")
			}
		})
	}
	if a := b.send(mustRequest(t, http.MethodGet, DevicePath+"?user_code=A&user_code=B")); a.status != http.StatusBadRequest {
		t.Errorf("two codes in a link: status %d", a.status)
	}
	w.poll(device.DeviceCode).wantError(t, http.StatusBadRequest, "authorization_pending")
}

func mustRequest(t *testing.T, method, path string) *http.Request {
	t.Helper()
	return must(http.NewRequest(method, issuer+path, nil))(t)
}

func TestTheCodeFormRefuses(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	for _, tc := range []struct {
		name, code string
		header     http.Header
		status     int
	}{
		{"what is no code", "HELLO", nil, http.StatusBadRequest},
		{"a code that no device waits with", "BCDF-GHJK", nil, http.StatusNotFound},
		{"a form of another site", device.UserCode, http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		{"a form of another origin", device.UserCode, http.Header{"Origin": {"https://evil.example"}}, http.StatusForbidden},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := w.newBrowser()
			b.header = tc.header
			if a := b.enter(tc.code); a.status != tc.status || strings.Contains(a.body, "ticket") {
				t.Errorf("status %d, want %d\n%s", a.status, tc.status, a.body)
			}
		})
	}
	b := w.newBrowser()
	if a := b.post(DevicePath, url.Values{"user_code": {device.UserCode}}); a.status != http.StatusBadRequest || len(b.cookies) == 0 {
		t.Errorf("a form without the cookie of its page: status %d", a.status)
	}
	w.clock.advance(deviceLife)
	if a := w.newBrowser().enter(device.UserCode); a.status != http.StatusNotFound {
		t.Errorf("a code that has expired: status %d", a.status)
	}
	w.store.fail()
	if a := w.newBrowser().enter(device.UserCode); a.status != http.StatusServiceUnavailable {
		t.Errorf("with the store down: status %d", a.status)
	}
}

// wrongCode is the n-th of many codes that no device waits with.
func wrongCode(n int) string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	return fmt.Sprintf("BBBBBB%c%c", letters[n/20%20], letters[n%20])
}

func TestGuessingCodesIsSlowedDown(t *testing.T) {
	address := "192.0.2.1"
	w := withDevices(t, func(c *Config) { c.ClientAddr = func(*http.Request) string { return address } })
	device := w.begin()

	t.Run("in one browser at many addresses", func(t *testing.T) {
		b := w.newBrowser()
		for n := range browserGuessBurst {
			address = fmt.Sprintf("198.51.100.%d", n)
			if a := b.enter(wrongCode(n)); a.status != http.StatusNotFound {
				t.Fatalf("guess %d: status %d", n, a.status)
			}
		}
		address = "198.51.100.200"
		a := b.enter(device.UserCode)
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "60" || strings.Contains(a.body, "ticket") {
			t.Errorf("the next one, a right one: status %d, Retry-After %s", a.status, a.header.Get("Retry-After"))
		}
	})
	t.Run("at one address in many browsers", func(t *testing.T) {
		address = "203.0.113.7"
		for n := range guessBurst {
			if a := w.newBrowser().enter(wrongCode(n)); a.status != http.StatusNotFound {
				t.Fatalf("guess %d: status %d", n, a.status)
			}
		}
		if a := w.newBrowser().enter(device.UserCode); a.status != http.StatusTooManyRequests {
			t.Errorf("the next one, a right one: status %d", a.status)
		}
		w.clock.advance(guessEvery)
		if a := w.newBrowser().enter(device.UserCode); a.status != http.StatusOK {
			t.Errorf("after the time named: status %d", a.status)
		}
	})
	t.Run("but not for those who type right or make typing errors", func(t *testing.T) {
		address = "203.0.113.8"
		b := w.newBrowser()
		for range 3 * guessBurst {
			b.enter("typo")
			if a := b.enter(device.UserCode); a.status != http.StatusOK {
				t.Fatalf("status %d", a.status)
			}
		}
	})
	if got := w.trail.of(audit.DeviceCodeEntered); len(got) != browserGuessBurst+guessBurst || got[0].Allowed {
		t.Errorf("%d guesses were recorded", len(got))
	}
}

func TestAConsentTicketOfADeviceCannotBecomeACode(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	b := w.newBrowser()
	ticket := b.enter(device.UserCode).hidden(t)
	if a := w.newBrowser().decide(ticket, "allow"); a.status != http.StatusBadRequest {
		t.Errorf("in another browser: status %d", a.status)
	}
	w.clock.advance(w.Lifetimes.Login)
	if a := b.decide(ticket, "allow"); a.status != http.StatusBadRequest {
		t.Errorf("after its time: status %d", a.status)
	}
}

func TestTheDeviceFlowCanBeSwitchedOff(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{DevicePath, DeviceAuthorizationPath} {
		if w.Endpoint(path) != nil {
			t.Errorf("%s is answered", path)
		}
	}
	w.poll("mcpdc_x", "client_id", "web").wantError(t, http.StatusBadRequest, "unsupported_grant_type")
	if m := w.Metadata(); m.DeviceAuthorizationEndpoint != "" || strings.Contains(strings.Join(m.GrantTypesSupported, " "), "device_code") {
		t.Errorf("the metadata announces it: %+v", m)
	}
	on := withDevices(t).Metadata()
	if on.DeviceAuthorizationEndpoint != issuer+DeviceAuthorizationPath || !strings.Contains(strings.Join(on.GrantTypesSupported, " "), "device_code") {
		t.Errorf("switched on, the metadata does not announce it: %+v", on)
	}
}

func TestPollsForgetWhenThereAreTooMany(t *testing.T) {
	var p polls
	now := time.Unix(1_700_000_000, 0)
	for range maxPolls + 100 {
		p.tooSoon(sessions.NewID(), now)
	}
	if len(p.byDevice) > maxPolls {
		t.Errorf("%d devices are remembered, want at most %d", len(p.byDevice), maxPolls)
	}
	last := sessions.NewID()
	p.tooSoon(last, now)
	if !p.tooSoon(last, now) {
		t.Error("the newest one is forgotten")
	}
}
