// Package audit is the one vocabulary in which the edge says what it decided: who signed in, who was
// turned away and by which rule, what was issued, used up or revoked. It never carries a token, a
// code, a password or any other secret.
package audit

import (
	"context"

	"go.uber.org/zap"
)

// Recorder keeps events. Implementations are safe for concurrent use and do not block on I/O.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

// Log records events as structured log entries: allowed ones at level info, refusals at warn.
type Log struct {
	Logger *zap.Logger
	// RequestID returns what ties an event to the request that it came of, or "". Default: nothing does.
	RequestID func(context.Context) string
}

// Record implements Recorder.
func (l Log) Record(ctx context.Context, e Event) {
	level, outcome := zap.InfoLevel, "allowed"
	if !e.Allowed {
		level, outcome = zap.WarnLevel, "refused"
	}
	entry := l.Logger.Check(level, string(e.Type))
	if entry == nil {
		return
	}
	var request string
	if l.RequestID != nil {
		request = l.RequestID(ctx)
	}
	fields := make([]zap.Field, 0, 14)
	fields = append(fields, zap.String("outcome", outcome))
	for _, f := range [...]struct{ name, value string }{
		{"reason", e.Reason},
		{"by", string(e.By)},
		{"user_id", e.Subject},
		{"email", e.Email},
		{"client_id", e.ClientID},
		{"client_name", e.ClientName},
		{"resource", e.Resource},
		{"provider", e.Provider},
		{"grant", e.Grant},
		{"credential", e.Credential},
		{"client_ip", e.ClientAddr},
		{"request_id", request},
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
