package identity

import (
	"context"
	"net/url"
	"strings"
)

// maxLogoutHint bounds an ID token that is kept to sign out with. Longer ones would not fit into
// the address that they travel in.
const maxLogoutHint = 4 << 10

// EndSession implements SessionEnder (OpenID Connect RP-Initiated Logout 1.0, section 2).
func (o *OIDC) EndSession(ctx context.Context, hint, returnTo string) string {
	md, err := o.metadata(ctx)
	if err != nil || md.EndSessionEndpoint == "" {
		return ""
	}
	values := url.Values{"client_id": {o.config.ClientID}, "post_logout_redirect_uri": {returnTo}}
	if hint != "" {
		values.Set("id_token_hint", hint)
	}
	separator := "?"
	if strings.Contains(md.EndSessionEndpoint, "?") {
		separator = "&"
	}
	return md.EndSessionEndpoint + separator + values.Encode()
}
