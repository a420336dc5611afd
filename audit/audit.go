// Package audit is the one vocabulary in which the edge says what it decided: who signed in, who was
// turned away and by which rule, what was issued, used up or revoked. It never carries a token, a
// code, a password or any other secret.
package audit

import (
	"context"

	"go.uber.org/zap"
)

// Event is one decision. Fields that do not apply stay empty and are left out of the record.
type Event struct {
	// What was decided about; one of the constants of this package.
	Type Type

	// Whether it came to pass. A refusal is recorded with its Reason.
	Allowed bool

	// Why it was refused, or which rule allowed it, in the words of the configuration.
	Reason string

	// The person: subject and e-mail address as the identity provider named them.
	Subject, Email string

	// The OAuth client: its label and the name it gave itself.
	ClientID, ClientName string

	// The protected resource's identifier.
	Resource string

	// The identity provider's id in the configuration.
	Provider string

	// The grant's id. It identifies a refresh family and opens nothing.
	Grant string

	// The network address of the person's browser or of the client.
	ClientAddr string
}

// Type names a kind of decision.
type Type string

// The decisions that are recorded.
const (
	SignIn          Type = "sign_in"
	SignOut         Type = "sign_out"
	Consent         Type = "consent"
	Registration    Type = "client_registration"
	TokenIssued     Type = "token_issued"
	TokenRefreshed  Type = "token_refreshed"
	CodeReplayed    Type = "code_replayed"
	RefreshReplayed Type = "refresh_token_replayed"
	Revocation      Type = "revocation"

	// A device asked for a code; a person typed one in.
	DeviceRequested   Type = "device_requested"
	DeviceCodeEntered Type = "device_code_entered"
)

// Recorder keeps events. Implementations are safe for concurrent use and do not block on I/O.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

// Log records events as structured log entries: allowed ones at level info, refusals at warn.
type Log struct {
	Logger *zap.Logger
}

// Record implements Recorder.
func (l Log) Record(_ context.Context, e Event) {
	level := zap.InfoLevel
	if !e.Allowed {
		level = zap.WarnLevel
	}
	entry := l.Logger.Check(level, string(e.Type))
	if entry == nil {
		return
	}
	fields := make([]zap.Field, 0, 10)
	fields = append(fields, zap.Bool("allowed", e.Allowed))
	for _, f := range []struct{ name, value string }{
		{"reason", e.Reason},
		{"user_id", e.Subject},
		{"email", e.Email},
		{"client_id", e.ClientID},
		{"client_name", e.ClientName},
		{"resource", e.Resource},
		{"provider", e.Provider},
		{"grant", e.Grant},
		{"client_ip", e.ClientAddr},
	} {
		if f.value != "" {
			fields = append(fields, zap.String(f.name, f.value))
		}
	}
	entry.Write(fields...)
}

// Discard drops every event.
type Discard struct{}

// Record implements Recorder.
func (Discard) Record(context.Context, Event) {}

// Interface guards
var (
	_ Recorder = Log{}
	_ Recorder = Discard{}
)
