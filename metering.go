package mcpauth

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/metrics"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sseproxy"
)

// collectors count for the whole process, over all configurations.
var collectors = metrics.New(streams.Count)

// Why requests are refused, beyond the reasons that sseproxy knows.
const (
	reasonOrigin       sseproxy.Reason = "origin"
	reasonTokenInQuery sseproxy.Reason = "token_in_query"
	reasonNoToken      sseproxy.Reason = "no_token"
	reasonTwoTokens    sseproxy.Reason = "several_tokens"
	reasonBadToken     sseproxy.Reason = "invalid_token"
	reasonExpired      sseproxy.Reason = "expired_token"
	reasonRevoked      sseproxy.Reason = "revoked_token"
	reasonAudience     sseproxy.Reason = "other_resource"
	reasonNotHere      sseproxy.Reason = "misplaced_token"
	reasonNetwork      sseproxy.Reason = "network"
	reasonThrottled    sseproxy.Reason = "too_many_bad_tokens"
	reasonRate         sseproxy.Reason = "too_many_requests"
	reasonScope        sseproxy.Reason = "insufficient_scope"
	reasonNotAdmitted  sseproxy.Reason = "not_admitted"
	reasonBody         sseproxy.Reason = "body_too_large"
	reasonUnavailable  sseproxy.Reason = "unavailable"
	reasonCredential   sseproxy.Reason = "no_credential"
	reasonOutsider     sseproxy.Reason = "not_this_computer"
)

// turnAway counts a refusal and makes the error of it. What the answer says beyond the status is set by
// then; an error lets handle_errors add a body.
func turnAway(reason sseproxy.Reason, status int, err error) error {
	collectors.Refused(string(reason))
	return caddyhttp.Error(status, denied{reason, err})
}

// turnAwayFor is turnAway for a request that must not mean anything to the upstream.
func turnAwayFor(w http.ResponseWriter, refusal *sseproxy.Refusal) error {
	if refusal.Allow != "" {
		w.Header().Set("Allow", refusal.Allow)
	}
	return turnAway(refusal.Reason, refusal.Status, refusal)
}

func streamEnded(_ *sseproxy.Identity, cause error) {
	collectors.StreamEnded(streamCause(cause))
}

func streamCause(cause error) string {
	switch {
	case cause == nil:
		return "upstream"
	case errors.Is(cause, sseproxy.ErrHungUp):
		return "client"
	case errors.Is(cause, sseproxy.ErrExpired):
		return "expired"
	case errors.Is(cause, sseproxy.ErrRevoked):
		return "revoked"
	}
	return "exit"
}
