package authserver

import "github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"

// Metadata is the authorization server metadata of RFC 8414, section 2. It says what this server
// does and nothing else: clients choose their way by it.
func (s *Server) Metadata() oauthmeta.AuthorizationServer {
	authMethods := []string{"none", "client_secret_basic", "client_secret_post"}
	return oauthmeta.AuthorizationServer{
		Issuer:                                     s.Issuer,
		AuthorizationEndpoint:                      s.Issuer + AuthorizePath,
		TokenEndpoint:                              s.Issuer + TokenPath,
		RegistrationEndpoint:                       s.Issuer + RegisterPath,
		RevocationEndpoint:                         s.Issuer + RevokePath,
		ScopesSupported:                            s.scopes(),
		ResponseTypesSupported:                     []string{"code"},
		ResponseModesSupported:                     []string{"query"},
		GrantTypesSupported:                        s.grantTypes(),
		TokenEndpointAuthMethodsSupported:          authMethods,
		RevocationEndpointAuthMethodsSupported:     authMethods,
		CodeChallengeMethodsSupported:              []string{"S256"},
		AuthorizationResponseIssParameterSupported: true,
	}
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
