package clients

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxClientID bounds a dynamic client's id. It travels in the query of the authorization request, next
// to state, challenge and resource, through proxies that cut URLs.
const maxClientID = 1000

// maxRegistration bounds a registration before it is parsed. HTTP handlers bound it while reading.
const maxRegistration = 16 << 10

// Registration is the answer to a successful registration: all metadata as registered (RFC 7591,
// section 3.2.1), to be sent with status 201 and Cache-Control: no-store. Members without a value
// are left out, since clients refuse null.
type Registration struct {
	ClientID         string `json:"client_id"`
	ClientIDIssuedAt int64  `json:"client_id_issued_at"`
	ClientSecret     string `json:"client_secret,omitempty"`
	// ClientSecretExpiresAt is required with a secret; 0 says that it does not expire.
	ClientSecretExpiresAt   *int64   `json:"client_secret_expires_at,omitempty"`
	ClientName              string   `json:"client_name,omitempty"`
	ClientURI               string   `json:"client_uri,omitempty"`
	RedirectURIs            []string `json:"redirect_uris"`
	GrantTypes              []string `json:"grant_types"`
	ResponseTypes           []string `json:"response_types"`
	TokenEndpointAuthMethod string   `json:"token_endpoint_auth_method"`
}

// Register registers a client from the body of a registration request and returns what to answer, a
// *Registration. Nothing is stored: the client_id is the registration, sealed, so registering costs
// no memory, and neither restarts nor replicas lose it.
//
// It is tolerant about what a client will not get: unknown members, grant types and response types are
// dropped. A client that names no authentication method gets the default of RFC 7591, section 2,
// client_secret_basic, and thus a secret; public clients say "none".
//
// The error is a *MetadataError, or ErrUnavailable.
func (g *Registry) Register(body []byte) (response any, client *Client, err error) {
	if !g.config.DynamicRegistration {
		return nil, nil, invalidMetadata("clients cannot register themselves here: ask the operator for a client_id")
	}
	if len(body) > maxRegistration {
		return nil, nil, invalidMetadata("the registration is too large")
	}
	o, err := parseObject(body)
	if err != nil {
		return nil, nil, invalidMetadata("the registration " + err.Error())
	}
	m, err := readMetadata(o)
	if err != nil {
		return nil, nil, err
	}
	m.grantTypes = g.registrableGrants(m.grantTypes)
	m.redirectURIs = []string{}
	if !slices.Contains(m.grantTypes, GrantDeviceCode) || !deviceOnly(o) || o.has("redirect_uris") {
		if m.redirectURIs, err = readRedirectURIs(o, g.schemes); err != nil {
			return nil, nil, err
		}
	}
	if !g.registrable(m.redirectURIs) {
		return nil, nil, invalidRedirect("redirect_uris name a host whose clients may not register here: ask the operator")
	}
	if m.authMethod == "" {
		m.authMethod = AuthSecretBasic
	}
	switch m.authMethod {
	case AuthNone, AuthSecretBasic, AuthSecretPost:
	default:
		// Another method in its place would only fail later, and harder to understand.
		return nil, nil, invalidMetadata("token_endpoint_auth_method must be none, client_secret_basic or client_secret_post")
	}
	client = &Client{
		Name: m.name, URI: m.uri, Source: Dynamic, RedirectURIs: m.redirectURIs,
		AuthMethod: m.authMethod, GrantTypes: m.grantTypes, IssuedAt: g.now().UTC().Truncate(time.Second), schemes: g.schemes,
	}
	if err := g.sealID(client); err != nil {
		return nil, nil, err
	}
	answer, err := g.answer(client)
	return answer, client, err
}

// registrable reports whether every redirect URI is at a host that the operator listed.
func (g *Registry) registrable(redirectURIs []string) bool {
	if len(g.config.RegistrationHosts) == 0 {
		return true
	}
	for _, uri := range redirectURIs {
		u, err := parseRedirect(uri, g.schemes)
		if err != nil {
			return false
		}
		host := strings.ToLower(u.host)
		switch u.kind {
		case Loopback:
			host = "localhost"
		case PrivateScheme:
			host = u.scheme + ":"
		}
		if !slices.ContainsFunc(g.config.RegistrationHosts, func(pattern string) bool { return hostMatches(pattern, host) }) {
			return false
		}
	}
	return true
}

