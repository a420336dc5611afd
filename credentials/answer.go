package credentials

import (
	"io"
	"net/http"
	"strings"
)

// answer is the response writer that the upstream's answer goes through. It keeps back an answer that
// refuses the credential, and every challenge: what an upstream asks for is for us to bring, and a client
// that took it for ours would sign in again and again.
type answer struct {
	http.ResponseWriter
	wrote, refused bool
}

// WriteHeader decides what the answer is.
func (a *answer) WriteHeader(status int) {
	if a.refused {
		return
	}
	if a.wrote || status < 200 && status != http.StatusSwitchingProtocols {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.wrote = true
	h := a.Header()
	if status == http.StatusUnauthorized || status == http.StatusForbidden && invalidToken(h) {
		a.refused = true
		return
	}
	delete(h, "Www-Authenticate")
	a.ResponseWriter.WriteHeader(status)
}

// invalidToken recognises servers that answer 403 where RFC 6750, section 3.1, asks for 401. Any other
// 403 is about what the person may do there, which another token would not change.
func invalidToken(h http.Header) bool {
	for _, challenge := range h["Www-Authenticate"] {
		if strings.Contains(challenge, `error="invalid_token"`) {
			return true
		}
	}
	return false
}

func (a *answer) Write(p []byte) (int, error) {
	a.implicitHeader()
	if a.refused {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// ReadFrom keeps the writer's own way of copying.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	a.implicitHeader()
	if a.refused {
		return io.Copy(io.Discard, r)
	}
	return io.Copy(a.ResponseWriter, r)
}

// FlushError is what http.ResponseController calls.
func (a *answer) FlushError() error {
	a.implicitHeader()
	if a.refused {
		return nil
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Flush is for handlers that know only http.Flusher.
func (a *answer) Flush() { _ = a.FlushError() }

// Unwrap gives a response controller the deadlines and the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) implicitHeader() {
	if !a.wrote {
		a.WriteHeader(http.StatusOK)
	}
}

// Interface guards
var (
	_ http.Flusher                    = (*answer)(nil)
	_ io.ReaderFrom                   = (*answer)(nil)
	_ interface{ FlushError() error } = (*answer)(nil)
)
