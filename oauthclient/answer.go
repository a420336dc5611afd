package oauthclient

import (
	"crypto/subtle"
	"fmt"
	"net/url"
)

// maxCode bounds an authorization code.
const maxCode = 8 << 10

// Code reads an authorization response (RFC 6749, section 4.1.2), whose state the caller has compared. The
// error is ErrDeclined or ErrAnswer.
func (md *Metadata) Code(params url.Values) (code string, err error) {
	for _, values := range params {
		if len(values) != 1 {
			return "", fmt.Errorf("%w: a parameter is repeated", ErrAnswer)
		}
	}
	// RFC 9207, section 2.4, also for errors: before anything else is believed.
	iss, sent := params.Get("iss"), params.Has("iss")
	if !sent && md.SendsIssuer || sent && subtle.ConstantTimeCompare([]byte(iss), []byte(md.Issuer)) != 1 {
		return "", fmt.Errorf("%w: it is not marked as coming from the server that was asked", ErrAnswer)
	}
	if params.Has("error") {
		if params.Get("error") == "access_denied" {
			return "", ErrDeclined
		}
		return "", fmt.Errorf("%w: it says %s", ErrAnswer, knownError(params.Get("error")))
	}
	if code = params.Get("code"); code == "" || len(code) > maxCode {
		return "", fmt.Errorf("%w: it has no usable code", ErrAnswer)
	}
	return code, nil
}