// registrableGrants returns the grant types that remain where only some hosts may register: whoever may be
// answered at those only must not be answered at a device instead.
func (g *Registry) registrableGrants(grantTypes []string) []string {
	if len(g.config.RegistrationHosts) == 0 {
		return grantTypes
	}
	return slices.DeleteFunc(grantTypes, func(name string) bool { return name == GrantDeviceCode })
}

// CheckRegistrationHost reports why host cannot stand among Config.RegistrationHosts. One that never
// matches would keep every client out without a word.
func CheckRegistrationHost(host string) error {
	scheme, isScheme := strings.CutSuffix(host, ":")
	switch name := strings.TrimPrefix(host, "*."); {
	case host == "localhost":
		return nil
	case isScheme:
		if err := CheckScheme(scheme); err != nil {
			return fmt.Errorf("%q: %w", host, err)
		}
		return nil
	case !publicHost(name) || loopbackHost(name) || name != strings.ToLower(name):
		return fmt.Errorf(`%q is no host: write "client.example", "*.client.example" for all below it, `+
			`"localhost" for loopback addresses, or "cursor:" for a private-use scheme`, host)
	}
	return nil
}

// sealID gives the client its id. The client's home page is left out if the id would be too long
// with it: it is of the least use.
func (g *Registry) sealID(c *Client) error {
	for {
		plain, err := appendRegistration(nil, c)
		if err != nil {
			return fmt.Errorf("encoding a registration: %w", err)
		}
		id, err := g.ring.Seal(sessions.ClientID, g.config.Tenant, plain)
		if err != nil {
			return fmt.Errorf("%w: sealing a registration: %w", ErrUnavailable, err)
		}
		switch {
		case len(id) < maxClientID:
			c.ID = id
			return nil
		case c.URI != "":
			c.URI = ""
		default:
			return invalidMetadata("the registration is too long by " + strconv.Itoa((len(id)-maxClientID)*3/4+1) +
				" bytes: register fewer or shorter redirect_uris, or a shorter client_name")
		}
	}
}

func (g *Registry) answer(c *Client) (*Registration, error) {
	answer := &Registration{
		ClientID: c.ID, ClientIDIssuedAt: c.IssuedAt.Unix(), ClientName: c.Name, ClientURI: c.URI,
		RedirectURIs: c.RedirectURIs, GrantTypes: c.GrantTypes, ResponseTypes: []string{"code"},
		TokenEndpointAuthMethod: c.AuthMethod,
	}
	if c.AuthMethod == AuthNone {
		return answer, nil
	}
	secret, err := g.ring.Derive(sessions.ClientSecret, g.config.Tenant, c.ID)
	if err != nil {
		return nil, fmt.Errorf("%w: deriving a client secret: %w", ErrUnavailable, err)
	}
	answer.ClientSecret, answer.ClientSecretExpiresAt = secret, new(int64)
	return answer, nil
}

// openID returns the client that is sealed in id.
func (g *Registry) openID(id string) (*Client, error) {
	if len(id) >= maxClientID {
		return nil, ErrUnknown
	}
	plain, err := g.ring.Open(sessions.ClientID, g.config.Tenant, id)
	if errors.Is(err, sessions.ErrUnavailable) {
		return nil, fmt.Errorf("%w: opening a client id: %w", ErrUnavailable, err)
	}
	if err != nil {
		return nil, ErrUnknown
	}
	c, err := decodeRegistration(plain)
	if err != nil {
		return nil, ErrUnknown
	}
	// An id lives as long as the key it is sealed with. Hosts may have been listed since it was given out.
	if !g.registrable(c.RedirectURIs) {
		return nil, ErrUnknown
	}
	c.ID, c.schemes, c.GrantTypes = id, g.schemes, g.registrableGrants(c.GrantTypes)
	return c, nil
}
