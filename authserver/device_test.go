package authserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// withDevices switches the device flow on and adds clients that may use it.
func withDevices(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	devices := func(c *Config) {
		c.DeviceFlow = true
		c.Clients = clients.New(clients.Config{
			Ring: c.Vault.Ring, Tenant: issuer, Now: c.Now, DynamicRegistration: true,
			Static: []clients.Client{
				static(t, clients.Client{ID: "tv", Name: "Terminal", GrantTypes: []string{clients.GrantDeviceCode, clients.GrantRefresh}}),
				static(t, clients.Client{ID: "brief", GrantTypes: []string{clients.GrantDeviceCode}}),
				static(t, clients.Client{ID: "both", RedirectURIs: []string{callback}, GrantTypes: []string{clients.GrantCode, clients.GrantDeviceCode}}),
				static(t, clients.Client{ID: "web", Name: "Web client", RedirectURIs: []string{callback}}),
			},
		})
	}
	return newWorld(t, append([]func(*Config){devices}, change...)...)
}

// begin asks for a device code.
func (w *world) begin(change ...string) deviceResponse {
	w.t.Helper()
	a := w.call(DeviceAuthorizationPath, with(url.Values{"client_id": {"tv"}, "resource": {github}, "scope": {"github:read"}}, change...))
	var answer deviceResponse
	if err := json.Unmarshal([]byte(a.body), &answer); err != nil || a.status != http.StatusOK || answer.DeviceCode == "" {
		w.t.Fatalf("status %d: %s", a.status, a.body)
	}
	return answer
}

func (w *world) poll(code string, change ...string) tokens {
	w.t.Helper()
	return w.call(TokenPath, with(url.Values{"grant_type": {clients.GrantDeviceCode}, "client_id": {"tv"}, "device_code": {code}}, change...))
}

// type enters a user code at the verification page, which was opened before.
func (b *browser) enter(code string) answer {
	b.w.t.Helper()
	b.get(DevicePath, nil)
	return b.post(DevicePath, url.Values{"user_code": {code}})
}

// connect goes the whole way for a device, up to the last page.
func (b *browser) connect(code string) answer {
	b.w.t.Helper()
	at := b.decide(b.enter(code).hidden(b.w.t), "allow").location(b.w.t)
	return b.callback(at.Query().Get("state"))
}

func TestADeviceGetsWhatAPersonAllowsElsewhere(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	if device.ExpiresIn != 600 || device.Interval != 5 || device.VerificationURI != issuer+"/oauth2/device" ||
		device.VerificationURIComplete != issuer+"/oauth2/device?user_code="+device.UserCode {
		t.Errorf("the device was told %+v", device)
	}
	w.poll(device.DeviceCode).wantError(t, http.StatusBadRequest, "authorization_pending")

	b := w.newBrowser()
	consent := b.enter(strings.ToLower(strings.ReplaceAll(device.UserCode, "-", " ")))
	for _, want := range []string{"Terminal", "another device", device.UserCode, "your own device", "192.0.2.1", "github:read"} {
		if !strings.Contains(consent.body, want) {
			t.Errorf("the consent page does not say %q", want)
		}
	}
	at := b.decide(consent.hidden(t), "allow").location(t)
	last := b.callback(at.Query().Get("state"))
	if last.status != http.StatusOK || !strings.Contains(last.body, "return to your device") || last.header.Get("Location") != "" {
		t.Errorf("the last page: status %d\n%s", last.status, last.body)
	}

	w.clock.advance(5 * time.Second)
	got := w.poll(device.DeviceCode)
	if got.status != http.StatusOK || got.Scope != "github:read" || got.RefreshToken == "" || !w.opens(got.AccessToken) {
		t.Fatalf("status %d %s, scope %q", got.status, got.Error, got.Scope)
	}
	w.clock.advance(5 * time.Second)
	w.poll(device.DeviceCode).wantError(t, http.StatusBadRequest, "invalid_grant")
	if again := w.refresh(got.RefreshToken, "client_id", "tv"); again.status != http.StatusOK {
		t.Errorf("refreshing: status %d %s", again.status, again.Error)
	}

	// Whoever is signed in decides on the consent page alone.
	second := w.begin("client_id", "brief")
	done := b.decide(b.enter(second.UserCode).hidden(t), "allow")
	if done.status != http.StatusOK || !strings.Contains(done.body, "return to your device") {
		t.Errorf("the second device: status %d\n%s", done.status, done.body)
	}
	if got := w.poll(second.DeviceCode, "client_id", "brief"); got.AccessToken == "" || got.RefreshToken != "" {
		t.Errorf("a client without refresh tokens: status %d %s, refresh token %v", got.status, got.Error, got.RefreshToken != "")
	}
}

