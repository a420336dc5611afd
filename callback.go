package mcpauth

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
)

// checkRedirectURL refuses redirect URLs that are not one, or that another endpoint answers at. The
// provider compares the whole URL byte for byte, so its path has to have one spelling only. None is in
// order.
func checkRedirectURL(redirectURL string) error {
	if redirectURL == "" {
		return nil
	}
	u, err := url.Parse(redirectURL)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("redirect_url %q is not an absolute URL without query", redirectURL)
	}
	document, _ := oauthmeta.WellKnown(u.Path)
	if len(u.Path) < 2 || document != oauthmeta.NotWellKnown ||
		strings.HasPrefix(u.Path, "/oauth2/") && u.Path != authserver.CallbackPath && !strings.HasPrefix(u.Path, authserver.CallbackPath+"/") {
		return fmt.Errorf("redirect_url %s is taken; leave the option out, which means %s, or choose a path of its own", redirectURL, authserver.CallbackPath)
	}
	if u.Path != path.Clean(u.Path) || u.Path != u.EscapedPath() {
		return fmt.Errorf("redirect_url %s needs a plain path; write, for example, %s://%s%s/company", redirectURL, u.Scheme, u.Host, authserver.CallbackPath)
	}
	return nil
}
