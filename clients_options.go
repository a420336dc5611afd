package mcpauth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"regexp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
)

// Clients says how MCP clients may become known.
type Clients struct {
	// Clients that describe themselves in a document under their client id, a URL (client ID
	// metadata documents). Default: accepted from every host.
	MetadataDocuments *MetadataDocuments `json:"metadata_documents,omitempty"`

	// Clients that register themselves (RFC 7591). Default: everybody may.
	Registration *Registration `json:"registration,omitempty"`

	// Private-use URI schemes that redirect URIs may have, in addition to those of well-known
	// clients and to reverse domain names such as `com.example.app`. Default: none.
	PrivateSchemes []string `json:"private_schemes,omitempty"`
}

// MetadataDocuments is the policy for client ID metadata documents.
type MetadataDocuments struct {
	// Do not accept such clients at all. Default: `false`.
	Disabled bool `json:"disabled,omitempty"`

	// The hosts whose documents are accepted; `*.example.com` means all below it. Default: every
	// host.
	Allow []string `json:"allow,omitempty"`

	// Hosts whose documents are refused, also if allowed above. Default: none.
	Deny []string `json:"deny,omitempty"`

	// Documents by their URL, as files on this machine: for clients whose document cannot be fetched
	// from a server. Default: none.
	Pinned map[string]string `json:"pinned,omitempty"`

	// Accept documents on this machine's loopback interface. For tests; refused unless the issuer is
	// on loopback itself. Default: `false`.
	AllowLoopback bool `json:"allow_loopback,omitempty"`
}

// Registration is the policy for clients that register themselves.
type Registration struct {
	// Nobody may register. Clients that did before are unknown then. Default: `false`.
	Disabled bool `json:"disabled,omitempty"`

	// Initial access tokens: registering needs one of them. Give them as `{env.NAME}` or
	// `{file./path}`. Default: none is needed.
	InitialAccessTokens []string `json:"initial_access_tokens,omitempty"`

	// The only hosts that redirect URIs may have; `localhost` means loopback, `cursor:` a private-use
	// scheme. Default: every host.
	RedirectHosts []string `json:"redirect_hosts,omitempty"`
}

// Client is an MCP client that the operator registered.
type Client struct {
	// The client id.
	ID string `json:"id,omitempty"`

	// What people call it. Default: none.
	Name string `json:"name,omitempty"`

	// The client secret, as `{env.NAME}` or `{file./path}`, of at least 32 characters. Default: a
	// public client, protected by PKCE alone.
	Secret string `json:"secret,omitempty"`

	// The public keys of a client that proves itself by signed assertions (`private_key_jwt`), as a JWK
	// set, such as `{file./path}`. It takes the place of a secret. Default: none.
	KeySet string `json:"jwks,omitempty"`

	// Where it may be answered. Loopback addresses match with any port. Needed for
	// `authorization_code`. Default: none.
	RedirectURIs []string `json:"redirect_uris,omitempty"`

	// What it may ask for tokens with: `authorization_code`, `refresh_token`, `device_code`,
	// `client_credentials` (tokens in its own name) and `jwt_bearer` (an identity provider's
	// assertions). The last two need a secret or keys. Default:
	// `authorization_code refresh_token`.
	GrantTypes []string `json:"grant_types,omitempty"`

	// The scopes that tokens in its own name may carry. Default: all scopes of the resource.
	Scopes []string `json:"scopes,omitempty"`

	// The resources that tokens in its own name may be for, each by its first path. Default: the
	// site's only resource.
	Resources []string `json:"resources,omitempty"`
}

// clientSettings is what a site needs to know to make its client registry.
type clientSettings struct {
	config             clients.Config
	documents          *clients.Documents
	registrationTokens [][32]byte
	shared             bool // known clients come from the global options

	first *clients.Registry // made while provisioning
}