func TestADeviceIsToldThatItWasDenied(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	b := w.newBrowser()
	ticket := b.enter(device.UserCode).hidden(t)
	if done := b.decide(ticket, "deny"); done.status != http.StatusOK || !strings.Contains(done.body, "no access") {
		t.Errorf("status %d\n%s", done.status, done.body)
	}
	w.poll(device.DeviceCode).wantError(t, http.StatusBadRequest, "access_denied")
	if again := b.enter(device.UserCode); again.status != http.StatusNotFound {
		t.Errorf("typing the code again: status %d", again.status)
	}
	if again := b.decide(ticket, "allow"); again.status != http.StatusBadRequest {
		t.Errorf("sending the page again: status %d", again.status)
	}
}

func TestOfTwoPeopleWithOneCodeTheFirstDecides(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	a, b := w.newBrowser(), w.newBrowser()
	mine, yours := a.enter(device.UserCode).hidden(t), b.enter(device.UserCode).hidden(t)
	a.decide(mine, "deny")
	at := b.decide(yours, "allow").location(t)
	if late := b.callback(at.Query().Get("state")); late.status != http.StatusBadRequest || !strings.Contains(late.body, "no longer waits") {
		t.Errorf("status %d\n%s", late.status, late.body)
	}
	w.poll(device.DeviceCode).wantError(t, http.StatusBadRequest, "access_denied")
}

func TestSomebodyNotAllowedLeavesTheDeviceWaiting(t *testing.T) {
	w := withDevices(t)
	w.idp.user.Email = "alice@elsewhere.example"
	device := w.begin()
	if last := w.newBrowser().connect(device.UserCode); last.status != http.StatusForbidden {
		t.Errorf("status %d", last.status)
	}
	w.poll(device.DeviceCode).wantError(t, http.StatusBadRequest, "authorization_pending")
	w.idp.user = alice
	w.newBrowser().connect(device.UserCode)
	w.clock.advance(5 * time.Second)
	if got := w.poll(device.DeviceCode); got.status != http.StatusOK {
		t.Errorf("with the right account: status %d %s", got.status, got.Error)
	}
}

func TestDeviceAuthorizationRefuses(t *testing.T) {
	w := withDevices(t)
	before := w.store.written()
	for _, tc := range []struct {
		name   string
		change []string
		status int
		code   string
	}{
		{"a client that names itself not", []string{"client_id", "-"}, http.StatusUnauthorized, "invalid_client"},
		{"a client nobody knows", []string{"client_id", "nobody"}, http.StatusUnauthorized, "invalid_client"},
		{"a client that is not registered for it", []string{"client_id", "web"}, http.StatusBadRequest, "unauthorized_client"},
		{"a secret of a public client", []string{"client_secret", "x"}, http.StatusUnauthorized, "invalid_client"},
		{"somebody else's resource", []string{"resource", "https://evil.example/mcp"}, http.StatusBadRequest, "invalid_target"},
		{"no resource where there are several", []string{"resource", "-"}, http.StatusBadRequest, "invalid_target"},
		{"a malformed scope", []string{"scope", "a\"b"}, http.StatusBadRequest, "invalid_scope"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := w.call(DeviceAuthorizationPath, with(url.Values{"client_id": {"tv"}, "resource": {github}}, tc.change...))
			got.wantError(t, tc.status, tc.code)
		})
	}
	if n := w.store.written() - before; n != 0 {
		t.Errorf("refusals wrote %d times", n)
	}
	w.begin()
	if n := w.store.written() - before; n != 1 {
		t.Errorf("a device code wrote %d times, want once", n)
	}
	w.store.fail()
	w.call(DeviceAuthorizationPath, url.Values{"client_id": {"tv"}, "resource": {github}}).
		wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
}

