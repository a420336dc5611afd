package clients

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// maxCredentials bounds an Authorization header; a dynamic client's id and secret, percent-encoded
// throughout, stay below.
const maxCredentials = 8 << 10

// Credentials is what a request presented for client authentication. It holds a secret; String hides
// it.
type Credentials struct {
	ClientID string
	Secret   string
	// Assertion is the signed JWT of a client that authenticates with a key.
	Assertion string
	// Method is the one of the Auth constants that was used.
	Method string

	rawSecret string // Basic: as sent, before the form decoding
}

// String keeps the secret out of logs.
func (c Credentials) String() string { return c.Method + " credentials of a client" }

// GoString keeps the secret out of logs.
func (c Credentials) GoString() string { return c.String() }

// ParseCredentials reads the client's credentials from the Authorization header or from form, which is
// the body of a POST without the query. Both at once is an error (RFC 6749, section 2.3), unless the
// body does no more than repeat the client_id or hold an empty secret, as some clients do.
//
// The error is ErrMalformed or ErrAuthentication.
func ParseCredentials(r *http.Request, form url.Values) (Credentials, error) {
	for _, name := range []string{"client_id", "client_secret", "client_assertion", "client_assertion_type"} {
		if len(form[name]) > 1 {
			return Credentials{}, fmt.Errorf("%w: %s is repeated", ErrMalformed, name)
		}
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if form.Get("client_assertion") != "" || form.Get("client_assertion_type") != "" {
		return parseAssertionCredentials(r, form)
	}
	if headers := r.Header.Values("Authorization"); len(headers) > 0 {
		if len(headers) > 1 {
			return Credentials{}, fmt.Errorf("%w: the Authorization header is repeated", ErrMalformed)
		}
		c, err := parseBasic(headers[0])
		switch {
		case err != nil:
			return Credentials{}, err
		case secret != "":
			return Credentials{}, fmt.Errorf("%w: a secret both in the header and in the body", ErrMalformed)
		case id != "" && id != c.ClientID:
			return Credentials{}, fmt.Errorf("%w: client_id differs between header and body", ErrMalformed)
		}
		return c, nil
	}
	switch {
	case id == "":
		// RFC 6749, section 5.2: no client authentication included is invalid_client.
		return Credentials{}, fmt.Errorf("%w: there is no client_id", ErrAuthentication)
	case secret != "":
		return Credentials{ClientID: id, Secret: secret, Method: AuthSecretPost}, nil
	}
	return Credentials{ClientID: id, Method: AuthNone}, nil
}

func parseAssertionCredentials(r *http.Request, form url.Values) (Credentials, error) {
	if form.Get("client_secret") != "" || len(r.Header.Values("Authorization")) > 0 {
		return Credentials{}, fmt.Errorf("%w: an assertion and other credentials", ErrMalformed)
	}
	if form.Get("client_assertion_type") != AssertionType {
		return Credentials{}, fmt.Errorf("%w: client_assertion_type is not supported", ErrAuthentication)
	}
	c := Credentials{ClientID: form.Get("client_id"), Assertion: form.Get("client_assertion"), Method: AuthPrivateKeyJWT}
	subject, err := assertedClient(c.Assertion)
	switch {
	case err != nil:
		return Credentials{}, err
	case c.ClientID == "":
		c.ClientID = subject
	case c.ClientID != subject:
		return Credentials{}, fmt.Errorf("%w: client_id differs from the assertion's subject", ErrMalformed)
	}
	return c, nil
}

// parseBasic decodes HTTP Basic credentials, whose halves are form-encoded (RFC 6749, section 2.3.1).
func parseBasic(header string) (Credentials, error) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") || len(header) > maxCredentials {
		return Credentials{}, fmt.Errorf("%w: the Authorization header is not Basic", ErrAuthentication)
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil {
		return Credentials{}, fmt.Errorf("%w: the Basic credentials are not base64", ErrAuthentication)
	}
	rawID, rawSecret, found := strings.Cut(string(plain), ":")
	if !found {
		return Credentials{}, fmt.Errorf("%w: the Basic credentials have no colon", ErrAuthentication)
	}
	id, err := url.QueryUnescape(rawID)
	if err != nil || id == "" {
		return Credentials{}, fmt.Errorf("%w: the Basic credentials have no usable client_id", ErrAuthentication)
	}
	secret, err := url.QueryUnescape(rawSecret)
	if err != nil {
		// A client that does not encode may well have a percent sign in its secret.
		secret = rawSecret
	}
	c := Credentials{ClientID: id, Secret: secret, Method: AuthSecretBasic, rawSecret: rawSecret}
	if secret == "" {
		c.Method = AuthNone
	}
	return c, nil
}
