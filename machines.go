package mcpauth

import (
	"fmt"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/clients"
)

// machinesOf finds the resources at which clients may act in their own name. A client that says none may
// use the site's only one: on a site of several, forgetting the line must not open them all. Clients that
// all sites share may name resources that only some of the sites have.
func machinesOf(known []clients.Client, shared bool, resources *resourceSet) (authserver.Machines, error) {
	machines := make(authserver.Machines)
	for _, c := range known {
		if !c.May(clients.GrantClientCredentials) {
			continue
		}
		only := resources.Default()
		switch {
		case len(c.Resources) > 0:
		case only != nil:
			machines[c.ID] = []string{only.URI}
		default:
			return nil, fmt.Errorf("client %q may use client_credentials, but not said where, and this site has several resources; "+
				"write \"resource <path...>\" in its block", c.ID)
		}
		for _, path := range c.Resources {
			resource := resources.at(path)
			if resource == nil && shared {
				continue
			}
			if resource == nil {
				return nil, fmt.Errorf("client %q: %s is no resource of this site; write the first path of one of its resources", c.ID, path)
			}
			machines[c.ID] = append(machines[c.ID], resource.URI)
		}
	}
	return machines, nil
}
