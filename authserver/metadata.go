package authserver

import (
	"slices"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
)

// Metadata is the authorization server metadata of RFC 8414, section 2. It says what this server
// does and nothing else: clients choose their way by it.
func (s *Server) Metadata() oauthmeta.AuthorizationServer {
	authMethods := s.Clients.AuthMethods()
	metadata := oauthmeta.AuthorizationServer{
		Issuer:                                     s.Issuer,
		AuthorizationEndpoint:                      s.Issuer + AuthorizePath,
		TokenEndpoint:                              s.Issuer + TokenPath,
		RevocationEndpoint:                         s.Issuer + RevokePath,
		ScopesSupported:                            s.scopes(),
		ResponseTypesSupported:                     []string{"code"},
		ResponseModesSupported:                     []string{"query"},
		GrantTypesSupported:                        s.grantTypes(),
		TokenEndpointAuthMethodsSupported:          authMethods,
		RevocationEndpointAuthMethodsSupported:     authMethods,
		CodeChallengeMethodsSupported:              []string{"S256"},
		AuthorizationResponseIssParameterSupported: true,
		ClientIDMetadataDocumentSupported:          s.Clients.ReadsDocuments(),
	}
	if len(s.IDJAG) > 0 {
		metadata.AuthorizationGrantProfilesSupported = []string{grantProfile}
	}
	if s.DeviceFlow {
		metadata.DeviceAuthorizationEndpoint = s.Issuer + DeviceAuthorizationPath
	}
	if s.Relay == nil {
		metadata.IntrospectionEndpoint = s.Issuer + IntrospectPath
		metadata.IntrospectionEndpointAuthMethodsSupported = slices.DeleteFunc(slices.Clone(authMethods), func(method string) bool {
			return method == clients.AuthNone
		})
	}
	metadata.JWKSURI = s.Issuer + JWKSPath
	if s.Clients.Registers() {
		metadata.RegistrationEndpoint = s.Issuer + RegisterPath
	}
	if slices.Contains(authMethods, clients.AuthPrivateKeyJWT) {
		algorithms := clients.AssertionAlgorithms() // RFC 8414, section 2
		metadata.TokenEndpointAuthSigningAlgValuesSupported = algorithms
		metadata.RevocationEndpointAuthSigningAlgValuesSupported = algorithms
		if s.Relay == nil {
			metadata.IntrospectionEndpointAuthSigningAlgValuesSupported = algorithms
		}
	}
	return metadata
}

// scopes lists every resource's scopes, and offline_access, which belongs to no resource and stands
// for the refresh token (MCP authorization, "Refresh Tokens").
func (s *Server) scopes() []string {
	seen := map[string]bool{"offline_access": true}
	var all []string
	for _, resource := range s.Resources.All() {
		for _, scope := range resource.Scopes {
			if !seen[scope] {
				seen[scope] = true
				all = append(all, scope)
			}
		}
	}
	return append(all, "offline_access")
}
