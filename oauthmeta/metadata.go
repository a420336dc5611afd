// Package oauthmeta says what the edge publishes about itself: protected resource metadata (RFC
// 9728), authorization server metadata (RFC 8414), the challenges that point there, and what makes
// two resource identifiers the same. It knows nothing of tokens, clients or Caddy; callers give it
// configured values, never parts of a request.
package oauthmeta

// ProtectedResource is the metadata of one protected resource (RFC 9728, section 2). Members without
// a value are left out: clients reject null where the RFC has a string or an array.
type ProtectedResource struct {
	// Resource is the resource identifier, byte for byte as the client is configured with it: clients
	// compare the two (RFC 9728, section 3.3).
	Resource string `json:"resource"`
	// AuthorizationServers are issuer identifiers, at least one for MCP.
	AuthorizationServers []string `json:"authorization_servers,omitempty"`
	// ScopesSupported must not hold offline_access: whether a client gets refresh tokens is no matter
	// of the resource (MCP 2026-07-28, authorization, refresh tokens).
	ScopesSupported []string `json:"scopes_supported,omitempty"`
	// BearerMethodsSupported is ["header"] here; tokens in a body or a query are never read.
	BearerMethodsSupported []string `json:"bearer_methods_supported,omitempty"`
	ResourceName           string   `json:"resource_name,omitempty"`
	ResourceDocumentation  string   `json:"resource_documentation,omitempty"`
	ResourcePolicyURI      string   `json:"resource_policy_uri,omitempty"`
	ResourceTOSURI         string   `json:"resource_tos_uri,omitempty"`
}

// AuthorizationServer is the metadata of the authorization server (RFC 8414, section 2), with the
// members of RFC 9207 and of client ID metadata documents. Members without a value are left out.
type AuthorizationServer struct {
	// Issuer must equal the URL under which clients looked for this document, byte for byte
	// (RFC 8414, section 3.3).
	Issuer                      string `json:"issuer"`
	AuthorizationEndpoint       string `json:"authorization_endpoint,omitempty"`
	TokenEndpoint               string `json:"token_endpoint,omitempty"`
	RegistrationEndpoint        string `json:"registration_endpoint,omitempty"`
	RevocationEndpoint          string `json:"revocation_endpoint,omitempty"`
	IntrospectionEndpoint       string `json:"introspection_endpoint,omitempty"`
	DeviceAuthorizationEndpoint string `json:"device_authorization_endpoint,omitempty"`
	// JWKSURI is required by the OpenID alias, whose readers check for it even if no ID token is ever
	// issued; an empty key set will do.
	JWKSURI string `json:"jwks_uri,omitempty"`

	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	ResponseTypesSupported []string `json:"response_types_supported,omitempty"`
	ResponseModesSupported []string `json:"response_modes_supported,omitempty"`
	GrantTypesSupported    []string `json:"grant_types_supported,omitempty"`
	// AuthorizationGrantProfilesSupported says what assertions mean that are taken as grants
	// (draft-ietf-oauth-identity-assertion-authz-grant).
	AuthorizationGrantProfilesSupported []string `json:"authorization_grant_profiles_supported,omitempty"`

	// The algorithms of each endpoint must be there if its methods hold private_key_jwt.
	TokenEndpointAuthMethodsSupported                  []string `json:"token_endpoint_auth_methods_supported,omitempty"`
	TokenEndpointAuthSigningAlgValuesSupported         []string `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	RevocationEndpointAuthMethodsSupported             []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	RevocationEndpointAuthSigningAlgValuesSupported    []string `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectionEndpointAuthMethodsSupported          []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
	IntrospectionEndpointAuthSigningAlgValuesSupported []string `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`

	// CodeChallengeMethodsSupported must be there: MCP clients refuse to go on without it
	// (MCP 2026-07-28, authorization code protection).
	CodeChallengeMethodsSupported []string `json:"code_challenge_methods_supported,omitempty"`

	// AuthorizationResponseIssParameterSupported announces iss in every authorization response
	// (RFC 9207, section 3).
	AuthorizationResponseIssParameterSupported bool `json:"authorization_response_iss_parameter_supported,omitempty"`
	// ClientIDMetadataDocumentSupported announces that a client_id may be the URL of a document.
	ClientIDMetadataDocumentSupported bool `json:"client_id_metadata_document_supported,omitempty"`

	ServiceDocumentation string `json:"service_documentation,omitempty"`

	// Set by OpenID only: this is an OAuth server, and says so in its RFC 8414 document.
	SubjectTypesSupported            []string `json:"subject_types_supported,omitempty"`
	IDTokenSigningAlgValuesSupported []string `json:"id_token_signing_alg_values_supported,omitempty"`
}

// OpenID returns the document for /.well-known/openid-configuration, which clients try as an
// alternative to RFC 8414 (MCP 2026-07-28, authorization server discovery). It adds the members that
// OpenID Connect Discovery 1.0, section 3, requires and that strict readers insist on.
func (a AuthorizationServer) OpenID() AuthorizationServer {
	a.SubjectTypesSupported = []string{"public"}
	a.IDTokenSigningAlgValuesSupported = []string{"RS256"}
	return a
}
