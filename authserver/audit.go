package authserver

import (
	"net/http"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// recordSampled records a refusal that anybody can cause as often as they like: of many alike the first
// in each minute.
func (s *Server) recordSampled(r *http.Request, e audit.Event) {
	e.ClientAddr = s.ClientAddr(r)
	key := string(e.Type) + "\x00" + e.Reason + "\x00" + e.ClientID + "\x00" + e.ClientAddr
	switch {
	case s.samples.First(key, s.Now()):
		s.Audit.Record(r.Context(), e)
	case s.OnRepeated != nil:
		s.OnRepeated(e)
	}
}

// recordRefusal records why a token request was refused, unless something more telling was recorded.
func (s *Server) recordRefusal(r *http.Request, grantType string, client *clients.Client, refused *oauthError) {
	switch {
	case refused.recorded, refused.status == http.StatusServiceUnavailable:
		return
	case refused.code == codePending, refused.code == codeSlowDown:
		return // a device that waits for its person
	}
	kind := audit.TokenIssued
	if grantType == "refresh_token" {
		kind = audit.TokenRefreshed
	}
	s.recordSampled(r, audit.Event{
		Type: kind, Reason: refused.Error(), ClientID: client.Label(), ClientName: client.Name,
	})
}

// recordRevocation records that a grant has ended.
func (s *Server) recordRevocation(r *http.Request, g sessions.Grant, by audit.Actor, reason string) {
	event := s.grantEvent(r, audit.Revocation, g)
	event.Allowed, event.By, event.Reason = true, by, reason
	s.Audit.Record(r.Context(), event)
}

// recordUnauthenticated records that a caller did not prove to be the client whose id it gave. What is
// recorded of an id that nobody has is that it was given: it could be anything.
func (s *Server) recordUnauthenticated(r *http.Request, clientID, reason string) {
	event := audit.Event{Type: audit.ClientAuthentication, Reason: reason}
	if client, err := s.Clients.Lookup(r.Context(), clientID); err == nil {
		event.ClientID, event.ClientName = client.Label(), client.Name
	}
	s.recordSampled(r, event)
}
