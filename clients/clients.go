// Package clients knows who an MCP client is: registered beforehand by the operator, by itself
// (RFC 7591), or by a metadata document under its own URL. It decides where a client may be sent
// back to and whether it is the one it claims to be. It stores nothing, and knows nothing of users,
// grants or pages; callers give it a key ring and a clock.
package clients

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"time"
)

var (
	// ErrUnknown is a client_id that names no client: never issued here, forged, of another tenant,
	// or of a kind that is switched off. The person sees a page; nobody is redirected anywhere
	// (RFC 6749, section 4.1.2.1). At the token endpoint it is invalid_client.
	ErrUnknown = errors.New("unknown client")
	// ErrAuthentication is a client that did not prove to be the one it names: invalid_client.
	ErrAuthentication = errors.New("client authentication failed")
	// ErrMalformed is a request that presents credentials in more than one way or contradicts itself:
	// invalid_request (RFC 6749, section 2.3).
	ErrMalformed = errors.New("malformed client credentials")
	// ErrUnavailable is a failure that says nothing about the client: the key ring is not loaded, the
	// client's metadata cannot be fetched. Trying again later makes sense.
	ErrUnavailable = errors.New("client cannot be looked up now")
)

// Source tells how a client became known, and with it how much of what it says can be believed.
type Source int

// The ways to become known.
const (
	// Preregistered clients were written into the configuration by the operator.
	Preregistered Source = iota
	// Dynamic clients registered themselves; everything they say is their own claim.
	Dynamic
	// MetadataDocument clients are described by a document under their client_id, so whoever runs
	// that host vouches for them.
	MetadataDocument
)

// Ways of client authentication (RFC 7591, section 2).
const (
	AuthNone          = "none"
	AuthSecretBasic   = "client_secret_basic"
	AuthSecretPost    = "client_secret_post"
	AuthPrivateKeyJWT = "private_key_jwt"
)

// Client is one registered client. A Registry hands them out; they are shared and must not be
// changed.
type Client struct {
	// ID is the client_id as it travels. A dynamic one is long, and holds the registration; use Label
	// where it is shown or kept.
	ID string
	// Name and URI are the client's own words, cleaned of control characters and bounded in length.
	// Only the operator's entries can be believed. URI is "" or https.
	Name, URI string
	Source    Source
	// RedirectURIs are as registered; Redirect decides about presented ones.
	RedirectURIs []string
	// AuthMethod is one of the Auth constants.
	AuthMethod string
	// GrantTypes are what it may ask for tokens with. Only that of a preregistered client may lack
	// authorization_code.
	GrantTypes []string
	// Scopes and Resources limit what a preregistered client gets in its own name, with
	// client_credentials. Resources are paths of the site; without any limit it is all there is.
	Scopes, Resources []string
	// IssuedAt is when a dynamic client registered; zero for the others.
	IssuedAt time.Time
	// Secret is the hash of a preregistered client's secret; zero for the others.
	Secret SecretHash

	schemes schemes
	keys    keySource
	// mayOmitAssertion is set for a client that offers to authenticate with a key, and also not to.
	mayOmitAssertion bool
}

// Label is a short and stable name for logs, tokens and headers. Other than the id of a dynamic client
// it fits into a line.
func (c *Client) Label() string {
	if c.Source != Dynamic {
		return c.ID
	}
	sum := sha256.Sum256([]byte(c.ID))
	return "dcr-" + hex.EncodeToString(sum[:8])
}

// VerifiedHost is the host that vouches for the client: that of its metadata document, with a port if
// it is not the usual one. It is "" for clients without a document.
func (c *Client) VerifiedHost() string {
	if c.Source != MetadataDocument {
		return ""
	}
	u, err := url.Parse(c.ID)
	if err != nil {
		return ""
	}
	return u.Host
}

// MetadataError is the answer to client metadata that cannot be accepted (RFC 7591, section 3.2.2).
// Description is ours throughout and holds nothing of what was sent.
type MetadataError struct{ Code, Description string }

// Error implements error.
func (e *MetadataError) Error() string { return e.Code + ": " + e.Description }

func invalidMetadata(description string) error {
	return &MetadataError{Code: "invalid_client_metadata", Description: description}
}

func invalidRedirect(description string) error {
	return &MetadataError{Code: "invalid_redirect_uri", Description: description}
}

var _ error = (*MetadataError)(nil)
