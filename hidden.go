package mcpauth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
)

var errHidden = errors.New("mcp_auth stands in a block for some paths only, so requests for /.well-known/ and /oauth2/ never reach it " +
	"and no client can sign in; write mcp_auth above that block and \"resource <path>\" in it for what it protects, " +
	"or let the block's matcher take /.well-known/* and /oauth2/* too")

// reachable makes sure that clients find the endpoints of the handler that ctx is for: a block such as
// "handle /mcp/*" around it would hide them. A matcher of other things than paths hides nothing, and where
// another mcp_auth stands beside this one, that may be the one with the endpoints.
func (h *Handler) reachable(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || len(h.providers) == 0 && h.facade == nil {
		return nil
	}
	for _, sets := range h.around {
		if admitsPath(sets, oauthPath) && admitsPath(sets, authserver.TokenPath) {
			continue
		}
		if guards(server.Routes, underway(server.Routes)) > 1 {
			return nil
		}
		return errHidden
	}
	return nil
}

// matchersAround returns the matchers that a request has to pass on its way to the handler that ctx is for,
// from the outside in.
func matchersAround(ctx caddy.Context) (around []caddyhttp.MatcherSets) {
	lists := []caddyhttp.RouteList{}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		lists = append(lists, server.Routes)
	}
	for _, module := range ctx.Modules() {
		if subroute, ok := module.(*caddyhttp.Subroute); ok {
			lists = append(lists, subroute.Routes)
		}
	}
	for _, routes := range lists {
		if route := underway(routes); route != nil {
			around = append(around, route.MatcherSets)
		}
	}
	return around
}

// oauthPath is where clients look for the authorization server (RFC 8414, section 3).
const oauthPath = "/.well-known/oauth-authorization-server"

// underway returns the route whose handlers are being provisioned, or nil.
func underway(routes caddyhttp.RouteList) *caddyhttp.Route {
	for i := range routes {
		if len(routes[i].HandlersRaw) > 0 {
			return &routes[i]
		}
	}
	return nil
}

// admitsPath reports whether some request for path could match.
func admitsPath(sets caddyhttp.MatcherSets, path string) bool {
	r := probe(&url.URL{Path: path})
	return admits(sets, func(matcher any) bool {
		paths, ok := matcher.(*caddyhttp.MatchPath)
		if !ok {
			return true
		}
		match, err := paths.MatchWithError(r)
		return match || err != nil
	})
}

// admits reports whether all matchers of one of the sets are satisfied.
func admits(sets caddyhttp.MatcherSets, satisfied func(matcher any) bool) bool {
	for _, set := range sets {
		if !slices.ContainsFunc(set, func(matcher any) bool { return !satisfied(matcher) }) {
			return true
		}
	}
	return len(sets) == 0
}

// probe is a request that nobody has sent, for asking matchers.
func probe(u *url.URL) *http.Request {
	r := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}
	return r.WithContext(context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
}

// guards counts the mcp_auth handlers of a site: of the one route that a site with a host of its own is,
// and of all routes otherwise.
func guards(routes caddyhttp.RouteList, own *caddyhttp.Route) (n int) {
	whole := !namesHost(own)
	for i := range routes {
		if &routes[i] == own || whole {
			n += rawGuards(routes[i].HandlersRaw) + readyGuards(routes[i].Handlers)
		}
	}
	return n
}

// readyGuards counts those that have been provisioned.
func readyGuards(handlers []caddyhttp.MiddlewareHandler) (n int) {
	for _, handler := range handlers {
		switch m := handler.(type) {
		case *Handler:
			n++
		case *caddyhttp.Subroute:
			for _, route := range m.Routes {
				n += readyGuards(route.Handlers)
			}
		}
	}
	return n
}

func namesHost(route *caddyhttp.Route) bool {
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			if _, ok := matcher.(*caddyhttp.MatchHost); ok {
				return true
			}
		}
	}
	return false
}

// rawGuards counts those that are still JSON.
func rawGuards(handlers []json.RawMessage) (n int) {
	for _, raw := range handlers {
		var handler struct {
			Name   string     `json:"handler"`
			Routes []rawRoute `json:"routes"`
		}
		if json.Unmarshal(raw, &handler) != nil {
			continue // whoever loads it says what is wrong
		}
		if handler.Name == "mcp_auth" {
			n++
		}
		for _, route := range handler.Routes {
			n += rawGuards(route.Handlers)
		}
	}
	return n
}
