package authserver

import (
	"slices"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/pages"
)

// maxScope bounds the scope parameter.
const maxScope = 4 << 10

// grantable turns a requested scope into what can be granted at a resource: the scopes that exist
// there, in the order in which the operator listed them. Clients ask for scopes they learned
// elsewhere (openid, offline_access, another server's), so others are left out rather than refused;
// the answer says what was granted (RFC 6749, section 3.3). A request that names none which exist
// gets the resource's default, as the consent page will show.
func grantable(requested string, resource *Resource) ([]string, *oauthError) {
	if !validScope(requested) {
		return nil, invalidScope("scope holds a character that is not allowed, or is longer than 4 KiB")
	}
	asked := strings.Fields(requested)
	granted := make([]string, 0, len(resource.Scopes))
	for _, scope := range resource.Scopes {
		if slices.Contains(asked, scope) {
			granted = append(granted, scope)
		}
	}
	if len(granted) == 0 {
		granted = append(granted, resource.defaultScopes()...)
	}
	return granted, nil
}

// grantable is what can be granted here: where a provider issues the tokens, what it will put into them is
// asked for and shown, whether or not the client names it.
func (s *Server) grantable(requested string, resource *Resource) ([]string, *oauthError) {
	granted, refused := grantable(requested, resource)
	if refused != nil || s.Relay == nil {
		return granted, refused
	}
	if s.WholeScope {
		granted = slices.Clone(resource.Scopes)
	}
	for _, scope := range s.RelayedScopes {
		if !slices.Contains(granted, scope) && !slices.Contains(resource.effective(granted), scope) {
			granted = append(granted, scope)
		}
	}
	return granted, nil
}

// narrowed checks the scope of a refresh: it may leave scopes out, never add one (RFC 6749,
// section 6). What a granted scope includes was granted with it. Names that exist nowhere, such as offline_access, are dropped as in the first request.
func narrowed(requested string, granted []string, resource *Resource) ([]string, *oauthError) {
	if requested == "" {
		return granted, nil
	}
	if !validScope(requested) {
		return nil, invalidScope("scope holds a character that is not allowed, or is longer than 4 KiB")
	}
	var kept []string
	effective := append(slices.Clone(granted), resource.effective(granted)...)
	for _, scope := range strings.Fields(requested) {
		switch {
		case slices.Contains(effective, scope):
			if !slices.Contains(kept, scope) {
				kept = append(kept, scope)
			}
		case slices.Contains(resource.Scopes, scope):
			return nil, invalidScope("scope asks for more than was granted; authorize again to widen it")
		}
	}
	if len(kept) == 0 {
		return granted, nil
	}
	return kept, nil
}

// scopeViews is what the consent page says about scopes. One that another includes is told there:
// everything that is granted is on the page, once.
func scopeViews(resource *Resource, scopes []string) []pages.Scope {
	var views []pages.Scope
	for _, scope := range scopes {
		told := slices.ContainsFunc(scopes, func(other string) bool {
			included := resource.Hierarchy.Included(other)
			// Two names for one scope include each other; neither may hide both.
			return slices.Contains(included, scope) && !slices.Contains(resource.Hierarchy.Included(scope), other)
		})
		if !told {
			views = append(views, pages.Scope{Name: scope, Includes: resource.Hierarchy.Included(scope)})
		}
	}
	return views
}

// limitedScopes turns a requested scope into what is granted without asking a person: of the scopes that
// exist at the resource those that are allowed, and what those include; nil sets no limit. Clients take
// what they ask for from metadata and challenges, which name every scope there is, so what is not allowed
// is left out as long as something is left (RFC 6749, section 3.3). A request that names none which exist
// gets the allowed ones, without a limit the resource's default.
func limitedScopes(requested string, allowed []string, resource *Resource) ([]string, *oauthError) {
	if !validScope(requested) {
		return nil, invalidScope("scope holds a character that is not allowed, or is longer than 4 KiB")
	}
	asked, included := strings.Fields(requested), resource.effective(allowed)
	var standard, granted []string
	forbidden := false
	for _, scope := range resource.Scopes {
		named := slices.Contains(allowed, scope)
		permitted := allowed == nil || named || slices.Contains(included, scope)
		switch wanted := slices.Contains(asked, scope); {
		case wanted && permitted:
			granted = append(granted, scope)
		case wanted:
			forbidden = true
		}
		if named {
			standard = append(standard, scope)
		}
	}
	switch {
	case len(granted) > 0:
		return granted, nil
	case forbidden:
		return nil, invalidScope("the scopes asked for are none that may be granted here")
	case allowed == nil:
		return resource.defaultScopes(), nil
	}
	return standard, nil
}

// validScope checks the characters of scope-token and the space between them (RFC 6749, section 3.3).
func validScope(scope string) bool {
	if len(scope) > maxScope {
		return false
	}
	for i := range len(scope) {
		c := scope[i]
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