// resolveClients checks the settings and resolves placeholders and pinned files.
func resolveClients(c *Clients, known []*Client) (clientSettings, error) {
	var s clientSettings
	if c == nil {
		c = new(Clients)
	}
	if err := checkSchemes(c.PrivateSchemes); err != nil {
		return s, err
	}
	s.config.PrivateSchemes = c.PrivateSchemes
	registration := c.Registration
	if registration == nil {
		registration = new(Registration)
	}
	s.config.DynamicRegistration = !registration.Disabled
	for _, host := range registration.RedirectHosts {
		if err := clients.CheckRegistrationHost(host); err != nil {
			return s, fmt.Errorf("registration redirect_host %w", err)
		}
	}
	s.config.RegistrationHosts = registration.RedirectHosts
	if err := registration.checkTokens(); err != nil {
		return s, err
	}
	for _, token := range registration.InitialAccessTokens {
		secret, err := secretValue(token)
		if err != nil {
			return s, fmt.Errorf("registration token: %w", err)
		}
		if len(secret) < 32 {
			return s, fmt.Errorf("registration token %s is shorter than 32 characters; make one with: openssl rand -base64 32", token)
		}
		s.registrationTokens = append(s.registrationTokens, sha256.Sum256([]byte(secret)))
	}
	var err error
	if s.documents, err = c.MetadataDocuments.resolve(); err != nil {
		return s, err
	}
	for _, k := range known {
		if k == nil {
			return s, fmt.Errorf("an entry of known_clients is null")
		}
		client, err := k.resolve(c.PrivateSchemes)
		if err != nil {
			return s, err
		}
		for _, other := range s.config.Static {
			if other.ID == client.ID {
				return s, fmt.Errorf("client %q is configured twice", client.ID)
			}
		}
		s.config.Static = append(s.config.Static, client)
	}
	return s, nil
}

func checkSchemes(schemes []string) error {
	for _, scheme := range schemes {
		if err := clients.CheckScheme(scheme); err != nil {
			return fmt.Errorf("scheme %s: %w", scheme, err)
		}
	}
	return nil
}

// secretPlaceholder is all that may stand where a secret is meant, and so may be shown in an error.
var secretPlaceholder = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// checkTokens refuses tokens that stand in the configuration itself, which is shown, copied and kept in places
// where no secret belongs.
func (r *Registration) checkTokens() error {
	for _, token := range r.InitialAccessTokens {
		if !secretPlaceholder.MatchString(token) {
			return errors.New(`registration token is not a placeholder; write "registration token {env.NAME}" or "registration token {file./path}"`)
		}
	}
	return nil
}

func (m *MetadataDocuments) resolve() (*clients.Documents, error) {
	if m == nil {
		return new(clients.Documents), nil
	}
	if m.Disabled {
		return nil, nil
	}
	documents := &clients.Documents{AllowHosts: m.Allow, DenyHosts: m.Deny, AllowLoopback: m.AllowLoopback, Pinned: make(map[string][]byte)}
	for url, file := range m.Pinned {
		body, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the pinned metadata document of %s: %w", url, err)
		}
		documents.Pinned[url] = body
	}
	return documents, documents.Check()
}

func (k *Client) resolve(privateSchemes []string) (clients.Client, error) {
	client := clients.Client{ID: k.ID, Name: k.Name, RedirectURIs: k.RedirectURIs, Scopes: k.Scopes, Resources: k.Resources}
	for _, word := range k.GrantTypes {
		grantType, err := clients.ParseGrantType(word)
		if err != nil {
			return client, fmt.Errorf("client %s: %w", k.ID, err)
		}
		client.GrantTypes = append(client.GrantTypes, grantType)
	}
	if k.KeySet != "" {
		keySet, err := secretValue(k.KeySet)
		if err != nil {
			return client, fmt.Errorf("client %s: jwks: %w", k.ID, err)
		}
		if client, err = clients.WithKeys(client, []byte(keySet)); err != nil {
			return client, err
		}
	}
	if k.Secret != "" {
		secret, err := secretValue(k.Secret)
		if err != nil {
			return client, fmt.Errorf("client %s: secret: %w", k.ID, err)
		}
		if client.Secret, err = clients.HashSecret(secret); err != nil {
			return client, fmt.Errorf("client %s: %w", k.ID, err)
		}
	}
	return clients.CheckStatic(client, privateSchemes)
}
