package mcpauth

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
)

// callbackPath returns the path of a provider's redirect URL. It has to be on the site itself, and must
// not take the place of another endpoint: the callback would answer there instead.
func callbackPath(redirectURL, issuer string) (string, error) {
	u, err := url.Parse(redirectURL)
	if err != nil || !oauthmeta.SameResource(u.Scheme+"://"+u.Host, issuer) {
		return "", fmt.Errorf("redirect_url %s is not on this site; it has to begin with %s", redirectURL, issuer)
	}
	document, _ := oauthmeta.WellKnown(u.Path)
	own := strings.HasPrefix(u.Path, "/oauth2/") && !strings.HasPrefix(u.Path, authserver.CallbackPath)
	switch {
	case document != oauthmeta.NotWellKnown || own:
		return "", fmt.Errorf("redirect_url %s: something else answers at %s; write, for example, %s%s/company",
			redirectURL, u.Path, issuer, authserver.CallbackPath)
	case len(u.Path) < 2 || u.Path != path.Clean(u.Path) || u.Path != u.EscapedPath():
		// The provider compares the whole URL byte for byte, so it is kept to one spelling.
		return "", fmt.Errorf("redirect_url %s needs a plain path; write, for example, %s%s", redirectURL, issuer, authserver.CallbackPath)
	}
	return u.Path, nil
}
