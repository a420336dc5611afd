package authserver

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"mime"
	"net/http"
	"os"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/forms"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxRegistration bounds a registration; real ones stay under 2 KiB.
const maxRegistration = 16 << 10

// register is the client registration endpoint (RFC 7591, section 3). It writes nothing anywhere:
// the client id it answers is the registration itself, sealed.
func (s *Server) register(w http.ResponseWriter, r *http.Request) *oauthError {
	if !s.Clients.Registers() {
		s.recordSampled(r, audit.Event{Type: audit.Registration, Reason: "registration is off"})
		return &oauthError{
			code:        "access_denied",
			description: "clients cannot register themselves here; use a client ID metadata document, or ask the operator for a client_id",
			status:      http.StatusForbidden,
		}
	}
	if refused := s.mayRegister(w, r); refused != nil {
		return refused
	}
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" {
		return invalidMetadata("send the client metadata as application/json")
	}
	body, err := forms.ReadBody(w, r, maxRegistration)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		e := invalidMetadata("the client metadata is larger than 16 KiB")
		e.status = http.StatusRequestEntityTooLarge
		return e
	case errors.Is(err, os.ErrDeadlineExceeded):
		e := invalidMetadata("the client metadata did not arrive within 10 s")
		e.status = http.StatusRequestTimeout
		return e
	case err != nil:
		return invalidMetadata("the request body could not be read to its end")
	}

	answer, client, err := s.Clients.Register(body)
	event := audit.Event{Type: audit.Registration, ClientAddr: s.ClientAddr(r)}
	var refused *clients.MetadataError
	switch {
	case errors.As(err, &refused):
		event.Reason = refused.Code
		s.recordSampled(r, event)
		return &oauthError{code: refused.Code, description: refused.Description}
	case errors.Is(err, sessions.ErrUnavailable), errors.Is(err, clients.ErrUnavailable):
		return unavailable()
	case err != nil:
		return s.internal("registering a client", err)
	}
	event.Allowed, event.ClientID, event.ClientName = true, client.Label(), client.Name
	s.Audit.Record(r.Context(), event)
	writeJSON(w, http.StatusCreated, answer) // RFC 7591, section 3.2.1
	return nil
}

// mayRegister checks the initial access token, if the operator asks for one (RFC 7591, section 3).
func (s *Server) mayRegister(w http.ResponseWriter, r *http.Request) *oauthError {
	if len(s.RegistrationTokens) == 0 {
		return nil
	}
	token, err := access.Bearer(r.Header)
	sum := sha256.Sum256([]byte(token))
	known := 0
	for _, want := range s.RegistrationTokens {
		known |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	if err != nil || known == 0 {
		s.recordSampled(r, audit.Event{Type: audit.Registration, Reason: "no valid initial access token"})
		w.Header().Set("WWW-Authenticate", `Bearer realm="registration"`)
		return &oauthError{
			code:        "invalid_token",
			description: "registering here needs the initial access token that the operator gives out",
			status:      http.StatusUnauthorized,
		}
	}
	return nil
}

func invalidMetadata(description string) *oauthError {
	return &oauthError{code: "invalid_client_metadata", description: description}
}
