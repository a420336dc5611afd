package sseproxy

import (
	"errors"
	"net/http"
	"strings"
)

// methods are what an MCP endpoint serves, over all revisions of the transport.
const methods = "GET, POST, DELETE, OPTIONS"

// Refusal tells why a request must not reach the upstream, and what to answer.
type Refusal struct {
	Status int
	Allow  string // the Allow header, if it needs one
	Reason Reason
	err    error
}

// Error implements error.
func (r *Refusal) Error() string { return r.err.Error() }

// The reasons of refusals.
const (
	ReasonTarget    Reason = "bad_target"
	ReasonMethod    Reason = "method"
	ReasonHeader    Reason = "bad_header"
	ReasonMediaType Reason = "media_type"
	ReasonEarlyData Reason = "early_data"
	ReasonUpgrade   Reason = "upgrade"
)

var (
	refusedPath      = &Refusal{http.StatusBadRequest, "", ReasonTarget, errors.New("path has more than one reading")}
	refusedHost      = &Refusal{http.StatusBadRequest, "", ReasonTarget, errors.New("host is missing or malformed")}
	refusedTarget    = &Refusal{http.StatusBadRequest, "", ReasonTarget, errors.New("request target names a user or another scheme")}
	refusedMethod    = &Refusal{http.StatusMethodNotAllowed, methods, ReasonMethod, errors.New("method not allowed")}
	refusedRepeated  = &Refusal{http.StatusBadRequest, "", ReasonHeader, errors.New("MCP header given more than once")}
	refusedValue     = &Refusal{http.StatusBadRequest, "", ReasonHeader, errors.New("MCP header with characters it must not have")}
	refusedMediaType = &Refusal{http.StatusUnsupportedMediaType, "", ReasonMediaType, errors.New("an MCP message is application/json")}
	refusedEarlyData = &Refusal{http.StatusTooEarly, "", ReasonEarlyData, errors.New("request in TLS early data, which can be replayed")}
	refusedUpgrade   = &Refusal{http.StatusForbidden, "", ReasonUpgrade, errors.New("upgrades are off")}
)

// CheckTarget refuses a request whose target the edge and the upstream could read differently.
func CheckTarget(r *http.Request) *Refusal {
	switch {
	case r.Method == http.MethodConnect && !extendedConnect(r), r.Method == http.MethodTrace:
		return refusedMethod // a tunnel is no resource, and an echo gives away what the edge adds
	case Ambiguous(r):
		return refusedPath
	case !plainHost(r.Host):
		return refusedHost
	case r.URL.User != nil, r.URL.Scheme != "" && r.URL.Scheme != "http" && r.URL.Scheme != "https",
		r.URL.Host != "" && r.URL.Host != r.Host:
		// RFC 9112, section 3.2.2: the absolute form is legal, and its host is the request's.
		return refusedTarget
	}
	return nil
}

// plainHost reports whether host is a name or an address with at most a port, and nothing that some
// upstream would read as userinfo, a list or a path.
func plainHost(host string) bool {
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', 'A' <= c && c <= 'Z':
		case c == '.', c == '-', c == ':', c == '_', c == '[', c == ']':
		default:
			return false
		}
	}
	return host != ""
}

// CheckMessage refuses a request that no MCP client sends and that could mean one thing here and another
// to the upstream. What the transport says about methods and media types holds for requests that name
// themselves MCP by one of its headers: other applications may live on a protected resource, and the
// first message of a session in the older revisions has no such header.
func (g *Guard) CheckMessage(r *http.Request) *Refusal {
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	switch {
	case !safe && earlyData(r):
		return refusedEarlyData // RFC 8470, section 5.2
	case !g.upgrades && wantsUpgrade(r):
		return refusedUpgrade
	case len(r.Header["Last-Event-Id"]) > 1:
		return refusedRepeated
	case !IsMCP(r.Header):
		return nil
	}
	if refusal := checkHeaders(r.Header); refusal != nil {
		return refusal
	}
	switch r.Method {
	case http.MethodGet, http.MethodDelete, http.MethodOptions:
	case http.MethodPost:
		// MCP 2025-11-25, "Sending Messages to the Server": the body is one JSON-RPC message.
		if values := r.Header["Content-Type"]; len(values) != 1 || !isMediaType(values[0], "application/json") {
			return refusedMediaType
		}
	default:
		return refusedMethod
	}
	return nil
}

// IsMCP reports whether a request names itself one of MCP's Streamable HTTP transport.
func IsMCP(h http.Header) bool {
	return len(h["Mcp-Protocol-Version"]) > 0 || len(h[sessionName]) > 0 || len(h["Mcp-Method"]) > 0 || len(h["Mcp-Name"]) > 0
}

// IsJSON reports whether a request has a body of the only type that MCP messages are sent in.
func IsJSON(h http.Header) bool {
	for _, value := range h["Content-Type"] {
		if isMediaType(value, "application/json") {
			return true
		}
	}
	return false
}

// checkHeaders judges MCP's own headers: of two values one program would take the first and another the
// last, and other than visible characters never belong there (MCP 2026-07-28, "Value Encoding").
func checkHeaders(h http.Header) *Refusal {
	for name, values := range h {
		if !strings.HasPrefix(name, "Mcp-") {
			continue
		}
		if len(values) > 1 {
			return refusedRepeated
		}
		spaces := name == "Mcp-Name" || strings.HasPrefix(name, "Mcp-Param-")
		for i := range len(values[0]) {
			switch c := values[0][i]; {
			case '!' <= c && c <= '~':
			case spaces && (c == ' ' || c == '\t'):
			default:
				return refusedValue
			}
		}
	}
	if session, ok := h[sessionName]; ok && (session[0] == "" || len(session[0]) > maxTagged) {
		return refusedValue
	}
	return nil
}

// earlyData reports whether r came before the handshake was over, here or at a proxy in front (RFC 8470,
// section 5.1).
func earlyData(r *http.Request) bool {
	return EarlyData(r) || len(r.Header["Early-Data"]) > 0
}

// EarlyData reports whether r came before the handshake was over, so that it may be a replay.
func EarlyData(r *http.Request) bool { return r.TLS != nil && !r.TLS.HandshakeComplete }

// extendedConnect reports whether a CONNECT asks for a protocol on one stream (RFC 8441, section 4; RFC
// 9220) rather than for a tunnel.
func extendedConnect(r *http.Request) bool {
	return len(r.Header[":protocol"]) > 0 || r.ProtoMajor == 3 && !strings.HasPrefix(r.Proto, "HTTP/")
}

// wantsUpgrade reports whether r asks for a WebSocket. Other upgrades are offers that a server may pass
// over (RFC 9110, section 7.8), and some HTTP clients make them all the time.
func wantsUpgrade(r *http.Request) bool {
	if r.Method == http.MethodConnect {
		return true
	}
	for _, value := range r.Header["Upgrade"] {
		if strings.Contains(strings.ToLower(value), "websocket") {
			return true
		}
	}
	return false
}

// Interface guard
var _ error = (*Refusal)(nil)
