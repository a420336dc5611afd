package external

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/caddy-mcp-auth/caddy-mcp-auth/identity"
)

const (
	// discoveryLife is after what time the metadata are fetched again, in the background.
	discoveryLife = 24 * time.Hour
	// discoveryTimeout bounds all attempts together: a client waits for them.
	discoveryTimeout = 12 * time.Second
)

// discovered returns a source of the key set that the issuer's metadata name.
func (s *Server) discovered() func(context.Context) (*identity.KeySet, error) {
	var mu sync.Mutex
	known := make(map[string]*identity.KeySet)
	metadata := identity.Keep(s.remote, discoveryLife, s.discover)
	return func(ctx context.Context) (*identity.KeySet, error) {
		address, err := metadata.Get(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the metadata of %s: %w", s.config.Issuer, err)
		}
		mu.Lock()
		defer mu.Unlock()
		// The keys stay if their address does: forgetting them would fetch them once more.
		keys := known[address]
		if keys == nil {
			keys = s.remote.Keys(address)
			clear(known)
			known[address] = keys
		}
		return keys, nil
	}
}

// discover returns the address of the issuer's key set, from the first place that has metadata.
func (s *Server) discover(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, discoveryTimeout)
	defer cancel()
	var failed error
	for _, place := range places(s.config.Issuer) {
		var document struct {
			Issuer  string `json:"issuer"`
			JWKSURI string `json:"jwks_uri"`
		}
		err := s.remote.Get(ctx, place, &document)
		if err == nil {
			err = checkDocument(document.Issuer, document.JWKSURI, s.config.Issuer)
		}
		if err == nil {
			return document.JWKSURI, nil
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", place, err))
	}
	return "", failed
}

func checkDocument(issuer, keys, want string) error {
	switch {
	case issuer == want:
	case strings.TrimSuffix(issuer, "/") == strings.TrimSuffix(want, "/"):
		return errors.New("its issuer differs from the configured one by a trailing slash; write the issuer exactly as it does")
	default:
		// RFC 8414, section 3.3: it must be identical.
		return errors.New("its issuer is not the configured one")
	}
	if err := identity.CheckEndpoint(keys); err != nil {
		return fmt.Errorf("its jwks_uri %w", err)
	}
	if strings.HasPrefix(want, "https:") && !strings.HasPrefix(keys, "https:") {
		return errors.New("its jwks_uri is not an https URL")
	}
	return nil
}

// places are where an issuer's metadata may lie, in the order in which MCP clients look (MCP
// 2026-07-28, "Authorization Server Metadata Discovery"), and last where some issuers with a path
// have put the document of RFC 8414.
func places(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	origin := u.Scheme + "://" + u.Host
	const oauth, openID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	if path == "" {
		return []string{origin + oauth, origin + openID}
	}
	return []string{origin + oauth + path, origin + openID + path, origin + path + openID, origin + path + oauth}
}
