package clients

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

const (
	maxDocumentURL          = 512
	maxDocumentRedirectURIs = 50
)

func dnsName(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && publicHost(host)
}

// parse makes a client of the document that was found at url (section 4.1 of the draft). Errors are
// errRefused and say what is wrong in our words.
func (d Documents) parse(url string, body []byte, allowed schemes, assertions bool) (*Client, error) {
	c, err := d.read(url, body, allowed, assertions)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	return c, nil
}

func (d Documents) read(url string, body []byte, allowed schemes, assertions bool) (*Client, error) {
	u, err := d.parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("its URL %w", err)
	}
	o, err := parseObject(body)
	if err != nil {
		return nil, fmt.Errorf("it %w", err)
	}
	// RFC 3986, section 6.2.1: simple string comparison, no normalisation.
	if id, err := o.text("client_id"); err != nil || id != url {
		return nil, invalidMetadata("client_id is not the URL of the document")
	}
	if o.has("client_secret") || o.has("client_secret_expires_at") {
		return nil, invalidMetadata("a public document cannot hold a secret")
	}
	m, err := readMetadata(o)
	if err != nil {
		return nil, err
	}
	if m.name == "" {
		return nil, invalidMetadata("client_name is missing")
	}
	if m.redirectURIs, err = d.redirectURIs(u, o, allowed); err != nil {
		return nil, err
	}
	c := &Client{
		ID: url, Name: m.name, URI: m.uri, Source: MetadataDocument, RedirectURIs: m.redirectURIs,
		GrantTypes: m.grantTypes, schemes: allowed,
	}
	if err := d.negotiate(c, o, m.authMethod, assertions); err != nil {
		return nil, err
	}
	if requested, _ := o.texts("grant_types"); !c.Public() && slices.Contains(requested, GrantJWTBearer) {
		// The client proves who it is, and an identity provider has to name it by this very id.
		c.GrantTypes = append(c.GrantTypes, GrantJWTBearer)
	}
	return c, nil
}

// redirectURIs returns those of the document's redirect URIs that can be used here. The document is
// the same for all servers, so one URI that this one does not accept is no reason to refuse the rest.
func (d Documents) redirectURIs(u redirectURI, o object, allowed schemes) ([]string, error) {
	uris, err := o.texts("redirect_uris")
	if err != nil {
		return nil, err
	}
	if len(uris) == 0 {
		return nil, invalidRedirect("redirect_uris is missing or empty")
	}
	if len(uris) > maxDocumentRedirectURIs {
		return nil, invalidRedirect("redirect_uris has too many entries")
	}
	kept := make([]string, 0, len(uris))
	for _, uri := range uris {
		r, err := parseRedirect(uri, allowed)
		if err != nil || r.kind == HTTPS && !d.ForeignRedirects && !sameOrigin(u, r) || slices.Contains(kept, uri) {
			continue
		}
		kept = append(kept, uri)
	}
	if len(kept) == 0 {
		return nil, invalidRedirect("none of redirect_uris is acceptable: https ones share the origin of the document")
	}
	return kept, nil
}

func sameOrigin(a, b redirectURI) bool {
	port := func(u redirectURI) string {
		if u.port == "" {
			return "443"
		}
		return u.port
	}
	return strings.EqualFold(a.host, b.host) && port(a) == port(b)
}

// negotiate settles how the client authenticates. What the document prefers is used if it can be; a
// list of alternatives beside it (token_endpoint_auth_methods_supported, which some clients publish)
// makes a client usable whose preference cannot be met. Without any statement the client is public:
// the default of RFC 7591 needs a secret, and documents have none.
func (d Documents) negotiate(c *Client, o object, preferred string, assertions bool) error {
	offered, err := o.texts("token_endpoint_auth_methods_supported")
	if err != nil {
		return err
	}
	if strings.HasPrefix(preferred, "client_secret_") {
		return invalidMetadata("token_endpoint_auth_method needs a shared secret")
	}
	if preferred != "" {
		offered = append(offered, preferred)
	}
	if len(offered) == 0 {
		offered = []string{AuthNone}
	}
	c.mayOmitAssertion = slices.Contains(offered, AuthNone)
	if assertions && slices.Contains(offered, AuthPrivateKeyJWT) {
		keys, err := d.readKeys(o)
		if err != nil && !c.mayOmitAssertion {
			return err
		}
		c.keys = keys
	}
	switch {
	case c.keys.usable() && preferred != AuthNone:
		c.AuthMethod = AuthPrivateKeyJWT
	case c.mayOmitAssertion:
		c.AuthMethod = AuthNone
	case c.keys.usable():
		c.AuthMethod = AuthPrivateKeyJWT
	default:
		return invalidMetadata("no token endpoint authentication method that is supported here")
	}
	return nil
}
