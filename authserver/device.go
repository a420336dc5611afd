package authserver

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

const (
	// deviceLife is how long a person has to type the code, sign in and decide.
	deviceLife = 10 * time.Minute
	// pollInterval is how often a device may ask (RFC 8628, section 3.2).
	pollInterval = 5 * time.Second

	// Device authorizations from one address, which many people may share. Each is a record in the store.
	deviceBurst, deviceEvery = 10, 6 * time.Second
	// Device authorizations of everybody: whoever has a large IPv6 network has more addresses than can be
	// remembered.
	allDevicesBurst, allDevicesEvery = 1000, 200 * time.Millisecond
	// Wrong user codes from one address and in one browser. With a thousand authorizations pending, an
	// address hits one of them in 25 million tries; it gets 120 an hour (RFC 8628, section 5.1).
	guessBurst, guessEvery               = 10, 30 * time.Second
	browserGuessBurst, browserGuessEvery = 5, time.Minute

	throttleLimit = 10_000
)

// Devices is what a process remembers of device authorizations, none of which it needs to remember. It is
// safe for concurrent use.
type Devices struct {
	issued, all, guesses, browsers *throttle.Limiter
	polls                          polls
}

// NewDevices returns the memory of a process in which nobody has asked yet.
func NewDevices() *Devices {
	return &Devices{
		issued:   throttle.New(deviceBurst, deviceEvery, throttleLimit),
		all:      throttle.New(allDevicesBurst, allDevicesEvery, 1),
		guesses:  throttle.New(guessBurst, guessEvery, throttleLimit),
		browsers: throttle.New(browserGuessBurst, browserGuessEvery, throttleLimit),
	}
}

// deviceResponse is RFC 8628, section 3.2.
type deviceResponse struct {
	DeviceCode              string `json:"device_code"`
	UserCode                string `json:"user_code"`
	VerificationURI         string `json:"verification_uri"`
	VerificationURIComplete string `json:"verification_uri_complete"`
	ExpiresIn               int64  `json:"expires_in"`
	Interval                int64  `json:"interval"`
}

// authorizeDevice is the device authorization endpoint (RFC 8628, section 3.1). It is a request of
// strangers that writes to the store, so it is limited per address.
func (s *Server) authorizeDevice(w http.ResponseWriter, r *http.Request) *oauthError {
	form, refused := readForm(w, r)
	if refused != nil {
		return refused
	}
	client, refused := s.authenticateClient(w, r, form)
	if refused != nil {
		return refused
	}
	if !client.May(clients.GrantDeviceCode) {
		return unauthorizedClient("this client is not registered for the device grant; list " + clients.GrantDeviceCode + " in its grant_types")
	}
	resource, refused := s.findResource(form["resource"])
	if refused != nil {
		return refused
	}
	scopes, refused := grantable(form.Get("scope"), resource)
	if refused != nil {
		return refused
	}
	event := audit.Event{
		Type: audit.DeviceRequested, ClientID: client.Label(), ClientName: client.Name,
		Resource: resource.URI, ClientAddr: s.ClientAddr(r),
	}
	if refused := s.limitDevices(event.ClientAddr); refused != nil {
		event.Reason = "too many codes"
		s.Audit.Record(r.Context(), event)
		return refused
	}
	code, device, err := s.Vault.IssueDevice(r.Context(), sessions.Device{
		ClientID: client.ID, Resource: resource.URI, Scopes: scopes, ClientAddr: event.ClientAddr,
	}, deviceLife)
	if err != nil {
		return s.storeError("issuing a device code", err)
	}
	event.Allowed = true
	s.Audit.Record(r.Context(), event)
	userCode := device.UserCode.String()
	writeJSON(w, http.StatusOK, deviceResponse{
		DeviceCode:              code,
		UserCode:                userCode,
		VerificationURI:         s.Issuer + DevicePath,
		VerificationURIComplete: s.Issuer + DevicePath + "?user_code=" + userCode,
		ExpiresIn:               int64(deviceLife / time.Second),
		Interval:                int64(pollInterval / time.Second),
	})
	return nil
}

// limitDevices counts a device authorization from an address.
func (s *Server) limitDevices(clientAddr string) *oauthError {
	description := "too many device codes were asked for from this address; wait before asking for another"
	wait := s.devices.issued.Take(throttle.AddressKey(clientAddr), s.Now())
	if wait == 0 {
		description = "too many device codes are asked for at the moment; wait before asking for another"
		wait = s.devices.all.Take("", s.Now())
	}
	if wait == 0 {
		return nil
	}
	return &oauthError{code: codeSlowDown, description: description, status: http.StatusTooManyRequests, retryAfter: wait}
}

// deviceGrant is what a device polls with (RFC 8628, section 3.4). Until somebody has decided it only
// reads, and a device that asks too often is answered without the store.
func (s *Server) deviceGrant(r *http.Request, client *clients.Client, form url.Values) (*tokenResponse, *oauthError) {
	presented := form.Get("device_code")
	if presented == "" {
		return nil, invalidRequest("device_code is missing")
	}
	ref, err := s.Vault.OpenDeviceCode(presented)
	if err != nil {
		return nil, s.deviceError(err)
	}
	if s.devices.polls.tooSoon(ref.ID, s.Now()) {
		return nil, &oauthError{code: codeSlowDown, description: "poll five seconds less often from now on"}
	}
	device, err := s.Vault.LoadDevice(r.Context(), ref)
	if err != nil {
		return nil, s.deviceError(err)
	}
	if device.ClientID != client.ID || !client.May(clients.GrantDeviceCode) {
		return nil, invalidGrant("the device code was issued to another client")
	}
	if refused := s.sameResource(form["resource"], device.Resource); refused != nil {
		return nil, refused
	}
	switch device.Decision {
	case sessions.DevicePending:
		return nil, &oauthError{code: codePending, description: "nobody has decided yet; ask again after the interval"}
	case sessions.DeviceDenied:
		return nil, &oauthError{code: "access_denied", description: "the person declined"}
	}
	if device, err = s.Vault.TakeDevice(r.Context(), ref); err != nil {
		return nil, s.deviceError(err)
	}
	s.devices.polls.forget(ref.ID)
	resource := s.Resources.Find(device.Resource)
	if resource == nil || !s.stillAdmitted(device.User, resource) {
		return nil, invalidGrant("the authorization no longer stands; authorize again")
	}
	now := s.Now()
	return s.beginGrant(r, sessions.Grant{
		ID: sessions.NewID(), User: device.User, ClientID: client.ID, ClientLabel: client.Label(), ClientName: client.Name,
		Resource: device.Resource, Scopes: device.Scopes,
		CreatedAt: now, UsedAt: now, AuthTime: device.AuthTime, ClientAddr: s.ClientAddr(r),
		Upstream: device.Upstream, Provider: device.Provider,
	}, device.OfflineAccess && client.MayRefresh())
}

// deviceError answers for a device code that names no pending authorization (RFC 8628, section 3.5).
func (s *Server) deviceError(err error) *oauthError {
	switch {
	case errors.Is(err, sessions.ErrExpired):
		return &oauthError{code: "expired_token", description: "the device code has expired; ask for another"}
	case errors.Is(err, sessions.ErrInvalid), errors.Is(err, sessions.ErrNotFound):
		return invalidGrant("the device code is not valid, or has been used already")
	default:
		return s.storeError("polling for a device", err)
	}
}
