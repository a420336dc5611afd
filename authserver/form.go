package authserver

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// maxForm bounds a form body. A token request carries a client id (1,000 characters), a code or
// refresh token and a verifier; 64 KiB leaves room for assertions.
const maxForm = 64 << 10

// readForm reads the body of a POST as the machine endpoints and our own pages accept it:
// form-encoded, bounded, no parameter twice. The query string is never looked at: credentials do
// not belong in URLs (RFC 6749, section 2.3.1), and mixing both would make two readings of one
// request. resource alone may be repeated (RFC 8707, section 2).
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *oauthError) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, invalidRequest("send the parameters as application/x-www-form-urlencoded in the request body")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, &oauthError{
			code:        "invalid_request",
			description: "the request body is larger than 64 KiB",
			status:      http.StatusRequestEntityTooLarge,
		}
	}
	if err != nil {
		return nil, invalidRequest("the request body could not be read to its end")
	}
	form, err := parseParameters(string(body))
	if err != nil {
		return nil, invalidRequest("the request body is not valid form encoding")
	}
	if repeated(form) {
		return nil, invalidRequest("a parameter is given more than once") // RFC 6749, section 3.2
	}
	return form, nil
}

// maxParameters bounds how many parameters a request may carry, before they are parsed.
const maxParameters = 100

// parseParameters is url.ParseQuery with a bound on the number of parameters.
func parseParameters(raw string) (url.Values, error) {
	if strings.Count(raw, "&") >= maxParameters {
		return nil, errors.New("too many parameters")
	}
	return url.ParseQuery(raw)
}

func repeated(form url.Values) bool {
	for name, values := range form {
		if len(values) > 1 && name != "resource" {
			return true
		}
	}
	return false
}

// methodAllowed answers anything but the methods given with 405.
func methodAllowed(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	writeError(w, &oauthError{
		code:        "invalid_request",
		description: "this endpoint takes " + strings.Join(methods, " or ") + " only",
		status:      http.StatusMethodNotAllowed,
	})
	return false
}
