package mcpauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/audit"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/throttle"
)

// newAuditLog records events under the app's own name, followed by "audit": that name does not depend
// on the handler, so that one "include mcp_auth.audit" routes the events of all sites to a log.
func newAuditLog(app *zap.Logger) audit.Recorder {
	return collectors.Recorder(audit.Log{Logger: app.Named("audit"), RequestID: requestID})
}

// requestID is the value of {http.request.uuid}, which access logs can carry too.
func requestID(ctx context.Context) string {
	repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	id, _ := repl.GetString("http.request.uuid")
	return id
}

// denied is the error of a request that was turned away, with the rule that did it.
type denied struct {
	reason sseproxy.Reason
	error
}

// Unwrap returns what was wrong.
func (d denied) Unwrap() error { return d.error }

// audited are the refusals that are decisions about access, and whether the token says who was refused.
// The others are how clients find out what to do next, or no MCP at all.
var audited = map[sseproxy.Reason]struct{ known bool }{
	reasonNetwork:          {},
	reasonOutsider:         {},
	reasonOrigin:           {},
	reasonTokenInQuery:     {},
	reasonTwoTokens:        {},
	reasonBadToken:         {},
	reasonThrottled:        {},
	reasonRevoked:          {known: true},
	reasonAudience:         {known: true},
	reasonNotHere:          {known: true},
	reasonScope:            {known: true},
	reasonNotAdmitted:      {known: true},
	sseproxy.ReasonSession: {known: true},
	sseproxy.ReasonStreams: {known: true},
	reasonRate:             {known: true},
}

// recordDenied records that a request was turned away, if err says so.
func (h *Handler) recordDenied(r *http.Request, res *resource, c *caller, err error) {
	var d denied
	if !errors.As(err, &d) {
		return // of the next handler
	}
	a := &c.Access
	h.recordDenial(r, d.reason, audit.Event{
		Subject: a.Subject, Email: a.Email, ClientID: a.ClientID, ClientName: a.ClientName,
		Resource: res.URI, Grant: grantID(a.Grant), Credential: c.credential(),
	})
}

// requestRefused counts and records a request that the stream guard answered by itself.
func (h *Handler) requestRefused(r *http.Request, id *sseproxy.Identity, reason sseproxy.Reason) {
	collectors.Refused(string(reason))
	h.recordDenial(r, reason, audit.Event{
		Subject: id.Subject, Email: id.Email, ClientID: id.ClientID, ClientName: id.ClientName,
		Resource: id.Resource, Grant: grantID(id.Grant),
	})
}

// recordDenial records of many denials alike the first in each minute: anybody can send requests.
func (h *Handler) recordDenial(r *http.Request, reason sseproxy.Reason, e audit.Event) {
	decision, ok := audited[reason]
	if !ok {
		return
	}
	if !decision.known {
		e = audit.Event{Resource: e.Resource}
	}
	e.Type, e.Reason, e.ClientAddr = audit.AccessDenied, string(reason), clientAddr(r)
	key := e.Reason + "\x00" + throttle.AddressKey(e.ClientAddr) + "\x00" + e.Subject + "\x00" + e.ClientID + "\x00" + e.Resource
	if h.denials.First(key, time.Now()) {
		h.audit.Record(r.Context(), e)
	}
}

// recordUse records that a token is in use which is of no grant: the first time in each minute. Then it also
// has the owner of one that a person made asked about.
func (h *Handler) recordUse(r *http.Request, s *site, c *caller) {
	if !c.listed || !h.uses.First(c.ClientID, time.Now()) {
		return
	}
	a := &c.Access
	if s.auth != nil && a.UserIssuer != s.issuer {
		s.auth.CheckOwner(sessions.User{Issuer: a.UserIssuer, Subject: a.Subject}, a.ID)
	}
	h.audit.Record(r.Context(), audit.Event{
		Type: audit.TokenUsed, Allowed: true, Subject: a.Subject, Email: a.Email, ClientName: a.ClientName,
		Resource: a.Resource, Credential: c.ClientID, ClientAddr: clientAddr(r),
	})
}

// grantID is the id for the log; a token that is not of a grant has none.
func grantID(id sessions.ID) string {
	if id == (sessions.ID{}) {
		return ""
	}
	return id.String()
}

// Interface guards
var _ error = denied{}
