package access

import (
	"fmt"
	"slices"
	"strings"
)

// maxRequired bounds how many scopes a resource may require: Sufficient keeps one bit for each.
const maxRequired = 64

// Implication says that whoever holds one scope holds others too.
type Implication struct {
	Scope  string
	Others []string
}

// Scopes are the scopes of one resource: which of them include others, and which a token needs. It
// does not change, and is safe for concurrent use. The zero value has no scopes and needs none.
type Scopes struct {
	all      []string
	required []string
	includes map[string][]string // each scope, and all that it implies, in the order of all
	grants   map[string]uint64   // the required scopes that a scope satisfies, one bit each
	complete uint64
}

// NewScopes checks the scopes of a resource. Implications are transitive, as those of a role are: if
// admin implies write and write implies read, admin implies read.
func NewScopes(all, required []string, implications []Implication) (*Scopes, error) {
	s := &Scopes{
		all:      all,
		includes: make(map[string][]string, len(all)),
		grants:   make(map[string]uint64, len(all)),
	}
	direct := make(map[string][]string)
	for _, i := range implications {
		for _, scope := range append([]string{i.Scope}, i.Others...) {
			if !slices.Contains(all, scope) {
				return nil, fmt.Errorf("implies %s %s: %q is not among the scopes: %s",
					i.Scope, strings.Join(i.Others, " "), scope, strings.Join(all, " "))
			}
		}
		direct[i.Scope] = append(direct[i.Scope], i.Others...)
	}
	for _, scope := range all {
		reached := map[string]bool{scope: true}
		for queue := []string{scope}; len(queue) > 0; queue = queue[1:] {
			for _, other := range direct[queue[0]] {
				if !reached[other] {
					reached[other] = true
					queue = append(queue, other)
				}
			}
		}
		for _, other := range all {
			if reached[other] {
				s.includes[scope] = append(s.includes[scope], other)
			}
		}
	}
	for _, scope := range required {
		switch {
		case !slices.Contains(all, scope):
			return nil, fmt.Errorf("required_scope %s: it is not among the scopes: %s", scope, strings.Join(all, " "))
		case slices.Contains(s.required, scope):
			continue
		case len(s.required) == maxRequired:
			return nil, fmt.Errorf("required_scope: more than %d scopes are required", maxRequired)
		}
		bit := uint64(1) << len(s.required)
		s.required = append(s.required, scope)
		s.complete |= bit
		for holder, included := range s.includes {
			if slices.Contains(included, scope) {
				s.grants[holder] |= bit
			}
		}
	}
	return s, nil
}

// Sufficient reports whether a token with scope, separated by spaces, has all that the resource
// requires, either by name or included in another (MCP authorization, "Step-Up Authorization Flow":
// hierarchies count when a token is judged). It does not allocate.
func (s *Scopes) Sufficient(scope string) bool {
	if s == nil || s.complete == 0 {
		return true
	}
	var held uint64
	for scope != "" {
		var token string
		token, scope, _ = strings.Cut(scope, " ")
		held |= s.grants[token]
	}
	return held == s.complete
}

// Needed is what to ask for when a token with scope is not sufficient: all that is required, in one
// challenge, and after it what the token had, since clients that ask for exactly what a challenge
// names would otherwise give that up.
func (s *Scopes) Needed(scope string) string {
	if s == nil {
		return ""
	}
	needed := slices.Clone(s.required)
	for token := range strings.FieldsSeq(scope) {
		if slices.Contains(s.all, token) && !slices.Contains(s.Effective(needed), token) {
			needed = append(needed, token)
		}
	}
	return strings.Join(needed, " ")
}

// Effective returns scopes together with everything they imply, in the order of the resource.
// Scopes that the resource does not have are left out.
func (s *Scopes) Effective(scopes []string) []string {
	if s == nil {
		return nil
	}
	var effective []string
	for _, scope := range s.all {
		if slices.ContainsFunc(scopes, func(held string) bool { return slices.Contains(s.includes[held], scope) }) {
			effective = append(effective, scope)
		}
	}
	return effective
}

// Included returns what scope implies beside itself.
func (s *Scopes) Included(scope string) []string {
	if s == nil {
		return nil
	}
	var others []string
	for _, other := range s.includes[scope] {
		if other != scope {
			others = append(others, other)
		}
	}
	return others
}
