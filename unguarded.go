package mcpauth

import (
	"net/http"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/access"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/sessions"
)

// dropOwnToken keeps a token of ours from whatever serves the paths that are nobody's resource: a client
// that sends it there by mistake must not hand it over. Other credentials are the site's own. Each of several
// headers is looked at, since none of them is refused here.
func (s *site) dropOwnToken(h http.Header) {
	for _, value := range h["Authorization"] {
		token, err := access.Bearer(http.Header{"Authorization": {value}})
		if err != nil {
			continue
		}
		for _, kind := range []sessions.Kind{sessions.AccessToken, sessions.RefreshToken, sessions.UserToken} {
			if strings.HasPrefix(token, kind.Prefix()) {
				delete(h, "Authorization")
				return
			}
		}
		if s.tokens.Knows(token) {
			delete(h, "Authorization")
			return
		}
	}
}
