package forms

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	// maxBody bounds a form. A token request carries a client id (1,000 characters), a code or
	// refresh token and a verifier; 64 KiB leaves room for assertions.
	maxBody = 64 << 10
	// maxParameters bounds how many parameters a request may carry, before they are parsed.
	maxParameters = 100
)

// BodyError says what is wrong with a form. Its text holds nothing of the form.
type BodyError struct {
	Status int // what to answer
	Text   string
}

func (e *BodyError) Error() string { return e.Text }

// Body reads the form in the body of a request: form-encoded, bounded, no parameter twice but those
// that may be repeated. The query string is never looked at: credentials do not belong in URLs
// (RFC 6749, section 2.3.1), and mixing both would make two readings of one request. The error is a
// [BodyError].
func Body(w http.ResponseWriter, r *http.Request, repeatable ...string) (url.Values, error) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		return nil, &BodyError{http.StatusBadRequest, "send the parameters as application/x-www-form-urlencoded in the request body"}
	}
	body, err := ReadBody(w, r, maxBody)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &BodyError{http.StatusRequestEntityTooLarge, "the request body is larger than 64 KiB"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &BodyError{http.StatusRequestTimeout, "the request body did not arrive within 10 s"}
	case err != nil:
		return nil, &BodyError{http.StatusBadRequest, "the request body could not be read to its end"}
	}
	form, err := Parse(string(body))
	if err != nil {
		return nil, &BodyError{http.StatusBadRequest, "the request body is not valid form encoding"}
	}
	if Repeated(form, repeatable...) {
		return nil, &BodyError{http.StatusBadRequest, "a parameter is given more than once"} // RFC 6749, section 3.2
	}
	return form, nil
}

// bodyTime is how long a body may take. What is sent to these endpoints fits in a few packets; whoever
// takes longer holds a connection for nothing.
var bodyTime = 10 * time.Second

// ReadBody reads the body of a request, which must not be longer than most bytes and must be there in ten
// seconds, however lively it trickles: a server's own limit is mostly between two bytes. The error is an
// [http.MaxBytesError] or [os.ErrDeadlineExceeded] then.
func ReadBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	BoundBody(w, r)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		return nil, err // the deadline stays, and bounds what the server still reads of the rest
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return body, nil
}

// BoundBody bounds how long the body of a request may take, which holds for one that nobody reads, too: a
// server reads it to its end before it answers. ReadBody takes the bound off once the body is there.
func BoundBody(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		// Without a connection there is nothing that could be late.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	}
}

// Parse is url.ParseQuery with a bound on the number of parameters.
func Parse(raw string) (url.Values, error) {
	if strings.Count(raw, "&") >= maxParameters {
		return nil, errors.New("too many parameters")
	}
	return url.ParseQuery(raw)
}

// Repeated reports whether a parameter is there twice that may not be.
func Repeated(form url.Values, repeatable ...string) bool {
	for name, values := range form {
		if len(values) > 1 && !slices.Contains(repeatable, name) {
			return true
		}
	}
	return false
}

// Interface guards
var _ error = (*BodyError)(nil)
