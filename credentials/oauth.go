package credentials

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/publicnet"
)

// requestTimeout bounds one request to an authorization server.
const requestTimeout = 8 * time.Second

// OAuthConfig says how people connect their accounts at an upstream.
type OAuthConfig struct {
	// Server is the issuer of the authorization server (RFC 8414, section 2), or the URL of an MCP server
	// that names it (RFC 9728).
	Server string

	// ClientID and ClientSecret are what the operator registered. No secret: a public client.
	ClientID, ClientSecret string

	// Scopes to ask for.
	Scopes []string

	// The endpoints of a server that publishes no metadata: the first two together, or neither.
	AuthorizationEndpoint, TokenEndpoint, RevocationEndpoint string

	// Resource is what the tokens are for (RFC 8707). Default: what the MCP server calls itself, else none.
	Resource string

	// PrivateNetworks lets the endpoints lie in private networks.
	PrivateNetworks bool

	// Roots are the authorities that certificates are checked with. Default: the system's.
	Roots *x509.CertPool

	Now func() time.Time
}

// OAuth is a client of the authorization server of an upstream. It is safe for concurrent use.
type OAuth struct {
	config OAuthConfig
	plain  bool // the server is on this machine, without TLS
	client *http.Client

	flight singleflight.Group
	mu     sync.Mutex
	known  *metadata
	until  time.Time // when known is discovered anew
	failed error     // of the last discovery, remembered until retry
	retry  time.Time
}

// NewOAuth makes a client. It does no I/O.
func NewOAuth(c OAuthConfig) (*OAuth, error) {
	u, err := url.Parse(c.Server)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("oauth %q is not a URL; write the issuer of the authorization server, or the address of the MCP server", c.Server)
	}
	o := &OAuth{config: c, plain: u.Scheme == "http" && loopback(u.Hostname())}
	if o.config.Now == nil {
		o.config.Now = time.Now
	}
	if c.ClientID == "" {
		return nil, fmt.Errorf("oauth %s has no client_id; register a client there and write client_id <id>", c.Server)
	}
	if (c.AuthorizationEndpoint == "") != (c.TokenEndpoint == "") {
		return nil, errors.New("authorization_endpoint and token_endpoint belong together; write both, or leave both out to have them discovered")
	}
	if c.RevocationEndpoint != "" && c.TokenEndpoint == "" {
		return nil, errors.New("revocation_endpoint is discovered together with the other endpoints; write all three, or none")
	}
	for _, endpoint := range []struct{ name, url string }{
		{"oauth", c.Server}, {"authorization_endpoint", c.AuthorizationEndpoint},
		{"token_endpoint", c.TokenEndpoint}, {"revocation_endpoint", c.RevocationEndpoint},
	} {
		if endpoint.url != "" {
			if err := checkEndpoint(endpoint.url, true); err != nil {
				return nil, fmt.Errorf("%s %q %w", endpoint.name, endpoint.url, err)
			}
		}
	}
	for _, scope := range c.Scopes {
		if !printable(scope) || strings.ContainsAny(scope, " \"\\") {
			return nil, fmt.Errorf("%q is not a scope", scope)
		}
	}
	dialer := &publicnet.Dialer{Loopback: loopback(u.Hostname()), Private: c.PrivateNetworks}
	o.client = &http.Client{
		Timeout:   requestTimeout,
		Transport: dialer.Transport(c.Roots),
		// A request here carries a secret, or the answer decides where one goes.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return o, nil
}

// source names the server and the client there, to which a refresh token belongs.
func (o *OAuth) source() string { return o.config.Server + " " + o.config.ClientID }

// authorizeURL is where the browser goes to connect an account (RFC 6749, section 4.1.1; RFC 7636).
func (o *OAuth) authorizeURL(md *metadata, state, verifier, redirectURI string) (string, error) {
	u, err := url.Parse(md.AuthorizationEndpoint)
	if err != nil {
		return "", errors.New("building an authorization request: the endpoint is no URL")
	}
	q := u.Query() // an endpoint may have a query of its own, which stays (RFC 6749, section 3.1)
	q.Set("response_type", "code")
	q.Set("client_id", o.config.ClientID)
	q.Set("redirect_uri", redirectURI)
	q.Set("state", state)
	q.Set("code_challenge", oauth2.S256ChallengeFromVerifier(verifier))
	q.Set("code_challenge_method", "S256")
	if len(o.config.Scopes) > 0 {
		q.Set("scope", strings.Join(o.config.Scopes, " "))
	}
	if resource := o.resource(md); resource != "" {
		q.Set("resource", resource)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func (o *OAuth) resource(md *metadata) string {
	if o.config.Resource != "" {
		return o.config.Resource
	}
	return md.resource
}

// checkEndpoint accepts https URLs, and http ones on loopback if plain is true. Everything else is refused
// before a browser or a secret is sent there: a scheme of another kind would start a program on the
// person's device (RFC 9700, section 4.11 treats of redirectors alike).
func checkEndpoint(s string, plain bool) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.User != nil || u.Fragment != "" || !printable(s) || strings.ContainsAny(s, " \\\"<>"):
		return errors.New("is not a usable URL")
	case u.Scheme == "https", u.Scheme == "http" && plain && loopback(u.Hostname()):
		return nil
	}
	return errors.New("is not an https URL")
}

// loopback reports whether host is this machine and can be nothing else (RFC 6761, section 6.3).
func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}
