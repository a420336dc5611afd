package oauthclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/oauthmeta"
)

const (
	// metadataLife is after which time metadata is fetched again; failurePause for how long a failure is
	// remembered, so that people who press a button again and again ask the server once.
	metadataLife = 24 * time.Hour
	failurePause = 5 * time.Second

	maxDocument = 64 << 10
)

// Metadata is what is used of the documents of an authorization server (RFC 8414, section 2; RFC 9207,
// section 3) and of the MCP server that named it (RFC 9728, section 2).
type Metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	AuthMethods           []string `json:"token_endpoint_auth_methods_supported"`
	ChallengeMethods      []string `json:"code_challenge_methods_supported"`
	SendsIssuer           bool     `json:"authorization_response_iss_parameter_supported"`

	resource string // what the MCP server calls itself
}

// errNoDocument means that there is none at an address, for sure.
var errNoDocument = errors.New("no metadata there")

// Metadata returns what is known of the server, from memory except for once a day. The error is
// ErrServerDown.
func (c *Client) Metadata(ctx context.Context) (*Metadata, error) {
	if c.config.TokenEndpoint != "" {
		return &Metadata{
			Issuer: c.config.Server, AuthorizationEndpoint: c.config.AuthorizationEndpoint,
			TokenEndpoint: c.config.TokenEndpoint, RevocationEndpoint: c.config.RevocationEndpoint,
		}, nil
	}
	if c.pinned != nil {
		return c.pinned, nil
	}
	if md, err := c.remembered(); md != nil || err != nil {
		return md, err
	}
	found, err, _ := c.flight.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*requestTimeout)
		defer cancel()
		md, err := c.discover(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		now := c.config.Now()
		switch {
		case err == nil:
			c.known, c.until, c.failed = md, now.Add(metadataLife), nil
		case c.known != nil:
			// Endpoints hardly ever change; nothing should fail because the document cannot be had.
			c.until, md, err = now.Add(failurePause), c.known, nil
		default:
			err = fmt.Errorf("%w: discovering %s: %w", ErrServerDown, c.config.Server, err)
			c.failed, c.retry = err, now.Add(failurePause)
		}
		return md, err
	})
	md, _ := found.(*Metadata)
	return md, err
}

// At returns the client at the server that is known now, which has to be issuer, for as long as one thing
// takes. What one server has issued is not shown to another that is named later (RFC 9700, section 4.4). The
// error is ErrServerDown or ErrMoved.
func (c *Client) At(ctx context.Context, issuer string) (*Client, error) {
	md, err := c.Metadata(ctx)
	if err != nil {
		return nil, err
	}
	if md.Issuer != issuer {
		return nil, ErrMoved
	}
	return &Client{config: c.config, plain: c.plain, client: c.client, pinned: md}, nil
}

func (c *Client) remembered() (*Metadata, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.config.Now()
	switch {
	case c.known != nil && now.Before(c.until):
		return c.known, nil
	case c.failed != nil && now.Before(c.retry):
		return nil, c.failed
	}
	return nil, nil
}

// discover asks the server itself. An MCP server's address is tried first: such servers answer for their
// authorization server too, under an issuer that is not the address.
func (c *Client) discover(ctx context.Context) (*Metadata, error) {
	issuer, resource, err := c.namedBy(ctx)
	if err != nil {
		return nil, err
	}
	for _, address := range []string{
		wellKnown(issuer, "oauth-authorization-server"),
		wellKnown(issuer, "openid-configuration"),
		strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration",
	} {
		body, err := c.document(ctx, address)
		if errors.Is(err, errNoDocument) {
			continue
		}
		if err != nil {
			return nil, err
		}
		md, err := parseMetadata(body, issuer, c.plain)
		if err != nil {
			return nil, err
		}
		md.resource = resource
		return md, nil
	}
	return nil, errors.New("it publishes no metadata; write authorization_endpoint and token_endpoint")
}

// namedBy returns the issuer, and the resource that has named it, if one has.
func (c *Client) namedBy(ctx context.Context) (issuer, resource string, err error) {
	if c.config.IssuerOnly {
		return c.config.Server, "", nil
	}
	body, err := c.document(ctx, wellKnown(c.config.Server, "oauth-protected-resource"))
	switch {
	case errors.Is(err, errNoDocument):
		return c.config.Server, "", nil
	case err != nil:
		return "", "", err
	}
	return parseProtectedResource(body, c.config.Server, c.plain)
}

// wellKnown puts a document's name between host and path (RFC 8414, section 3.1; RFC 9728, section 3.1).
func wellKnown(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host + "/.well-known/" + name + strings.TrimSuffix(u.EscapedPath(), "/")
}

// document gets a JSON document. errNoDocument is an answer that says there is none.
func (c *Client) document(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("its address cannot be requested")
	}
	status, body, err := c.do(req)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusTooManyRequests || status >= 500:
		return nil, fmt.Errorf("it answered with status %d", status)
	case status != http.StatusOK || !json.Valid(body):
		return nil, errNoDocument
	}
	return body, nil
}

// parseProtectedResource reads the document of an MCP server, and returns its authorization server.
func parseProtectedResource(body []byte, server string, plain bool) (issuer, resource string, err error) {
	var document struct {
		Resource             string   `json:"resource"`
		AuthorizationServers []string `json:"authorization_servers"`
	}
	if json.Unmarshal(body, &document) != nil {
		return "", "", errors.New("its protected resource metadata is malformed")
	}
	switch {
	case !oauthmeta.SameResource(document.Resource, server):
		// RFC 9728, section 3.3: it MUST NOT be used then.
		return "", "", errors.New("its protected resource metadata is about another resource")
	case len(document.AuthorizationServers) == 0:
		return "", "", errors.New("its protected resource metadata names no authorization server")
	}
	issuer = document.AuthorizationServers[0]
	if err := checkEndpoint(issuer, plain); err != nil || strings.Contains(issuer, "?") {
		return "", "", errors.New("its authorization server is not an https URL")
	}
	return issuer, document.Resource, nil
}

// parseMetadata reads and checks the document of an authorization server.
func parseMetadata(body []byte, issuer string, plain bool) (*Metadata, error) {
	md := new(Metadata)
	if json.Unmarshal(body, md) != nil {
		return nil, errors.New("its metadata is malformed")
	}
	if md.Issuer != issuer && strings.TrimSuffix(md.Issuer, "/") == strings.TrimSuffix(issuer, "/") {
		return nil, errors.New("its issuer differs from the configured one by a trailing slash; write it exactly as the server does")
	}
	if md.Issuer != issuer {
		// RFC 8414, section 3.3: it MUST NOT be used then.
		return nil, errors.New("its metadata is that of another issuer")
	}
	if err := checkEndpoint(md.AuthorizationEndpoint, plain); err != nil {
		return nil, fmt.Errorf("its authorization_endpoint %w", err)
	}
	if err := checkEndpoint(md.TokenEndpoint, plain); err != nil {
		return nil, fmt.Errorf("its token_endpoint %w", err)
	}
	if checkEndpoint(md.RevocationEndpoint, plain) != nil {
		md.RevocationEndpoint = "" // disconnecting does without it
	}
	if len(md.ChallengeMethods) > 0 && !slices.Contains(md.ChallengeMethods, "S256") {
		return nil, errors.New("it does not support PKCE with S256")
	}
	return md, nil
}
