package authserver

import (
	"encoding/json"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// request is an authorization request that passed every check: what consent is asked for, and what
// the code, or what a device gets, will be bound to.
type request struct {
	ClientID    string   `json:"c"`
	ClientName  string   `json:"n,omitempty"` // as the person is told
	RedirectURI string   `json:"r"`
	State       string   `json:"-"` // see requestJSON
	Challenge   string   `json:"p"`
	Resource    string   `json:"t"`
	Scopes      []string `json:"o,omitempty"`
	Prompt      string   `json:"m,omitempty"`
	LoginHint   string   `json:"h,omitempty"`

	// OfflineAccess tells whether the person is told that the client gets refresh tokens.
	OfflineAccess bool `json:"f,omitempty"`

	// A device that waits takes the place of redirect URI, state and challenge (RFC 8628).
	Device     *sessions.DeviceRef `json:"d,omitempty"`
	DeviceAddr string              `json:"a,omitempty"`

	// OwnPage is set when the person signs in for no client, but to see a page of their own.
	OwnPage bool `json:"w,omitempty"`

	prompts  prompts // as asked for; Prompt is what is left of it for the identity provider
	approved bool    // by an earlier consent
}

// requestJSON is a request as it is sealed. State travels as bytes: JSON would replace what is not
// UTF-8 in it, and the client has to get it back exactly (OAuth 2.1, section 4.1.2).
type requestJSON struct {
	plainRequest
	State []byte `json:"s,omitempty"`
}

type plainRequest request

// MarshalJSON implements json.Marshaler.
func (r request) MarshalJSON() ([]byte, error) {
	return json.Marshal(requestJSON{plainRequest(r), []byte(r.State)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *request) UnmarshalJSON(encoded []byte) error {
	var sealed requestJSON
	if err := json.Unmarshal(encoded, &sealed); err != nil {
		return err
	}
	*r = request(sealed.plainRequest)
	r.State = string(sealed.State)
	return nil
}

// Interface guards
var (
	_ json.Marshaler   = request{}
	_ json.Unmarshaler = (*request)(nil)
)
