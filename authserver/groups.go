package authserver

import (
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// maxCarriedGroups bounds the groups that a token carries, in bytes. Tokens travel in a header with
// each request, and servers accept 16 KiB of headers in all.
const maxCarriedGroups = 1 << 10

// userOf is the person as sessions and tokens know them. An address that the provider does not vouch
// for is none.
func (s *Server) userOf(u identity.User) sessions.User {
	groups := carriedGroups(u.Groups, s.decidesAccess)
	if len(groups) < len(u.Groups) {
		s.Logger.Warn("person has more groups than a token can carry; those that no allow rule names were left out",
			zap.String("user_id", u.Subject), zap.Int("groups", len(u.Groups)), zap.Int("carried", len(groups)))
	}
	return sessions.User{Issuer: u.Issuer, Subject: u.Subject, Email: u.VerifiedEmail(), Name: u.Name, Groups: groups}
}

// decidesAccess tells whether some allow rule admits by this group.
func (s *Server) decidesAccess(group string) bool {
	if s.Policy.Allows("", group) {
		return true
	}
	for _, resource := range s.Resources.All() {
		if resource.Policy != nil && resource.Policy.Allows("", group) {
			return true
		}
	}
	return false
}

// carriedGroups keeps the groups that decide, and of the others as many as fit, in their order.
func carriedGroups(groups []string, decides func(string) bool) []string {
	room := maxCarriedGroups
	keep := make([]bool, len(groups))
	for _, deciding := range []bool{true, false} {
		for i, group := range groups {
			if size := len(group) + 1; decides(group) == deciding && size <= room {
				keep[i] = true
				room -= size
			}
		}
	}
	var kept []string
	for i, group := range groups {
		if keep[i] && !slices.Contains(kept, group) {
			kept = append(kept, group)
		}
	}
	return kept
}

func joinGroups(groups []string) string { return strings.Join(groups, ",") }