func TestDeviceCodesAreLimitedPerAddress(t *testing.T) {
	address := "192.0.2.1"
	w := withDevices(t, func(c *Config) { c.ClientAddr = func(*http.Request) string { return address } })
	for range deviceBurst {
		w.begin()
	}
	written := w.store.written()
	got := w.call(DeviceAuthorizationPath, url.Values{"client_id": {"tv"}, "resource": {github}})
	got.wantError(t, http.StatusTooManyRequests, "slow_down")
	if got.header.Get("Retry-After") != "6" || w.store.written() != written {
		t.Errorf("Retry-After %q, %d writes", got.header.Get("Retry-After"), w.store.written()-written)
	}
	address = "192.0.2.2"
	w.begin()
	address = "192.0.2.1"
	w.clock.advance(deviceEvery)
	w.begin()
}

// Whoever has a /48 has 65,536 networks that count as one address each, and so as many bursts.
func TestDeviceCodesAreLimitedForAllTogether(t *testing.T) {
	n := 0
	w := withDevices(t, func(c *Config) {
		c.ClientAddr = func(*http.Request) string { return fmt.Sprintf("2001:db8:0:%x::1", n/deviceBurst) }
	})
	for ; n < allDevicesBurst; n++ {
		w.begin()
	}
	written := w.store.written()
	for range 100 {
		n += deviceBurst
		w.call(DeviceAuthorizationPath, url.Values{"client_id": {"tv"}, "resource": {github}}).wantError(t, http.StatusTooManyRequests, "slow_down")
	}
	if w.store.written() != written {
		t.Errorf("%d writes beyond the limit", w.store.written()-written)
	}
	w.clock.advance(allDevicesEvery)
	n += deviceBurst
	w.begin()
}

func TestPollingRefuses(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	other := w.newBrowser().code()
	for _, tc := range []struct {
		name   string
		change []string
		status int
		code   string
	}{
		{"without a code", []string{"device_code", "-"}, http.StatusBadRequest, "invalid_request"},
		{"with the user code", []string{"device_code", device.UserCode}, http.StatusBadRequest, "invalid_grant"},
		{"with an authorization code", []string{"device_code", other}, http.StatusBadRequest, "invalid_grant"},
		{"with a code that was cut", []string{"device_code", device.DeviceCode[:40]}, http.StatusBadRequest, "invalid_grant"},
		{"as another client", []string{"client_id", "brief"}, http.StatusBadRequest, "invalid_grant"},
		{"as nobody", []string{"client_id", "-"}, http.StatusUnauthorized, "invalid_client"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.clock.advance(5 * time.Second)
			w.poll(device.DeviceCode, tc.change...).wantError(t, tc.status, tc.code)
		})
	}
	w.clock.advance(5 * time.Second)
	w.newBrowser().connect(device.UserCode)
	w.poll(device.DeviceCode, "resource", linear).wantError(t, http.StatusBadRequest, "invalid_target")
	w.clock.advance(10 * time.Second)
	w.store.fail()
	w.poll(device.DeviceCode).wantError(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	w.store.heal()
	w.clock.advance(5 * time.Second)
	if got := w.poll(device.DeviceCode); got.status != http.StatusOK {
		t.Errorf("none of this should have used the code up: status %d %s", got.status, got.Error)
	}

	late := w.begin()
	w.clock.advance(deviceLife)
	w.poll(late.DeviceCode).wantError(t, http.StatusBadRequest, "expired_token")
}

