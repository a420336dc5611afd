// Package oauthclient is this server's own client at authorization servers that somebody else runs: it
// finds their endpoints, sends browsers there, redeems codes, refreshes tokens and revokes them. What
// tokens are for, whose they are and where they are kept is its callers' business. Its errors hold nothing
// that the other side has worded.
package oauthclient

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

var (
	// ErrServerDown means that the authorization server gives no usable answer now.
	ErrServerDown = errors.New("authorization server unavailable")
	// ErrGrantEnded is the authorization server's word that a code or a refresh token is good no more.
	ErrGrantEnded = errors.New("the authorization server's grant is not valid any more")
	// ErrMoved means that another authorization server is named now than was asked before.
	ErrMoved = errors.New("another authorization server is named now")
	// ErrDeclined means that the person or the authorization server said no.
	ErrDeclined = errors.New("the authorization was declined")
	// ErrAnswer means that an authorization response does not pass.
	ErrAnswer = errors.New("the authorization server's answer does not pass")
)

// Config says which server it is, and who we are there.
type Config struct {
	// Server is the issuer of the authorization server (RFC 8414, section 2), or, unless IssuerOnly is
	// set, the URL of an MCP server that names it (RFC 9728).
	Server     string
	IssuerOnly bool

	// ClientID and ClientSecret are what the operator registered. No secret: a public client.
	ClientID, ClientSecret string

	// Scopes to ask for each time.
	Scopes []string

	// The endpoints of a server that publishes no metadata: the first two together, or neither.
	AuthorizationEndpoint, TokenEndpoint, RevocationEndpoint string

	// Resource is what the tokens are for (RFC 8707). Default: what the MCP server calls itself, else none.
	Resource string

	// MaxToken bounds the tokens in bytes. Default: 8 KiB, of which servers commonly take one header.
	MaxToken int

	// PrivateNetworks lets the endpoints lie in private networks.
	PrivateNetworks bool

	// Roots are the authorities that certificates are checked with. Default: the system's.
	Roots *x509.CertPool

	// Transport reaches a server that the operator vouches for, wherever it and its endpoints are. Default:
	// one that goes to public addresses only, or as PrivateNetworks and Roots say.
	Transport http.RoundTripper

	Now func() time.Time
}

// Client is our client at one authorization server. It is safe for concurrent use.
type Client struct {
	config Config
	plain  bool // the server is on this machine, without TLS
	client *http.Client
	pinned *Metadata // of a client that [Client.At] returned

	flight singleflight.Group
	mu     sync.Mutex
	known  *Metadata
	until  time.Time // when known is discovered anew
	failed error     // of the last discovery, remembered until retry
	retry  time.Time
}

// New makes a client. It does no I/O.
func New(config Config) (*Client, error) {
	u, err := url.Parse(config.Server)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not a URL; write the issuer of the authorization server, or the address of the MCP server", config.Server)
	}
	c := &Client{config: config, plain: u.Scheme == "http" && loopback(u.Hostname())}
	if c.config.Now == nil {
		c.config.Now = time.Now
	}
	if c.config.MaxToken == 0 {
		c.config.MaxToken = maxToken
	}
	if err := config.check(); err != nil {
		return nil, err
	}
	transport := config.Transport
	if transport == nil {
		dialer := &publicnet.Dialer{Loopback: loopback(u.Hostname()), Private: config.PrivateNetworks}
		transport = dialer.Transport(config.Roots)
	}
	c.client = &http.Client{
		Timeout:   requestTimeout,
		Transport: transport,
		// A request here carries a secret, or the answer decides where one goes.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c Config) check() error {
	if c.ClientID == "" {
		return fmt.Errorf("%s has no client_id; register a client there and write client_id <id>", c.Server)
	}
	if (c.AuthorizationEndpoint == "") != (c.TokenEndpoint == "") {
		return errors.New("authorization_endpoint and token_endpoint belong together; write both, or leave both out to have them discovered")
	}
	if c.RevocationEndpoint != "" && c.TokenEndpoint == "" {
		return errors.New("revocation_endpoint is discovered together with the other endpoints; write all three, or none")
	}
	for _, endpoint := range []struct{ name, url string }{
		{"server", c.Server}, {"authorization_endpoint", c.AuthorizationEndpoint},
		{"token_endpoint", c.TokenEndpoint}, {"revocation_endpoint", c.RevocationEndpoint},
	} {
		if endpoint.url != "" {
			if err := checkEndpoint(endpoint.url, true); err != nil {
				return fmt.Errorf("%s %q %w", endpoint.name, endpoint.url, err)
			}
		}
	}
	for _, scope := range c.Scopes {
		if !printable(scope) || strings.ContainsAny(scope, " \"\\") {
			return fmt.Errorf("%q is not a scope", scope)
		}
	}
	return nil
}

// Source names the server and the client there, to which a refresh token belongs.
func (c *Client) Source() string { return c.config.Server + " " + c.config.ClientID }

// Authorization is a browser's visit at the authorization server: what an answer is compared with.
type Authorization struct {
	State, Verifier, RedirectURI string

	// Scopes are asked for in addition to those of the configuration.
	Scopes []string

	// Params are further parameters of the authorization request. They cannot replace those of the flow.
	Params url.Values
}

// AuthorizeURL is where the browser goes (RFC 6749, section 4.1.1; RFC 7636).
func (c *Client) AuthorizeURL(md *Metadata, a Authorization) (string, error) {
	u, err := url.Parse(md.AuthorizationEndpoint)
	if err != nil {
		return "", errors.New("building an authorization request: the endpoint is no URL")
	}
	q := u.Query() // an endpoint may have a query of its own, which stays (RFC 6749, section 3.1)
	if resource := c.resource(md); resource != "" {
		q.Set("resource", resource)
	}
	for name, values := range a.Params {
		q[name] = values
	}
	q.Set("response_type", "code")
	q.Set("client_id", c.config.ClientID)
	q.Set("redirect_uri", a.RedirectURI)
	q.Set("state", a.State)
	q.Set("code_challenge", oauth2.S256ChallengeFromVerifier(a.Verifier))
	q.Set("code_challenge_method", "S256")
	if scope := joinScopes(c.config.Scopes, a.Scopes); scope != "" {
		q.Set("scope", scope)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// joinScopes names each scope once.
func joinScopes(always, now []string) string {
	var all []string
	seen := make(map[string]bool)
	for _, scopes := range [][]string{always, now} {
		for _, scope := range scopes {
			if !seen[scope] {
				seen[scope] = true
				all = append(all, scope)
			}
		}
	}
	return strings.Join(all, " ")
}

func (c *Client) resource(md *Metadata) string {
	if c.config.Resource != "" {
		return c.config.Resource
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

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
