package oauthmeta

import (
	"net/http"
	"strconv"
	"strings"
)

const (
	// Short enough that a changed configuration is seen soon, well within the hour that a poisoned
	// document may survive in a cache at most.
	documentCaching = "public, max-age=300"

	readMethods = "GET, HEAD, OPTIONS"

	// What MCP clients in browsers send. The star covers headers that tools define themselves
	// (Mcp-Param-*); it does not cover Authorization, and older browsers do not know it.
	allowedHeaders = "Authorization, Content-Type, Accept, MCP-Protocol-Version, Mcp-Session-Id, " +
		"Mcp-Method, Mcp-Name, Last-Event-ID, *"
	exposedHeaders = "WWW-Authenticate, Mcp-Session-Id, MCP-Protocol-Version"
)

// AllowCORS lets scripts of any origin read the answer. It is for endpoints that take no cookie:
// metadata, token, registration, revocation. Credentials are never allowed, so a browser sends none.
func AllowCORS(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
}

// AllowOrigin lets scripts of one origin read the answer of a protected resource; "*" lets those of any.
// What h said before gives way. Credentials are never allowed: a token is sent by whoever has it, not by
// the browser on its own.
func AllowOrigin(h http.Header, origin string) {
	h["Access-Control-Allow-Origin"] = []string{origin}
	h["Access-Control-Expose-Headers"] = exposedByResources
	delete(h, "Access-Control-Allow-Credentials")
	if origin != "*" {
		VaryByOrigin(h)
	}
}

// VaryByOrigin tells caches that the answer depends on who asks (Fetch, "CORS protocol and HTTP caches").
func VaryByOrigin(h http.Header) {
	values := h["Vary"]
	if len(values) == 0 {
		h["Vary"] = varyByOrigin
		return
	}
	for _, value := range values {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Origin") {
				return
			}
		}
	}
	h["Vary"] = append(values[:len(values):len(values)], "Origin")
}

// Shared by all answers: whoever appends to them gets a copy.
var (
	varyByOrigin       = []string{"Origin"}
	exposedByResources = []string{exposedHeaders + ", Retry-After"}
)

// Preflight answers r if it is an OPTIONS request, and reports whether it did. methods is what the
// endpoint serves, such as "POST, OPTIONS".
func Preflight(w http.ResponseWriter, r *http.Request, methods string) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	AllowCORS(w.Header())
	WritePreflight(w, methods)
	return true
}

// WritePreflight answers a preflight; whose it is has been decided, by AllowCORS or AllowOrigin.
func WritePreflight(w http.ResponseWriter, methods string) {
	h := w.Header()
	h.Set("Allow", methods)
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", allowedHeaders)
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusNoContent)
}

// WriteDocument serves a metadata document, already marshalled. It must be the same for every
// requester: shared caches may keep it.
func WriteDocument(w http.ResponseWriter, r *http.Request, body []byte) {
	if Preflight(w, r, readMethods) {
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", readMethods)
		writeError(w, r, http.StatusMethodNotAllowed, `{"error":"method_not_allowed","error_description":"metadata is read with GET"}`)
		return
	}
	w.Header().Set("Cache-Control", documentCaching)
	writeJSON(w, r, http.StatusOK, body)
}

// WriteNotFound answers for a document that does not exist. It is JSON, since clients parse what they
// get from a well-known URL before they look at the status.
func WriteNotFound(w http.ResponseWriter, r *http.Request) {
	if Preflight(w, r, readMethods) {
		return
	}
	writeError(w, r, http.StatusNotFound, `{"error":"not_found","error_description":"there is no such document here"}`)
}

func writeError(w http.ResponseWriter, r *http.Request, status int, body string) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, r, status, []byte(body))
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	h := w.Header()
	AllowCORS(h)
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// A client that went away has nobody left to tell.
		_, _ = w.Write(body)
	}
}