func TestPollingTooOftenIsSlowedDown(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	written := w.store.written()
	for i, step := range []struct {
		after time.Duration
		code  string
	}{
		{0, "authorization_pending"},
		{4 * time.Second, "authorization_pending"}, // a little early is the network
		{3 * time.Second, "slow_down"},             // 10 seconds from now on
		{6 * time.Second, "slow_down"},             // 15
		{14 * time.Second, "authorization_pending"},
		{0, "slow_down"},
	} {
		w.clock.advance(step.after)
		if got := w.poll(device.DeviceCode); got.Error != step.code {
			t.Errorf("poll %d: %s, want %s", i, got.Error, step.code)
		}
	}
	w.store.fail()
	w.poll(device.DeviceCode).wantError(t, http.StatusBadRequest, "slow_down") // without asking the store
	w.store.heal()
	if n := w.store.written() - written; n != 0 {
		t.Errorf("polling wrote %d times", n)
	}
}

func TestOfManyPollsOneGetsTheTokens(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	w.newBrowser().connect(device.UserCode)
	// Each poll reaches another replica, so that none is slowed down.
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		replica := &world{Server: New(w.Config), t: t}
		wg.Go(func() {
			switch got := replica.poll(device.DeviceCode); {
			case got.status == http.StatusOK && got.AccessToken != "":
				won.Add(1)
			case got.Error != "invalid_grant":
				t.Errorf("status %d %s", got.status, got.Error)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d polls got tokens, want 1", won.Load())
	}
	if n := len(w.trail.allowed(audit.TokenIssued)); n != 1 {
		t.Errorf("%d issues were recorded, want 1", n)
	}
}

// A code can be sent to somebody who agreed to the very same client before (RFC 8628, section 5.4).
func TestNoEarlierConsentAnswersForADevice(t *testing.T) {
	w := withDevices(t)
	b := w.newBrowser()
	b.code("client_id", "both")
	if again := b.get(AuthorizePath, authorization("client_id", "both")); again.status != http.StatusSeeOther {
		t.Fatalf("the consent in the browser is not remembered: status %d", again.status)
	}
	first := w.begin("client_id", "both")
	b.decide(b.enter(first.UserCode).hidden(t), "allow")
	second := w.begin("client_id", "both")
	ticket := b.enter(second.UserCode).hidden(t)
	w.poll(second.DeviceCode, "client_id", "both").wantError(t, http.StatusBadRequest, "authorization_pending")
	b.decide(ticket, "deny")
	if again := b.get(AuthorizePath, authorization("client_id", "both")); again.status != http.StatusSeeOther {
		t.Errorf("denying a device took back the consent in the browser: status %d", again.status)
	}
}

// Whoever leaves the provider loses what a device holds, too: the grant has to know the sign-in.
func TestADevicesGrantKnowsItsSignIn(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	ref := must(w.Vault.OpenDeviceCode(device.DeviceCode))(t)
	browser := sessions.Browser{User: w.userOf(alice), AuthTime: w.clock.Now(), Upstream: sessions.NewID()}
	if err := w.Vault.AllowDevice(t.Context(), ref, browser, true); err != nil {
		t.Fatal(err)
	}
	grant := must(w.Vault.LoadGrant(t.Context(), w.poll(device.DeviceCode).RefreshToken))(t)
	if grant.Upstream != browser.Upstream || !grant.AuthTime.Equal(browser.AuthTime) || grant.User.Key() != browser.User.Key() {
		t.Errorf("the grant is %+v", grant)
	}
}

func TestADeviceMeetsAllowListsThatWereTightenedMeanwhile(t *testing.T) {
	w := withDevices(t)
	device := w.begin()
	w.newBrowser().connect(device.UserCode)
	w.Policy = policy(t, deny)
	w.poll(device.DeviceCode).wantError(t, http.StatusBadRequest, "invalid_grant")
}
