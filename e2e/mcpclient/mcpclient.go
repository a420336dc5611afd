// Package mcpclient connects to an MCP server the way a real client does: the official SDK, given
// the bare address, discovers, registers, signs in and calls tools.
package mcpclient

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

// RedirectURI is where the client waits for its code. Nothing listens there: the browser of the
// tests stops at it.
const RedirectURI = "http://127.0.0.1:33418/callback"

// SignIn opens address in a browser, goes through the pages and returns the address the browser
// was finally sent to, which begins with the redirect URI.
type SignIn func(ctx context.Context, address string) (landed *url.URL, err error)

// Options of a connection.
type Options struct {
	SignIn SignIn
	HTTP   *http.Client  // nil: a new one
	Header http.Header   // added to every request to the MCP endpoint
	Token  *oauth2.Token // an access token from an earlier session, instead of signing in
	// ClientID and ClientSecret are those of a client that the authorization server knows already;
	// "": the client registers itself.
	ClientID, ClientSecret string
	// Document is the URL of the client's metadata document, which takes the place of registering.
	Document string
	// RedirectURI is where the browser ends; "": RedirectURI.
	RedirectURI string
	// OAuth takes the place of the authorization code flow.
	OAuth      auth.OAuthHandler
	LegacySSE  bool                                    // the HTTP+SSE transport of MCP 2024-11-05
	OnProgress func(p *mcp.ProgressNotificationParams) // may be nil
	Configure  func(o *mcp.ClientOptions)              // for what else the server may send; may be nil
}

// Client is a connected MCP client.
type Client struct {
	*mcp.ClientSession

	signIns atomic.Int32
	mu      sync.Mutex
	tokens  []*oauth2.Token
}

// SignIns counts how often a person had to sign in.
func (c *Client) SignIns() int { return int(c.signIns.Load()) }

// Token is the newest token; nil before the first sign-in.
func (c *Client) Token() *oauth2.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.tokens) == 0 {
		return nil
	}
	return c.tokens[len(c.tokens)-1]
}

// Tokens lists every token the client was given.
func (c *Client) Tokens() []*oauth2.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*oauth2.Token(nil), c.tokens...)
}

// Connect opens a session with the MCP server at address.
func Connect(ctx context.Context, address string, o Options) (*Client, error) {
	c := new(Client)
	httpClient := o.HTTP
	if httpClient == nil {
		httpClient = &http.Client{Transport: &http.Transport{}}
	}
	handler, err := c.oauthHandler(o, httpClient)
	if err != nil {
		return nil, err
	}
	mcpClient := *httpClient
	mcpClient.Transport = withHeader{next: roundTripper(httpClient), header: o.Header}

	options := &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			if o.OnProgress != nil {
				o.OnProgress(r.Params)
			}
		},
	}
	if o.Configure != nil {
		o.Configure(options)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "e2e-client", Version: "1.0.0"}, options)
	var transport mcp.Transport = &mcp.StreamableClientTransport{Endpoint: address, HTTPClient: &mcpClient, OAuthHandler: handler}
	if o.LegacySSE {
		mcpClient.Transport = authorized{next: mcpClient.Transport, handler: handler}
		transport = &mcp.SSEClientTransport{Endpoint: address, HTTPClient: &mcpClient}
	}
	if c.ClientSession, err = client.Connect(ctx, transport, nil); err != nil {
		return nil, fmt.Errorf("connecting to the MCP server: %w", err)
	}
	return c, nil
}

// Call calls a tool and decodes its structured answer, or its text, into out; nil drops it.
func (c *Client) Call(ctx context.Context, tool string, args map[string]any, out any) error {
	params := &mcp.CallToolParams{Name: tool, Arguments: args}
	params.SetProgressToken(tool)
	result, err := c.CallTool(ctx, params)
	if err != nil {
		return fmt.Errorf("calling %s: %w", tool, err)
	}
	if result.IsError {
		return fmt.Errorf("calling %s: the tool reported an error", tool)
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *string:
		if len(result.Content) != 1 {
			return fmt.Errorf("calling %s: %d parts of content", tool, len(result.Content))
		}
		t, ok := result.Content[0].(*mcp.TextContent)
		if !ok {
			return fmt.Errorf("calling %s: the content is no text", tool)
		}
		*out = t.Text
		return nil
	}
	b, err := json.Marshal(result.StructuredContent)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

func (c *Client) oauthHandler(o Options, client *http.Client) (auth.OAuthHandler, error) {
	if o.OAuth != nil {
		return o.OAuth, nil
	}
	redirectURI := cmp.Or(o.RedirectURI, RedirectURI)
	var initial oauth2.TokenSource
	if o.Token != nil {
		initial = oauth2.StaticTokenSource(o.Token)
	}
	config := &auth.AuthorizationCodeHandlerConfig{
		DynamicClientRegistrationConfig: &auth.DynamicClientRegistrationConfig{Metadata: &oauthex.ClientRegistrationMetadata{
			ClientName:              "End-to-end client",
			RedirectURIs:            []string{redirectURI},
			GrantTypes:              []string{"authorization_code", "refresh_token"},
			ResponseTypes:           []string{"code"},
			TokenEndpointAuthMethod: "none",
		}},
		RedirectURL:         redirectURI,
		RequestRefreshToken: true,
		InitialTokenSource:  initial,
		Client:              client,
		AuthorizationCodeFetcher: func(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
			if o.SignIn == nil {
				return nil, errors.New("nobody is there to sign in")
			}
			c.signIns.Add(1)
			landed, err := o.SignIn(ctx, args.URL)
			if err != nil {
				return nil, err
			}
			q := landed.Query()
			if q.Get("error") != "" {
				return nil, &AuthorizationError{Code: q.Get("error"), Landed: landed}
			}
			return &auth.AuthorizationResult{Code: q.Get("code"), State: q.Get("state"), Iss: q.Get("iss")}, nil
		},
		NewTokenSource: func(ctx context.Context, cfg *oauth2.Config, t *oauth2.Token) (oauth2.TokenSource, error) {
			return &recording{next: cfg.TokenSource(ctx, t), client: c}, nil
		},
	}
	if o.Document != "" {
		config.DynamicClientRegistrationConfig = nil
		config.ClientIDMetadataDocumentConfig = &auth.ClientIDMetadataDocumentConfig{URL: o.Document}
	}
	if o.ClientID != "" {
		config.DynamicClientRegistrationConfig = nil
		config.PreregisteredClient = &oauthex.ClientCredentials{
			ClientID: o.ClientID, ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: o.ClientSecret},
		}
	}
	return auth.NewAuthorizationCodeHandler(config)
}

// AuthorizationError is an error the authorization server sent to the redirect URI.
type AuthorizationError struct {
	Code   string
	Landed *url.URL
}

func (e *AuthorizationError) Error() string { return "authorization error " + e.Code }

// recording remembers each token the SDK gets to see, so that tests can use or search for it.
type recording struct {
	next   oauth2.TokenSource
	client *Client
}

func (r *recording) Token() (*oauth2.Token, error) {
	t, err := r.next.Token()
	if err != nil {
		return nil, err
	}
	r.client.mu.Lock()
	defer r.client.mu.Unlock()
	if n := len(r.client.tokens); n == 0 || r.client.tokens[n-1].AccessToken != t.AccessToken {
		r.client.tokens = append(r.client.tokens, t)
	}
	return t, nil
}
