package mcpauth

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// runsFirst makes sure that nothing answers before the handler that ctx is for. Directives in a route
// block run in the order in which they are written, and the order option changes it elsewhere: a proxy
// above mcp_auth would hand everybody through.
func runsFirst(ctx caddy.Context) error {
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		if err := before(server.Routes); err != nil {
			return err
		}
	}
	for _, module := range ctx.Modules() {
		if subroute, ok := module.(*caddyhttp.Subroute); ok {
			if err := before(subroute.Routes); err != nil {
				return err
			}
		}
	}
	return nil
}

// before looks at the handlers of one list of routes that are in front of the one being provisioned.
// Routes are provisioned in order: what is ready runs before, what is still JSON runs beside or after.
func before(routes caddyhttp.RouteList) error {
	for _, route := range routes {
		if len(route.HandlersRaw) > 0 {
			return beside(route.HandlersRaw)
		}
		for _, handler := range route.Handlers {
			module, ok := handler.(caddy.Module)
			if ok && answers(module.CaddyModule().ID.Name(), len(route.MatcherSets) == 0) {
				return tooLate(module.CaddyModule().ID.Name())
			}
		}
	}
	return nil
}

// beside looks at the handlers that share the route, up to the one that is, or has in it, an mcp_auth.
func beside(handlers []json.RawMessage) error {
	for _, raw := range handlers {
		var handler struct {
			Name   string          `json:"handler"`
			Routes json.RawMessage `json:"routes"`
		}
		if json.Unmarshal(raw, &handler) != nil || handler.Name == "mcp_auth" || holds(handler.Routes) {
			return nil
		}
		if answers(handler.Name, true) {
			return tooLate(handler.Name)
		}
	}
	return nil
}

// holds reports whether routes have an mcp_auth anywhere in them.
func holds(routes json.RawMessage) bool {
	var list []struct {
		Handlers []json.RawMessage `json:"handle"`
	}
	if json.Unmarshal(routes, &list) != nil {
		return false
	}
	for _, route := range list {
		for _, raw := range route.Handlers {
			var handler struct {
				Name   string          `json:"handler"`
				Routes json.RawMessage `json:"routes"`
			}
			if json.Unmarshal(raw, &handler) == nil && (handler.Name == "mcp_auth" || holds(handler.Routes)) {
				return true
			}
		}
	}
	return false
}

// answers reports whether a handler leaves nothing to mcp_auth. A proxy is refused with a matcher too:
// what it proxies is rarely meant to be open. Other answers to some paths are, such as a health check.
func answers(name string, always bool) bool {
	if name == "reverse_proxy" {
		return true
	}
	return always && slices.Contains([]string{"static_response", "error", "file_server"}, name)
}

func tooLate(name string) error {
	if name == "static_response" {
		name = "respond"
	}
	return fmt.Errorf("%s runs before mcp_auth in the same block, so it answers without asking for a token; "+
		"write mcp_auth above %s, or put what is open to everybody into a handle block of its own", name, name)
}
