package mcpauth

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
)

// IntrospectionClient is an MCP server that may ask at `/oauth2/introspect` about the access tokens
// of its resource (RFC 7662).
type IntrospectionClient struct {
	// The client id that it authenticates with.
	ID string `json:"id,omitempty"`

	// Its secret, as `{env.NAME}` or `{file./path}`, of at least 32 characters.
	Secret string `json:"secret,omitempty"`

	// The path of the resource that it serves. Default: the only resource there is.
	Resource string `json:"resource,omitempty"`

	client clients.Client
}

// load resolves the secret.
func (c *IntrospectionClient) load() error {
	if c.Secret == "" {
		return fmt.Errorf("introspection_client %s has no secret; write secret {env.NAME}", c.ID)
	}
	secret, err := secretValue(c.Secret)
	if err != nil {
		return fmt.Errorf("introspection_client %s: secret: %w", c.ID, err)
	}
	hash, err := clients.HashSecret(secret)
	if err != nil {
		return fmt.Errorf("introspection_client %s: %w", c.ID, err)
	}
	if c.client, err = clients.ResourceServer(c.ID, hash); err != nil {
		return fmt.Errorf("introspection_client: %w", err)
	}
	return nil
}

// checkIntrospectionClients makes sure that every id names one party.
func (h *Handler) checkIntrospectionClients() error {
	for i, c := range h.IntrospectionClients {
		if slices.ContainsFunc(h.IntrospectionClients[:i], func(o *IntrospectionClient) bool { return o.ID == c.ID }) {
			return fmt.Errorf("introspection_client %s is configured twice", c.ID)
		}
		if slices.ContainsFunc(h.KnownClients, func(o *Client) bool { return o.ID == c.ID }) {
			return fmt.Errorf("introspection_client %s has the id of a client; give it another", c.ID)
		}
		if err := c.load(); err != nil {
			return err
		}
	}
	return nil
}

// resourceServers finds the resource of each introspection client.
func (h *Handler) resourceServers(set *resourceSet) ([]authserver.ResourceServer, error) {
	var all []authserver.ResourceServer
	for _, c := range h.IntrospectionClients {
		resource, err := set.named(c.Resource)
		if err != nil {
			return nil, fmt.Errorf("introspection_client %s: %w", c.ID, err)
		}
		all = append(all, authserver.ResourceServer{Client: c.client, Resource: resource.URI})
	}
	return all, nil
}

// named returns the resource whose identifier has this path, as the configuration writes it.
func (s *resourceSet) named(path string) (*resource, error) {
	if path == "" && len(s.all) == 1 {
		return s.all[0], nil
	}
	var paths []string
	for _, r := range s.all {
		if path != "" && strings.TrimSuffix(strings.TrimSuffix(path, "*"), "/") == r.path {
			return r, nil
		}
		paths = append(paths, r.path+"/")
	}
	if path == "" {
		return nil, fmt.Errorf("there are several resources; write resource with one of: %s", strings.Join(paths, ", "))
	}
	return nil, fmt.Errorf("resource %s: there is no such resource; there are: %s", path, strings.Join(paths, ", "))
}

// parseIntrospectionClient reads an upstream that may introspect tokens. Syntax:
//
//	introspection_client <id> {
//	    secret   <{env.NAME} | {file./path}>
//	    resource <path>
//	}
func parseIntrospectionClient(d *caddyfile.Dispenser) (*IntrospectionClient, error) {
	c := new(IntrospectionClient)
	if !d.AllArgs(&c.ID) {
		return nil, d.Err("introspection_client takes one client id")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "secret":
			err = oneArg(d, &c.Secret)
		case "resource":
			err = oneArg(d, &c.Resource)
		default:
			return nil, d.Errf("unknown option %q; introspection_client knows: secret, resource", d.Val())
		}
		if err != nil {
			return nil, err
		}
	}
	if c.Secret == "" {
		return nil, d.Errf("introspection_client %s has no secret; write secret {env.NAME}", c.ID)
	}
	return c, nil
}
