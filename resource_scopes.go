package mcpauth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
)

// loadScopes checks how the scopes of a resource belong together.
func (r *Resource) loadScopes() error {
	if len(r.Scopes) == 0 {
		if len(r.ChallengeScope)+len(r.RequiredScope)+len(r.Implies) > 0 {
			return errors.New(`challenge_scope, required_scope and implies speak of scopes, and there are none; add "scopes <scope...>"`)
		}
		return nil
	}
	var implications []access.Implication
	for _, scope := range slices.Sorted(maps.Keys(r.Implies)) {
		implications = append(implications, access.Implication{Scope: scope, Others: r.Implies[scope]})
	}
	var err error
	if r.scopes, err = access.NewScopes(r.Scopes, r.RequiredScope, implications); err != nil {
		return err
	}
	for _, scope := range r.ChallengeScope {
		if !slices.Contains(r.Scopes, scope) {
			return fmt.Errorf("challenge_scope %s: it is not among the scopes: %s", scope, strings.Join(r.Scopes, " "))
		}
	}
	if !r.scopes.Sufficient(strings.Join(r.challengeScope(), " ")) {
		// Every client would be sent to the consent page twice, and many do not go a second time.
		return fmt.Errorf("challenge_scope %s lacks what required_scope demands, so a token for it would be refused at once; write challenge_scope %s",
			strings.Join(r.ChallengeScope, " "), r.scopes.Needed(strings.Join(r.ChallengeScope, " ")))
	}
	return nil
}

// challengeScope is what a client is told to ask for.
func (r *Resource) challengeScope() []string {
	if len(r.ChallengeScope) > 0 {
		return r.ChallengeScope
	}
	return r.Scopes
}

// parseScopeOption reads an option of a resource that is about scopes, and reports whether it was
// one. Syntax:
//
//	scopes          <scope...>
//	challenge_scope <scope...>
//	required_scope  <scope...>
//	implies         <scope> <included scope...>
func (r *Resource) parseScopeOption(d *caddyfile.Dispenser) (known bool, err error) {
	name := d.Val()
	target, ok := map[string]*[]string{
		"scopes": &r.Scopes, "challenge_scope": &r.ChallengeScope, "required_scope": &r.RequiredScope,
	}[name]
	switch {
	case ok:
		scopes := d.RemainingArgs()
		if len(scopes) == 0 {
			return true, d.Errf("%s needs at least one scope, such as github:read", name)
		}
		*target = append(*target, scopes...)
	case name == "implies":
		scopes := d.RemainingArgs()
		if len(scopes) < 2 {
			return true, d.Err("implies takes a scope and those that it includes, such as implies github:write github:read")
		}
		if r.Implies == nil {
			r.Implies = make(map[string][]string)
		}
		r.Implies[scopes[0]] = append(r.Implies[scopes[0]], scopes[1:]...)
	default:
		return false, nil
	}
	return true, nil
}
