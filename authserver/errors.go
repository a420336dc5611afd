package authserver

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
)

// oauthError is an outcome of the protocol, as a client learns it. It is built at the edge only;
// the packages below speak in Go errors.
type oauthError struct {
	code        string // RFC 6749, section 4.1.2.1 and 5.2; RFC 7591, 3.2.2; RFC 8707, 2
	description string // ASCII without quotes and backslashes, never built from input
	status      int    // on machine endpoints; 0 means 400
	retryAfter  time.Duration
	recorded    bool // the audit log knows already, and more than this says
}

// Codes of a device that has to wait (RFC 8628, section 3.5).
const (
	codePending  = "authorization_pending"
	codeSlowDown = "slow_down"
)

// known is e for something that has been recorded.
func (e *oauthError) known() *oauthError {
	known := *e
	known.recorded = true
	return &known
}

func (e *oauthError) Error() string { return e.code + ": " + e.description }

func invalidRequest(description string) *oauthError {
	return &oauthError{code: "invalid_request", description: description}
}

func invalidGrant(description string) *oauthError {
	return &oauthError{code: "invalid_grant", description: description}
}

func invalidTarget(description string) *oauthError {
	return &oauthError{code: "invalid_target", description: description}
}

func invalidScope(description string) *oauthError {
	return &oauthError{code: "invalid_scope", description: description}
}

func unauthorizedClient(description string) *oauthError {
	return &oauthError{code: "unauthorized_client", description: description}
}

// invalidClient is answered with 401, which is what makes clients register again; a wrong grant is
// 400 and makes them authorize again. Swapping the two strands them (RFC 6749, section 5.2).
func invalidClient(description string) *oauthError {
	return &oauthError{code: "invalid_client", description: description, status: http.StatusUnauthorized}
}

// unavailable says that the store or the key ring cannot be reached. Answering invalid_grant
// instead would make clients throw valid tokens away.
func unavailable() *oauthError {
	return &oauthError{
		code:        "temporarily_unavailable",
		description: "the server cannot reach its session store; try again in a moment",
		status:      http.StatusServiceUnavailable,
		retryAfter:  5 * time.Second,
	}
}

// writeError answers a machine endpoint with the error object of RFC 6749, section 5.2.
func writeError(w http.ResponseWriter, e *oauthError) {
	status := e.status
	if status == 0 {
		status = http.StatusBadRequest
	}
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", retrySeconds(e.retryAfter))
	}
	writeJSON(w, status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{e.code, e.description})
}

// writeJSON answers a machine endpoint. Nothing of it may be cached (RFC 6749, section 5.1).
func writeJSON(w http.ResponseWriter, status int, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "encoding the answer", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	oauthmeta.AllowCORS(h)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(encoded)
}

func retrySeconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}
