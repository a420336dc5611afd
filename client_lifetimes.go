package mcpauth

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/authserver"
)

// ClientLifetimes are how long the tokens of some clients live.
type ClientLifetimes struct {
	// Whose: the client id of a client that the operator registered, the host of client ID metadata
	// documents, or the host of https redirect URIs, with its port if that is not 443. Names that
	// clients give themselves do not count.
	Client string `json:"client,omitempty"`

	// How long an access token of theirs is accepted, at most 24h. Default: as for all clients.
	AccessTokenLifetime caddy.Duration `json:"access_token_lifetime,omitempty"`

	// How long such a client stays connected without being used. Default: as for all clients.
	RefreshTokenLifetime caddy.Duration `json:"refresh_token_lifetime,omitempty"`
}

// clientLifetimes checks the profiles against the lifetimes of all clients.
func (o *Options) clientLifetimes(all authserver.Lifetimes) (map[string]authserver.ClientLifetimes, error) {
	profiles := make(map[string]authserver.ClientLifetimes, len(o.ClientLifetimes))
	for _, c := range o.ClientLifetimes {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("client_lifetimes %s: %w", c.Client, err)
		}
		own := Options{AccessTokenLifetime: c.AccessTokenLifetime, RefreshTokenLifetime: c.RefreshTokenLifetime}
		if own.AccessTokenLifetime == 0 {
			own.AccessTokenLifetime = caddy.Duration(all.Access)
		}
		if own.RefreshTokenLifetime == 0 {
			own.RefreshTokenLifetime = caddy.Duration(all.Grant.Sliding)
		}
		if _, err := own.lifetimes(); err != nil {
			return nil, fmt.Errorf("client_lifetimes %s: %w", c.Client, err)
		}
		if _, ok := profiles[c.Client]; ok {
			return nil, fmt.Errorf("client_lifetimes %s is given twice", c.Client)
		}
		profiles[c.Client] = authserver.ClientLifetimes{
			Access: time.Duration(c.AccessTokenLifetime), Refresh: time.Duration(c.RefreshTokenLifetime),
		}
	}
	return profiles, nil
}

// check refuses what would never match, and what anybody could match.
func (c *ClientLifetimes) check() error {
	if c.Client == "" {
		return errors.New("it does not say whose; name a client id, or the host of a website")
	}
	if c.AccessTokenLifetime == 0 && c.RefreshTokenLifetime == 0 {
		return errors.New("it says nothing; write access_token_lifetime or refresh_token_lifetime")
	}
	if u, err := url.Parse(c.Client); err == nil && u.Scheme == "https" {
		if strings.Trim(u.Path, "/") == "" {
			return fmt.Errorf("write the host alone: %s", u.Host)
		}
		return nil // the URL of one metadata document
	}
	if strings.Contains(c.Client, "*") {
		return errors.New("wildcards are not supported; name each host")
	}
	host, _, _ := strings.Cut(c.Client, ":")
	if _, err := netip.ParseAddr(host); err == nil || strings.EqualFold(host, "localhost") || strings.HasPrefix(host, "[") || strings.Contains(c.Client, "://") {
		return errors.New("any program on a person's device could be that; name a client id, or the host of a website")
	}
	return nil
}

// parseClientLifetimes reads the lifetimes of some clients. Syntax:
//
//	client_lifetimes <client id | host> {
//	    access_token_lifetime  <duration>
//	    refresh_token_lifetime <duration>
//	}
func parseClientLifetimes(d *caddyfile.Dispenser) (*ClientLifetimes, error) {
	c := new(ClientLifetimes)
	if !d.AllArgs(&c.Client) {
		return nil, d.Err("client_lifetimes takes a client id, or the host of a metadata document or redirect URI, such as claude.ai")
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "access_token_lifetime":
			err = parseDuration(d, &c.AccessTokenLifetime)
		case "refresh_token_lifetime":
			err = parseDuration(d, &c.RefreshTokenLifetime)
		default:
			return nil, d.Errf("unknown option %q; client_lifetimes knows: access_token_lifetime, refresh_token_lifetime", d.Val())
		}
		if err != nil {
			return nil, err
		}
	}
	if err := c.check(); err != nil {
		return nil, d.Errf("client_lifetimes %s: %v", c.Client, err)
	}
	return c, nil
}
