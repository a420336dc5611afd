package clients

import "fmt"

// ResourceServer returns a client that signs nobody in: an MCP server which asks about the tokens
// that it was given (RFC 7662, section 2.1). It belongs into a Registry of its own, so that it is no
// client at any other endpoint.
func ResourceServer(id string, secret SecretHash) (Client, error) {
	if err := checkStaticID(id); err != nil {
		return Client{}, err
	}
	if secret == (SecretHash{}) {
		return Client{}, fmt.Errorf("client %q has no secret", id)
	}
	return Client{ID: id, Name: id, Source: Preregistered, AuthMethod: AuthSecretBasic, Secret: secret}, nil
}
