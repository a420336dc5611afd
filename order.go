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
	for i, route := range routes {
		if len(route.HandlersRaw) > 0 {
			return beside(route.HandlersRaw)
		}
		if name, _ := firstAnswer(routes[i : i+1]); name != "" {
			return tooLate(name)
		}
	}
	return nil
}

// firstAnswer returns the name of the handler that answers before an mcp_auth in routes does, "" where
// there is none. Blocks without a matcher (handle, route, php_fastcgi) count as what is in them; those
// with one are how a site says that some paths are open to everybody.
func firstAnswer(routes caddyhttp.RouteList) (name string, guarded bool) {
	for _, route := range routes {
		always := len(route.MatcherSets) == 0
		for _, handler := range route.Handlers {
			switch m := handler.(type) {
			case *Handler:
				return "", true
			case *caddyhttp.Subroute:
				if always {
					name, guarded = firstAnswer(m.Routes)
				}
			case caddy.Module:
				if id := m.CaddyModule().ID.Name(); answers(id, always) {
					name = id
				}
			}
			if name != "" || guarded {
				return name, guarded
			}
		}
	}
	return "", false
}

// beside looks at the handlers that share the route, up to the one that is, or has in it, an mcp_auth.
func beside(handlers []json.RawMessage) error {
	name, _ := firstAnswerOf([]rawRoute{{Handlers: handlers}})
	if name != "" {
		return tooLate(name)
	}
	return nil
}

// rawRoute is a route that has not been provisioned.
type rawRoute struct {
	Matchers []json.RawMessage `json:"match"`
	Handlers []json.RawMessage `json:"handle"`
}

// firstAnswerOf is firstAnswer for routes that have not been provisioned.
func firstAnswerOf(routes []rawRoute) (name string, guarded bool) {
	for _, route := range routes {
		always := len(route.Matchers) == 0
		for _, raw := range route.Handlers {
			var handler struct {
				Name   string     `json:"handler"`
				Routes []rawRoute `json:"routes"`
			}
			if json.Unmarshal(raw, &handler) != nil {
				return "", true // whoever loads it says what is wrong
			}
			inner, within := firstAnswerOf(handler.Routes)
			switch {
			case handler.Name == "mcp_auth", within:
				return inner, true
			case always && inner != "":
				return inner, false
			case answers(handler.Name, always):
				return handler.Name, false
			}
		}
	}
	return "", false
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
